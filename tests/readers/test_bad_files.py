"""Damaged and hostile files: a ReadError each time, nothing large allocated, nothing unpickled, nothing else opened."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import files
import h5py
import numpy as np
import pytest

from mcmc.readers import LimitError, Limits, ReadError, read

X = files.drawn()
FUZZED = ("netcdf", "npz", "packed npz", "emcee", "cmdstan", "getdist", "csv", "parquet", "wide", "npy", "tracer",
          "ptmcmc", "bilby", "bilby hdf5", "posteriordb")  # fmt: skip
TIGHT = Limits(bytes=1_000_000, elements=10_000, variables=100, members=100)


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    return files.one_of_each(tmp_path_factory.mktemp("each"), X)


def format_called(name):
    return {"packed npz": "npz", "bilby hdf5": "bilby"}.get(name, name)


def read_or_refuse(path, **options):
    """Read what can be read; only a ReadError may come out. Returns whether it did."""
    try:
        tree = read(path, limits=TIGHT, **options)
    except ReadError as error:
        named = str(path.parent) in str(error)
        assert named, error  # noqa: PT017
        return True
    assert tree["posterior"].sizes["draw"] > 0
    return False


# --- damage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUZZED)
def test_cut_files_are_refused(each, name, tmp_path):
    whole = each[name].read_bytes()
    refused = 0
    for at in np.linspace(0, len(whole) - 1, 40).astype(int):
        path = tmp_path / ("chain_1.txt" if name == "ptmcmc" else "cut")
        path.write_bytes(whole[:at])
        refused += read_or_refuse(path) and read_or_refuse(path, format=format_called(name))
    assert refused >= {"getdist": 38, "csv": 39, "wide": 39, "tracer": 39, "netcdf": 39, "emcee": 39}.get(name, 40)


@pytest.mark.filterwarnings("ignore")  # a changed byte may be a number that makes NumPy or xarray warn
@pytest.mark.parametrize("name", FUZZED)
def test_changed_bytes_are_read_or_refused(each, name, tmp_path):
    whole, rng = each[name].read_bytes(), np.random.default_rng(0)
    for i in range(60):
        data = bytearray(whole)
        places = rng.integers(0, len(data) if i % 2 else min(len(data), 600), size=1 + i % 8)
        for place in places:
            data[place] = rng.integers(256)
        path = tmp_path / "changed"
        path.write_bytes(data)
        read_or_refuse(path)
        read_or_refuse(path, format=format_called(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUZZED)
def test_random_bytes_are_refused(each, name, tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "random"
    for size in (0, 1, 7, 100, 5000):
        for head in (b"", each[name].read_bytes()[:12]):
            path.write_bytes(head + rng.integers(0, 256, size, np.uint8).tobytes())
            assert read_or_refuse(path)
            assert read_or_refuse(path, format=format_called(name))


@pytest.mark.parametrize("file", ["zarr.json", "posterior/zarr.json", "posterior/theta/zarr.json"])
def test_damaged_zarr_stores_are_refused(tmp_path, file):
    path = tmp_path / "a.zarr"
    files.tree(X).to_zarr(path, consolidated=False)
    whole = (path / file).read_text()
    for text in ("", "{", "[]", "null", whole[: len(whole) // 2], whole.replace("20", "-20").replace("2,", "9999,")):
        (path / file).write_text(text)
        read_or_refuse(path, format="zarr")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({"mu": [1.0]}), "never opened"),
        (b"\x1f\x8b\x08\x00", "whole gzip file"),
        (b"CDF\x01\x00\x00", "netCDF 3"),
        (b"hello, world\n", "hello, world"),
        (b"", "no data"),
        (b"a,b\n1,2\n", "chain and draw"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_other_files_are_named(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ReadError, match=message):
        read(tmp_path / "a")


# --- malice -----------------------------------------------------------------------------------------------


class Fires:
    """Leaves a trace when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


def test_pickles_in_npz_and_zarr_are_never_opened(tmp_path):
    trace = tmp_path / "trace"
    np.savez(tmp_path / "a.npz", mu=np.array([[Fires(trace)]], object))
    with pytest.raises(ReadError, match="never opened"):
        read(tmp_path / "a.npz")
    array = tmp_path / "a.zarr" / "posterior" / "mu"
    array.mkdir(parents=True)
    for group in (array.parent, array.parent.parent):
        (group / ".zgroup").write_text('{"zarr_format": 2}')
    filters = [{"id": "pickle", "protocol": 5}]
    known = {"zarr_format": 2, "shape": [1, 1], "chunks": [1, 1], "dtype": "|O", "filters": filters, "order": "C"}
    (array / ".zarray").write_text(json.dumps(known | {"fill_value": None, "compressor": None}))
    (array / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["chain", "draw"]}')
    (array / "0.0").write_bytes(pickle.dumps(np.array([Fires(trace)], object)))
    with pytest.raises(ReadError, match="never opened"):
        read(tmp_path / "a.zarr")
    assert not trace.exists()


def peak(call):
    """The most memory that a call holds, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refuse(path, limits, error=LimitError, **options):
    def call():
        with pytest.raises(error):
            read(path, limits=limits, **options)

    return call


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", mu=np.zeros((4, 5_000_000)))
    assert (tmp_path / "bomb.npz").stat().st_size < 200_000
    assert peak(refuse(tmp_path / "bomb.npz", Limits(elements=1_000_000))) < 5_000_000


def header(shape, descr="<f8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("limits", [Limits(), TIGHT])
@pytest.mark.parametrize("shape", [(4, 10**12), (10**9, 10**9), (1, 10**7)])
def test_a_shape_that_is_not_there_is_refused(tmp_path, limits, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("mu.npy", header(shape) + b"\0" * 80)
    assert peak(refuse(tmp_path / "a.npz", limits, ReadError)) < 5_000_000


def test_many_members_and_odd_ones_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"x{i}": X for i in range(30)})
    refuse(tmp_path / "a.npz", Limits(members=20))()
    refuse(tmp_path / "a.npz", Limits(variables=20))()
    refuse(tmp_path / "a.npz", Limits(elements=29 * X.size))()
    refuse(tmp_path / "a.npz", Limits(bytes=1000))()
    assert len(read(tmp_path / "a.npz", limits=Limits(members=30, elements=30 * X.size)).posterior) == 30
    for name, method in (("mu.txt", zipfile.ZIP_STORED), ("mu.npy", zipfile.ZIP_BZIP2)):
        with zipfile.ZipFile(tmp_path / "b.npz", "w", method) as archive:
            buffer = io.BytesIO()
            np.save(buffer, X)
            archive.writestr(name, buffer.getvalue())
        refuse(tmp_path / "b.npz", Limits(), ReadError)()


@pytest.mark.parametrize("kind", ["netcdf", "emcee"])
def test_hdf5_with_a_huge_declared_shape_is_refused(tmp_path, kind):
    path = tmp_path / "a.h5"
    if kind == "emcee":
        files.emcee(path, X)
    else:
        files.tree(X).to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", shape=(10**6, 10**6), dtype="f8", chunks=(100, 100))
    assert path.stat().st_size < 100_000
    assert peak(refuse(path, TIGHT, format=kind)) < 5_000_000


def test_hdf5_may_not_point_out_of_itself(tmp_path):
    (tmp_path / "secret").write_bytes(np.arange(40.0).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["mu"] = X
    links = {
        "external.h5": lambda g: g.__setitem__("mu", h5py.ExternalLink(str(tmp_path / "other.h5"), "mu")),
        "soft.h5": lambda g: g.__setitem__("mu", h5py.SoftLink("/posterior")),
        "raw.h5": lambda g: g.create_dataset("mu", (2, 20), "f8", external=[(str(tmp_path / "secret"), 0, 320)]),
        "loop.h5": lambda g: g.__setitem__("again", g),
    }
    for name, add in links.items():
        with h5py.File(tmp_path / name, "w") as file:
            add(file.create_group("posterior"))
        for limits in (Limits(), TIGHT):
            refuse(tmp_path / name, limits, ReadError, format="netcdf")()
    for name in ("external.h5", "soft.h5"):
        with pytest.raises(ReadError, match="data within the file"):
            read(tmp_path / name, format="netcdf")
    layout = h5py.VirtualLayout((2, 20), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "mu", (2, 20))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("posterior/mu", layout)
    refuse(tmp_path / "virtual.h5", TIGHT, ReadError)()


def test_text_is_held_to_the_limits_before_it_is_read(each):
    for name in ("cmdstan", "getdist", "csv"):
        refuse(each[name], Limits(elements=20))()
        refuse(each[name], Limits(variables=2))()
        refuse(each[name], Limits(bytes=100))()
    refuse(each["parquet"], Limits(elements=100))()
    refuse(each["parquet"], Limits(variables=2))()
    refuse(each["zarr"], Limits(elements=20))()
    refuse(each["zarr"], Limits(members=2))()


def test_one_long_text_may_not_stand_for_many_cells(tmp_path):
    rows = files.table(X).melt(id_vars=["chain", "draw"], var_name="parameter", value_name="value")
    rows.assign(parameter="x" * 1_000_000).to_parquet(tmp_path / "a.parquet", index=False)
    assert peak(refuse(tmp_path / "a.parquet", Limits(), ReadError)) < 20_000_000


def test_a_chunk_may_not_be_larger_than_the_limits(tmp_path):
    files.tree(X).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "a.nc", "a") as file:
        file.create_dataset("one", (1, 1), "f8", chunks=(10_000, 10_000), maxshape=(None, None), compression="gzip")
    refuse(tmp_path / "a.nc", TIGHT)()


def test_huge_weights_are_refused(tmp_path):
    files.getdist(tmp_path / "root", files.drawn(1, 3, 2), np.array([[1, 1e12, 1]]))
    assert peak(refuse(tmp_path / "root", Limits())) < 5_000_000


@pytest.mark.parametrize("value", [0, -1, 1.5, "many"])
def test_limits_are_positive_integers(value):
    with pytest.raises(ValueError, match="elements"):
        Limits(elements=value)


def test_a_limit_error_says_which_limit(tmp_path):
    np.savez(tmp_path / "a.npz", mu=np.zeros((4, 100)))
    for what, most in (("elements", 399), ("bytes", 100)):
        with pytest.raises(LimitError) as caught:
            read(tmp_path / "a.npz", limits=Limits(**{what: most}))
        assert (caught.value.what, caught.value.most) == (what, most)


def test_groups_in_groups_have_an_end(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_group("/".join("g" * 60))
    with pytest.raises(ReadError, match="at most 32 deep"):
        read(tmp_path / "a.nc")
