"""What docs/service.md says of codes, paths and limits is so, and its commands work."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from servers import drawn, serving

from mcmc.service import Settings, create_app

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")


def test_paths_and_codes_exist():
    paths = {re.sub(r"\{id\}|ID|mine", "{id}", p) for p in re.findall(r"/(?:v1/[\w/{}.]+|healthz|metrics)", PAGE)}
    assert paths <= set(create_app(Settings()).openapi()["paths"])
    source = "".join(p.read_text() for p in (Path(__file__).parents[2] / "mcmc" / "service").glob("*.py"))
    for row in re.findall(r"^\| \d+ \| (.*?) \|", PAGE, re.M):
        for code in re.findall("`(.*?)`", row):
            assert f'"{code}"' in source, code


def test_limits_are_the_defaults():
    s = Settings()
    assert (s.request_bytes, s.job_bytes, s.elements, s.job_elements) == (64e6, 1e9, 20e6, 200e6)
    assert (s.variables, s.members, s.memory, s.job_memory) == (10_000, 10_000, 2e9, 8e9)
    assert (s.upload_seconds, s.seconds, s.job_seconds) == (120, 60, 1800)
    assert (s.concurrency, s.waiting, s.queued, s.runs) == (2, 32, 100, 100)
    assert s.kept_seconds == 7 * 86400


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_run(tmp_path):
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.S)).replace("\\\n", " ")
    commands = [line for line in shell.splitlines() if line.startswith("curl") and "TOKEN" not in line]
    np.savez(tmp_path / "posterior.npz", mu=drawn())
    for name in ("posterior.nc", "large.nc"):
        shutil.copy(tmp_path / "posterior.npz", tmp_path / name)
    for i in (1, 2):
        rows = ["lp__,mu", *(f"-1.0,{x!r}" for x in drawn(1, 50, 1, seed=i).ravel().tolist()), ""]
        (tmp_path / f"chain_{i}.csv").write_text("\n".join(rows))
    joined = re.sub(r"\s+-d\s", " -d ", "\n".join(commands)).replace("\n     -d", " -d")
    said = []
    with serving() as (url, _):
        for command in joined.splitlines():
            if "/jobs/ID" in command:
                continue
            words = shlex.split(command.replace("http://127.0.0.1:8765", url))
            done = subprocess.run([*words, "-s", "--noproxy", "*"], cwd=tmp_path, capture_output=True, text=True)
            said.append(done.stdout)
            assert done.returncode == 0, command
            assert '"code":"' not in done.stdout.partition('"checks"')[0], (command, done.stdout)
    assert sum('"verdict"' in text for text in said) == 3
    assert len(said) == 6
