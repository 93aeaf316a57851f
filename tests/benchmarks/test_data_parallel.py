"""The benchmark of shared batches: a row for each way, and mistakes are told."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import data_parallel
from benchmarks.data_parallel import VARIANTS


def test_batches_that_can_not_be_halved_are_refused(call, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    code, out, err = call(data_parallel, "--batch_size=7")
    assert (code, out) == (2, "")
    assert "--batch_size 7: two processes share it, make it even" in err


def test_another_backend_is_refused(call, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    code, _, err = call(data_parallel)
    assert code == 2
    assert "set KERAS_BACKEND=jax" in err


@pytest.mark.jax
@pytest.mark.timeout(1800)
def test_a_row_for_each_way(jax_python):
    root = Path(__file__).resolve().parents[2]
    command = [jax_python, "-m", "benchmarks.data_parallel", "--rounds=1", "--steps=2"]
    done = subprocess.run(
        [*command, "--batch_size=4", "--filters=2"],
        check=False,
        cwd=root,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows[2:]] == list(VARIANTS)
    assert float(rows[3][3]) == 1.0  # two on their own, against themselves
    assert all(float(row[1].split()[0]) > 0 for row in rows[2:])
