"""Several steps a dispatch and images on the device, under JAX, where TensorFlow is not installed.

The runs are made by `jax_runs.py`, in an environment from requirements-jax.txt;
CODECSMITH_JAX_PYTHON names the Python of one that is there already.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.jax, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def results(jax_python, tmp_path_factory):
    """Makes the runs of a scenario and gives what it tells of them."""

    def run(module, *arguments, **settings):
        done = subprocess.run(
            [jax_python, "-m", module, *arguments],
            cwd=tmp_path_factory.mktemp("runs"),
            env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def scenario(name, **settings):
        return json.loads(run("tests.builders.jax_runs", name, **settings))[name]

    scenario.run = run
    return scenario


def same(a, b, rtol=2e-4):
    """Whether two runs came to the same, up to rounding."""
    assert a["curves"].keys() == b["curves"].keys()
    for name, values in a["curves"].items():
        np.testing.assert_allclose(values, b["curves"][name], rtol=rtol, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(a["weights"], b["weights"], rtol=rtol, atol=1e-4)


def test_steps_of_a_dispatch_and_images_on_the_device_change_nothing(results):
    found = results("ways")
    plain = found.pop("plain")
    assert plain["status"] == 0 and plain["place"] == [2, 0]
    assert len(found) == 4
    for run in found.values():
        same(run, plain)


def test_a_pair_of_networks_with_averaged_weights(results):
    found = results("pair")
    assert "discriminator_loss" in found["plain"]["curves"]
    same(found["held_two"], found["plain"])


def test_a_run_cut_in_an_epoch_goes_on_to_the_same_end(results):
    found = results("resumed")
    assert (found["cut"]["status"], found["cut"]["place"]) == (130, [1, 2])
    assert found["on"] == found["whole"]


def test_what_the_device_is_called_with(results):
    found = results("calls")
    # Four steps: two in one go, then a full batch and a short one, which don't go together.
    assert found["made"] == ["several", "single", "single"]
    assert found["heard"] == [1, 3]
    # The images are an argument that is not given away, no constant of the program, no variable.
    assert found["deleted"] == [False] * 3
    assert max(found["constants"]) < found["pixels"] // 10
    assert found["pixels"] not in found["saved"]
    assert found["waited"] >= 0.0


def test_an_image_that_breaks_ahead_breaks_the_dispatch_it_belongs_to(results):
    lines = results("broken")["message"].splitlines()
    assert re.fullmatch(r"photos/\d+\.png: went away", lines[0])
    assert lines[1] == (
        "The state before epoch 1, step 1 is saved in broken/backup/state.npz. To go on:"
    )


def test_a_loss_that_is_no_number_is_found_in_its_dispatch(results):
    message = results("no_number")["message"]
    assert re.match(r"the loss is (nan|inf) at steps 1 to 2 of epoch 1\. ", message)


def test_two_devices_share_the_steps(results):
    found = results("spread", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert found["devices"] == 2
    same(found["together"], found["alone"])
    same(found["loader"], found["alone"])


@pytest.mark.parametrize("flags", [[], ["--on_device", "false", "--precision", "float32"]])
def test_the_benchmark_of_training_on_an_accelerator(results, tiny_tree, tmp_path, flags):
    spec = tmp_path / "tiny.json"
    spec.write_text(json.dumps(tiny_tree()))
    told = results.run(
        "benchmarks.accelerator_speed",
        *("--model", str(spec), "--dataset", "digits", "--crop", "8", "--batch_size", "4"),
        *("--steps", "4", "--steps_per_dispatch", "2", "--rounds", "2", "--peak_sides", "64,128"),
        *flags,
    )
    rows = dict(re.findall(r"^\| ([^|]+) \| (?:\d+ \| )?([^|]+) \|$", told, re.MULTILINE))
    assert float(rows["bfloat16"]) > 0 and float(rows["float32, exact"]) > 0
    assert rows["images a step, steps a dispatch"] == "4, 2"
    macs = 64 * 16 + 16 * 8 + 4 * 64  # the second layer gives mean and variance of four latents
    terms = rows["TFLOP a step, formula"].split(",")[0]
    assert float(terms) == pytest.approx(6 * 4 * macs / 1e12, rel=1e-3)
    counted = float(rows["TFLOP a step, counted"].split(",")[0])
    assert counted > 0.8 * float(terms)
    assert float(rows["waiting for the device"]) >= 0.0
    assert ("held on the device" in told) is (flags == [])
