"""Runs in processes of their own that are killed or stopped, and gone on with."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import train

ROOT = Path(train.__file__).resolve().parent


class Process:
    """`python train.py` in a folder."""

    def __init__(self, folder, *flags):
        self.folder = folder
        self.flags = flags
        self.output = (folder / "output.txt").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *flags],
            cwd=folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def until_saved(self, times, seconds=120):
        """Waits until the state was written so many times more."""
        state = self.folder / "run" / "backup" / "state.npz"
        seen, end = set(), time.monotonic() + seconds
        while len(seen) < times:
            if state.exists():
                seen.add(state.stat().st_mtime_ns)
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"no {times} states: {self.text()}")
            time.sleep(0.001)

    def end(self, number):
        """Sends a signal; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(120)

    def text(self):
        self.output.flush()
        return (self.folder / "output.txt").read_text()


@pytest.fixture
def folder(workdir, tiny_tree):
    """Holds the spec of the `finished` run."""
    (workdir / "tiny.json").write_text(json.dumps(tiny_tree()))
    return workdir


START = ("--model", "tiny.json", "--run_dir", "run", "--backup_steps", "1")


def stands(folder):
    """(epoch, batch) of the state on disk."""
    with np.load(folder / "run" / "backup" / "state.npz") as stored:
        progress = json.loads(stored["meta"].tobytes())["progress"]
    return progress["epoch"], progress["batch"]


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def in_this_process(*flags):
    """`train.py` without a start of its own; the same seed gives the same curve in any process."""
    return train.main([*flags, "--verbosity", "0"])


def test_a_killed_run_ends_like_one_that_was_not(folder, finished):
    # Twelve steps: killed somewhere behind the second, each time elsewhere.
    chance = random.Random()
    saves, delay = chance.randint(3, 10), chance.uniform(0, 0.05)
    print(f"killed {delay:.4f} s behind save {saves}")
    process = Process(folder, *START)
    process.until_saved(saves)
    time.sleep(delay)
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert stands(folder) >= divmod(saves - 1, 4)  # the first save comes before the first step
    assert in_this_process("--resume", "--run_dir", "run", "--backup_steps", "1") == 0
    assert rows(folder / "run") == rows(finished.folder.path)
    assert (folder / "run" / "report.json").is_file()
    left = [path.name for path in (folder / "run").rglob(".*")]
    assert left == []


def test_a_terminated_run_saves_says_how_to_go_on_and_does(folder, finished):
    process = Process(folder, *START[:-2])
    process.until_saved(2)  # the beginning, and the first epoch
    status = process.end(signal.SIGTERM)
    if status == 0:
        pytest.fail("the run was over before the signal came")
    assert status == 130
    text = process.text()
    assert "Traceback" not in text
    last = text.rstrip().splitlines()[-1].strip()
    assert last == "python train.py --resume --run_dir run"
    epoch, batch = stands(folder)
    assert f"stopped. The state before epoch {epoch + 1}, step {batch + 1} is saved in" in text
    assert in_this_process(*last.split()[2:]) == 0
    assert rows(folder / "run") == rows(finished.folder.path)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_like_one_that_was_not(folder, finished):
    chance = random.Random()
    process = Process(folder, *START)
    process.until_saved(2)
    for _ in range(4):
        time.sleep(chance.uniform(0, 0.2))
        if process.end(signal.SIGKILL) == 0:
            break
        process = Process(folder, "--resume", "--run_dir", "run", "--backup_steps", "1")
        process.until_saved(1 if stands(folder) >= (2, 2) else 2)
    process.end(signal.SIGKILL)
    assert in_this_process("--resume", "--run_dir", "run") == 0
    assert rows(folder / "run") == rows(finished.folder.path)


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory, tiny_tree):
    """A run of one epoch, in this process. Read only."""
    folder = tmp_path_factory.mktemp("one epoch")
    with contextlib.chdir(folder):
        (folder / "tiny.json").write_text(json.dumps(tiny_tree()))
        assert in_this_process(*START, "--epochs", "1", "--seed", "3") == 0
    return folder


@pytest.fixture
def started(one_epoch, workdir):
    """A copy of it, in the current folder."""
    return Path(shutil.copytree(one_epoch, workdir, symlinks=True, dirs_exist_ok=True))


def test_the_same_command_with_resume_goes_on(started):
    again = (*START, "--seed", "3", "--resume")
    assert in_this_process(*again, "--epochs", "2") == 0
    assert [row["epoch"] for row in rows(started / "run")] == ["1", "2"]


DIFFERENCES = {
    "--batch_size=4": "training.batch_size: 4 here, 8 there",
    "--seed=4": "training.seed: 4 here, 3 there",
    "--precision=float32": 'training.precision: "float32" here, "auto" there',
    "--set=loss[1].KLDivergence.weight=1": "loss[1].KLDivergence.weight: 1 here, 0.01 there",
    "--dataset=photos": 'dataset.name: "photos" here, "digits" there',
}


def test_a_resume_that_asks_for_another_run_is_refused(started):
    from builders.errors import UserError

    before = (started / "run" / "spec.json").read_text()
    for flag, words in DIFFERENCES.items():
        with pytest.raises(UserError) as caught:
            in_this_process("--resume", "--run_dir", "run", flag)
        head, *lines = str(caught.value).splitlines()
        assert head.startswith("--resume goes on with ") and "--epochs alone may change" in head
        assert lines == [f"  {words}"]
    with pytest.raises(UserError, match="goes on with the run's own weights"):
        in_this_process("--resume", "--run_dir", "run", "--load_from_ckpt_path", "run")
    tree = json.loads((started / "tiny.json").read_text())
    tree["model"]["name"] = "Other"
    (started / "other.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r'model\.name: "Other" here, "Tiny" there'):
        in_this_process("--resume", "--run_dir", "run", "--model", "other.json", "--seed", "3")
    assert (started / "run" / "spec.json").read_text() == before


def test_a_spec_that_was_edited_by_hand_is_refused(started):
    from builders.errors import UserError

    path = started / "run" / "spec.json"
    tree = json.loads(path.read_text())
    tree["training"]["batch_size"] = 4
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError) as caught:
        in_this_process("--resume", "--run_dir", "run", "--epochs", "2")
    assert str(caught.value).splitlines()[1:] == ["  training.batch_size: 4 here, 8 there"]


def test_a_damaged_state_takes_one_line_and_changes_nothing(started):
    from builders.errors import UserError

    state = started / "run" / "backup" / "state.npz"
    state.write_bytes(state.read_bytes()[:-100])
    command = (started / "run" / "command.txt").read_text()
    with pytest.raises(UserError) as caught:
        in_this_process("--resume", "--run_dir", "run", "--epochs", "2")
    assert str(caught.value).endswith("damaged: its end is missing, or it is no saved state")
    assert "\n" not in str(caught.value)
    assert (started / "run" / "command.txt").read_text() == command
