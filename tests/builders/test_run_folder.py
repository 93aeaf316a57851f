"""The run folder: its contract, files that are whole or not there, finding the run that is meant."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders import run_folder
from builders.errors import RunError, UserError
from builders.run_folder import (
    RunFolder,
    create_run_folder,
    find_run,
    note_command,
    point_latest,
    write_atomically,
)

ROOT = Path(__file__).resolve().parents[2]


def test_a_finished_run_has_all_its_files(finished):
    folder = finished.folder
    here = {path.name for path in folder.path.iterdir()}
    assert here == {
        "spec.json",
        "command.txt",
        "environment.json",
        "tensorboard",
        "metrics.csv",
        "checkpoints",
        "backup",
        "report.json",
        "samples.png",
        "curves.png",
    }
    assert [path.name for path in folder.checkpoints.iterdir()] == ["best.weights.h5"]
    assert [path.name for path in folder.backup.iterdir()] == ["state.npz"]
    assert folder.command.read_text() == "train.py --x\n"
    latest = folder.path.parent / "latest"
    assert latest.is_symlink() and latest.resolve() == folder.path.resolve()


def test_the_spec_of_a_run_is_whole_and_means_the_same(finished, tiny):
    from builders.spec import load_spec

    stored = json.loads(finished.folder.spec.read_text())
    assert stored["dataset"]["name"] == "digits"  # a default
    dense = stored["model"]["layers"]["generator"]["layers"]["encoder"]["layers"][1]["Dense"]
    assert dense["use_bias"] is True
    assert load_spec(finished.folder.spec).resolved() == tiny().resolved() == stored


def test_the_environment_says_what_ran(finished):
    import keras

    stored = json.loads(finished.folder.environment.read_text())
    assert stored["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert stored["keras_backend"] == keras.backend.backend()
    assert stored["packages"]["keras"] == keras.__version__
    assert stored["started_utc"].endswith("+00:00")


def test_the_report_has_the_figures_of_the_best_epoch(finished):
    report = json.loads(finished.folder.report.read_text())
    losses = finished.history["val_loss"]
    assert report["best_epoch"] == 1 + losses.index(min(losses))
    assert report["best"]["val_loss"] == min(losses)
    assert report["epochs"] == 3 and report["stopped"] == ""
    assert report["images"] == {"train": 28, "validation": 28, "test": 28}
    assert set(report["median"]) == {
        "time/step_ms",
        "time/images_per_second",
        "time/data_wait_fraction",
        "time/validation_seconds",
    }


def test_a_folder_is_named_after_spec_and_time(workdir, tiny, monkeypatch):
    monkeypatch.setattr(run_folder, "utc_stamp", lambda: "20300102T030405Z")
    folders = [create_run_folder(tiny(), None, ["train.py"]) for _ in range(3)]
    names = [str(folder.path) for folder in folders]
    first = "runs/Tiny-20300102T030405Z"
    assert names == [first, f"{first}-2", f"{first}-3"]  # three runs in one second
    assert (workdir / first / "spec.json").is_file()


def test_a_folder_that_holds_a_run_is_not_taken(workdir, tiny):
    create_run_folder(tiny(), Path("mine"), ["train.py"])
    before = sorted(path.name for path in (workdir / "mine").iterdir())
    with pytest.raises(UserError, match=r"--run_dir mine: holds a run already; --resume"):
        create_run_folder(tiny(), Path("mine"), ["train.py"])
    assert sorted(path.name for path in (workdir / "mine").iterdir()) == before


@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_file_in_the_way_of_a_folder_is_named(workdir, tiny, inside):
    (workdir / "file").write_text("mine")
    path = Path("file") / inside
    with pytest.raises(UserError, match=rf"--run_dir {path}: can't be written: Not a directory"):
        create_run_folder(tiny(), path, ["train.py"])
    assert (workdir / "file").read_text() == "mine"


def test_latest_points_at_the_last_run(workdir, tiny):
    for name in ("runs/a", "runs/b"):
        assert point_latest(create_run_folder(tiny(), Path(name), [])) == ""
    assert str(Path("runs/latest").readlink()) == "b"  # the whole of runs/ can be moved
    outside = create_run_folder(tiny(), Path("elsewhere/c"), [])
    assert point_latest(outside) == ""
    assert Path("runs/latest").resolve() == workdir / "elsewhere/c"
    assert find_run(None).path == workdir / "elsewhere/c"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a", "b", "latest"]


def test_a_run_without_the_link_is_told_about(workdir, tiny):
    folder = create_run_folder(tiny(), Path("runs/a"), [])
    (workdir / "runs/latest").mkdir()
    trouble = point_latest(folder)
    assert trouble.startswith("runs/latest can't point at this run: ")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a", "latest"]


def test_commands_can_be_repeated_from_their_record(workdir, tiny):
    folder = create_run_folder(
        tiny(), Path("run"), ["python", "train.py", "--model", "my spec.json"]
    )
    note_command(folder, ["python", "train.py", "--resume"])
    assert folder.command.read_text().splitlines() == [
        "python train.py --model 'my spec.json'",
        "python train.py --resume",
    ]


def test_a_run_that_is_not_there(workdir, tiny):
    with pytest.raises(UserError, match="no run yet: runs/latest is not there"):
        find_run(None)
    create_run_folder(tiny(), Path("runs/digits-1"), [])
    with pytest.raises(
        UserError, match=r'runs/digit-1: no such run folder; did you mean "digits-1"'
    ):
        find_run("runs/digit-1")
    with pytest.raises(UserError, match=r"runs: not a run folder \(no spec.json in it\)"):
        find_run("runs")
    assert find_run("runs/digits-1").path == workdir / "runs/digits-1"


@pytest.mark.parametrize("content", ["text", b"\x00bytes", lambda path: path.write_text("called")])
def test_a_file_is_written_in_place_of_the_former(tmp_path, content):
    path = tmp_path / "new folder" / "file.weights.h5"
    for _ in range(2):
        write_atomically(path, content)
    expected = content if isinstance(content, bytes) else b"text"
    assert path.read_bytes() == (b"called" if callable(content) else expected)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_writing_that_fails_leaves_the_former_file(tmp_path, error):
    path = tmp_path / "state.npz"
    write_atomically(path, "former")

    def fail(target):
        target.write_text("half")
        raise error

    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, fail)
    else:
        with pytest.raises(RunError, match=r"state.npz: can't be written: No space left on device"):
            write_atomically(path, fail)
    assert path.read_text() == "former"
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]


KILLED = """
import os, signal, sys
from pathlib import Path
from builders.run_folder import write_atomically

def half(target):
    with target.open("wb") as file:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), half)
"""


@pytest.mark.parametrize("name", ["backup/state.npz", "checkpoints/best.weights.h5"])
def test_a_process_killed_while_it_writes_leaves_the_former_file(tmp_path, name):
    path = tmp_path / name
    write_atomically(path, "former")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "former"
    left = [each for each in path.parent.iterdir() if each != path]
    assert [each.read_bytes() for each in left] == [b"half"]
    write_atomically(path, "next")  # and clears the rest away
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_rest_of_a_killed_writing_is_no_checkpoint(tmp_path):
    from builders.checkpoint import find_weights

    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    (folder.checkpoints / ".writing-best.weights.h5").write_bytes(b"half")
    with pytest.raises(UserError, match="no checkpoint in it"):
        find_weights(str(tmp_path))
