"""What data may be: arrays, lists, data frames, labelled arrays; what has no plain meaning is refused by name."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mcmc
from mcmc.target.data import as_arrays, as_data, not_finite

VALUES = np.array([1.0, 2.0])


@pytest.mark.parametrize("data", [[1.0, 2.0], pd.Series(VALUES), xr.DataArray(VALUES), VALUES])
def test_a_list_and_what_holds_one_array_is_an_array(data):
    np.testing.assert_array_equal(as_data(data), VALUES)


@pytest.mark.parametrize(
    "data", [{"y": [1.0, 2.0]}, pd.DataFrame({"y": VALUES}), xr.Dataset({"y": ("place", VALUES)}), {"y": VALUES}]
)
def test_columns_are_a_dict_of_arrays(data):
    np.testing.assert_array_equal(as_data(data)["y"], VALUES)


def test_pytrees_of_arrays_stay_as_they_are():
    data = ([VALUES, jnp.ones(3)], {"n": 3}, np.ma.masked_array(VALUES))
    found = as_data(data)
    assert found[0][0] is VALUES
    assert found[1] == {"n": 3}
    assert not isinstance(found[2], np.ma.MaskedArray)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([[1.0, 2.0], [3.0]], "data: got .*rows of one length.*Pad the rows"),
        ({"y": None}, r"data\['y'\]: got None.*Leave it out"),
        ([1.0, None], "data: got .*without None"),
        ({"y": np.ma.masked_array(VALUES, [False, True])}, r"data\['y'\]: got an array in which 1 of 2.*compressed"),
        (pd.DataFrame({"g": ["a", "b"]}), r"data\['g'\]: got values of type .*cat.codes"),
        (xr.DataTree.from_dict({"/a": xr.Dataset({"y": VALUES[0]})}), r"tree\[group\]\[name\].values"),
        (np.array(["a"]), "data: got .*Encode labels"),
    ],
)
def test_what_has_no_plain_meaning_is_refused_with_what_to_pass(data, told):
    with pytest.raises((TypeError, ValueError), match=told):
        mcmc.Target(lambda p, data: 0.0, {"x": mcmc.real()}, data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((i for i in range(3)), r"gives its values once.*data=np.array\(list"),
        ({"y": map(float, [1, 2])}, r"data\['y'\].*gives its values once"),
        ({1.0, 2.0}, "whose order you know"),
        ({"a": 1.0}.values(), "whose order you know"),
        (lambda: 1.0, "Pass what it returns"),
        ("draws.csv", "Read the file first"),
    ],
)
def test_values_that_are_not_there_yet_are_told_how_to_become_an_array(data, told):
    with pytest.raises(TypeError, match=f"{told}.*mcmc explain data") as caught:
        as_data(data)
    assert caught.value.code == "data"


def test_a_range_is_an_array():
    np.testing.assert_array_equal(as_data({"n": range(3)})["n"], [0, 1, 2])


def test_integers_that_float32_runs_would_cut_are_refused():
    with pytest.raises(ValueError, match=r"data\['n'\]: got 1099511627776; .*float64"):
        as_arrays({"n": np.array([2**40])}, np.float32)


def test_nan_is_named_with_its_place():
    assert not_finite({"y": np.array([[1.0, 2.0], [np.nan, 3.0]]), "z": VALUES}) == "data['y'] is NaN at [1, 0]"


@pytest.mark.parametrize("name", ["a" * 300, "a/b", "chain"])
def test_names_that_no_file_could_hold_are_refused_at_once(name):
    with pytest.raises(ValueError, match="another name"):
        mcmc.Target(lambda p: 0.0, {name: mcmc.real()})
    target = mcmc.Target(lambda p: 0.0, {"x": mcmc.real()}, derived=lambda p: {name: p["x"]})
    with pytest.raises(ValueError, match="another name"):
        target.trace(np.float32)
