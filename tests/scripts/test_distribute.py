"""Data-parallel training: several devices, and several processes, against one.

Needs JAX; see test_jax_environment.py for how an environment is made or named.
"""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from builders.relay import free_port
from tests.codec_models import conv, spec_tree

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds; for a machine that is busy with other things

pytestmark = [pytest.mark.jax, pytest.mark.timeout(1800)]


def hyperprior():
    """A spec with noise that is drawn in the step, judged by a discriminator."""
    tree = spec_tree(
        (8, 8, 1),
        [conv(4, 3, 2), {"GDN": {}}],
        [{"GDN": {"inverse": True}}, conv(1, 3, 2, transposed=True)],
        ([conv(2, 3, 2)], [conv(4, 3, 2, transposed=True)]),
        entropy_model={"ScaleHyperprior": {}},
    )
    tree["model"]["layers"]["discriminator"] = {
        "layers": [{"Flatten": {}}, {"BatchNormalization": {}}, {"Dense": {"units": 1}}]
    }
    tree["loss"] += [{"BitsPerPixel": {"weight": 0.01}}, {"Adversarial": {"weight": 0.01}}]
    tree["training"] = {"batch_size": 8, "epochs": 2, "metrics": [{"PSNR": {}}]}
    # The hinge loss gives the discriminator's biases a gradient of zero but for rounding, which
    # Adam would blow up to whole steps.
    tree["training"]["discriminator_optimizer"] = {"SGD": {"learning_rate": 0.01}}
    tree["dataset"] = {"max_images": 21}  # of batches of 8, the last has 5
    return tree


@pytest.fixture(scope="module")
def start(jax_python):
    """Starts `train.py` in a folder, its output in a file there."""
    running = []

    def run(folder, name, *flags, **variables):
        output = (folder / f"{name}.txt").open("w")
        environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **variables}
        process = subprocess.Popen(
            [jax_python, str(ROOT / "train.py"), *map(str, flags)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        running.append(process)
        return Training(process, folder / f"{name}.txt")

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


class Training:
    """A running `train.py`."""

    def __init__(self, process, output):
        self.process = process
        self.output = output

    def text(self):
        return self.output.read_text()

    def until(self, wanted):
        end = time.monotonic() + PATIENCE
        while wanted not in self.text():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{wanted!r} is not in: {self.text()}")
            time.sleep(0.05)

    def status(self):
        return self.process.wait(PATIENCE)


def two(start, folder, *flags):
    """Two processes of one run."""
    port = free_port()
    return [
        start(
            folder,
            f"process{index}",
            *("--distribute=data", "--coordinator_address", f"localhost:{port}"),
            *("--num_processes=2", f"--process_id={index}", *flags),
        )
        for index in range(2)
    ]


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def assert_same_curve(folder, other):
    mine, theirs = rows(folder), rows(other)
    assert len(mine) == len(theirs) and mine[0].keys() == theirs[0].keys()
    for row, expected in zip(mine, theirs, strict=True):
        for name, value in row.items():
            assert value == pytest.approx(expected[name], rel=2e-4, abs=1e-6), name


def weights(folder):
    """Of the best epoch."""
    import h5py

    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name] = item[()]

    with h5py.File(folder / "checkpoints" / "best.weights.h5") as file:
        file.visititems(note)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_tree):
    """Holds two specs."""
    made = tmp_path_factory.mktemp("distribute")
    (made / "tiny.json").write_text(json.dumps(tiny_tree()))
    (made / "hyper.json").write_text(json.dumps(hyperprior()))
    return made


@pytest.fixture(scope="module")
def alone(start, folder):
    """The run of one process on one device."""
    run = start(folder, "alone", "--model", "tiny.json", "--run_dir", "alone")
    assert run.status() == 0, run.text()
    return folder / "alone"


def test_several_devices_of_a_process_make_the_curve_of_one(start, folder):
    one = start(folder, "one", "--model", "hyper.json", "--run_dir", "one")
    assert one.status() == 0, one.text()
    several = start(
        folder,
        "several",
        *("--model", "hyper.json", "--run_dir", "several", "--distribute", "data"),
        XLA_FLAGS="--xla_force_host_platform_device_count=3",
    )
    assert several.status() == 0, several.text()
    assert "devices    3 cpu devices; at most 3 of a batch's 8 images on each" in several.text()
    assert_same_curve(folder / "several", folder / "one")
    mine, expected = weights(folder / "several"), weights(folder / "one")
    assert mine.keys() == expected.keys() and len(mine) > 10
    for name, value in expected.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_processes_make_the_curve_of_one_and_only_the_first_writes(start, folder, alone):
    before = {path.name for path in folder.iterdir()}
    first, second = two(start, folder, "--model", "tiny.json", "--run_dir", "both")
    assert first.status() == 0, first.text()
    assert second.status() == 0, second.text()
    assert "2 cpu devices in 2 processes; 4 of a batch's 8 images on each" in first.text()
    assert second.text() == ""
    assert_same_curve(folder / "both", alone)
    made = {path.name for path in folder.iterdir()} - before
    assert made <= {"both", "process0.txt", "process1.txt", "runs"}
    names = {path.name for path in (folder / "both").iterdir()}
    assert names == {path.name for path in alone.iterdir()}
    assert len(list((folder / "both" / "tensorboard").iterdir())) == 1
    assert len((folder / "both" / "command.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_goes_on(start, folder, victim):
    run = f"killed{victim}"
    flags = ("--model", "tiny.json", "--run_dir", run, "--backup_steps", "1")
    processes = two(start, folder, *flags, "--epochs", "100000")
    processes[0].until("Epoch 2/")
    processes[victim].process.kill()
    began = time.monotonic()
    left = processes[1 - victim]
    assert left.status() == 1
    assert time.monotonic() - began < 60
    told = left.text()[left.text().index("train.py: ") :].splitlines()
    assert told[0] == f"train.py: process {victim} of 2 is gone: its connection closed"
    assert (
        told[1].startswith("The state before epoch ") and "state.npz. To go on, in every" in told[1]
    )
    assert told[2].startswith("  python train.py --distribute=data --resume --run_dir ")
    assert "Traceback" not in left.text() and len(told) == 3
    done = json.loads(np.load(folder / run / "backup" / "state.npz")["meta"].tobytes())
    epochs = done["progress"]["epoch"] + 1
    # The curve to the epoch that was cut, made by other numbers of processes.
    again = start(folder, "again", "--resume", "--run_dir", run, "--epochs", epochs)
    assert again.status() == 0, again.text()
    whole = start(folder, "whole", *flags[:2], "--run_dir", f"{run}-whole", "--epochs", epochs)
    assert whole.status() == 0, whole.text()
    assert_same_curve(folder / run, folder / f"{run}-whole")


def test_a_run_is_gone_on_with_in_two_processes(start, folder, alone):
    cut = start(folder, "cut", "--model", "tiny.json", "--run_dir", "cut", "--epochs", "1")
    assert cut.status() == 0, cut.text()
    first, second = two(start, folder, "--resume", "--run_dir", "cut", "--epochs", "3")
    assert first.status() == 0, first.text()
    assert second.status() == 0, second.text()
    assert_same_curve(folder / "cut", alone)


def test_a_process_that_hangs_ends_the_other(start, folder):
    processes = two(
        start, folder, "--model", "tiny.json", "--epochs", "100000", "--run_dir", "hung"
    )
    processes[0].until("Epoch 2/")
    processes[1].process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert processes[0].status() == 1
    assert time.monotonic() - began < 60
    text = processes[0].text()
    assert "train.py: process 1 of 2 is gone: it gave no sign of life for 30 s\n" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("asked", [0, 1])
def test_a_wish_to_stop_in_any_process_stops_all(start, folder, asked):
    run = f"asked{asked}"
    processes = two(start, folder, "--model", "tiny.json", "--epochs", "100000", "--run_dir", run)
    processes[0].until("Epoch 2/")
    processes[asked].process.terminate()
    assert [each.status() for each in processes] == [130, 130]
    assert "\nstopped. The state before epoch " in processes[0].text()
    assert processes[1].text().startswith("train.py: process 0 of 2 was stopped by its user\n")


def test_processes_that_were_told_different_things_say_so(start, folder):
    port = free_port()
    team = ("--distribute=data", f"--coordinator_address=localhost:{port}", "--num_processes=2")
    flags = ("--model", "tiny.json", "--run_dir", "different")
    first = start(folder, "first", *team, "--process_id=0", *flags, "--batch_size=8")
    second = start(folder, "second", *team, "--process_id=1", *flags, "--batch_size=6")
    assert (first.status(), second.status()) == (1, 2)
    assert second.text() == (
        "train.py: process 1 and process 0 differ: the spec and its flags:\n"
        "  training.batch_size: 6 here, 8 there\n"
    )
    assert first.text().startswith("train.py: process 1 of 2 ended: process 1 and process 0 differ")


def test_slurm_says_where_and_who_and_a_proxy_does_no_harm(start, folder):
    slurm = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_LOCALID": "0",
    }
    flags = ("--distribute=data", "--model", "tiny.json", "--run_dir", "slurm", "--epochs", "1")
    # A proxy that the environment names is none for processes of one run.
    slurm["http_proxy"] = "http://127.0.0.1:9"
    processes = [
        start(folder, f"slurm{index}", *flags, **slurm, SLURM_PROCID=str(index)) for index in (0, 1)
    ]
    assert [each.status() for each in processes] == [0, 0], [each.text() for each in processes]
    assert "2 cpu devices in 2 processes" in processes[0].text()
