import errno
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from builders import coding_jobs
from builders.coding_jobs import STREAM, Job, label, plan_jobs, run_jobs
from builders.errors import RunError, UserError
from builders.file_search import files_below
from codec.errors import NicModelError
from codec.latent_coder import LatentsError
from codec.picture import PictureError

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def here(workdir):
    """Files a.png, b.jpg, sub/a.png, sub/.hidden.png and note.txt in the current folder."""
    for name in ("a.png", "b.jpg", "sub/a.png", "sub/.hidden.png", "note.txt"):
        path = workdir / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return workdir


def plan(*inputs, output=None, force=False):
    jobs = plan_jobs(inputs, output, ".nic", SUFFIXES, force)
    return [(job.source, job.target) for job in jobs]


def test_results_go_beside_their_sources(here):
    assert plan("a.png", "sub/a.png") == [("a.png", "a.nic"), ("sub/a.png", "sub/a.nic")]
    assert plan("note.txt") == [("note.txt", "note.nic")]  # a file that is named is taken
    absolute = str(here / "b.jpg")
    assert plan(absolute) == [(absolute, str(here / "b.nic"))]


def test_a_folder_stands_for_its_files(here):
    assert plan(".") == [("a.png", "a.nic"), ("b.jpg", "b.nic"), ("sub/a.png", "sub/a.nic")]
    assert plan("sub") == [("sub/a.png", "sub/a.nic")]
    assert plan(".", output="out") == [
        ("a.png", "out/a.nic"),
        ("b.jpg", "out/b.nic"),
        ("sub/a.png", "out/sub/a.nic"),
    ]
    (here / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no files in it to work on"):
        plan("empty")


def test_an_output_is_a_file_for_one_image_else_a_folder(here):
    assert plan("a.png", output="out") == [("a.png", "out")]
    assert plan("a.png", output="out.nic") == [("a.png", "out.nic")]
    assert plan("a.png", output="out/") == [("a.png", "out/a.nic")]
    assert plan("a.png", output="sub") == [("a.png", "sub/a.nic")]  # a folder that is there
    assert plan("a.png", "b.jpg", output="out") == [("a.png", "out/a.nic"), ("b.jpg", "out/b.nic")]
    assert plan("sub", output="out") == [("sub/a.png", "out/a.nic")]
    with pytest.raises(UserError, match=r"-o note.txt: is a file; it takes a folder for more"):
        plan("a.png", "b.jpg", output="note.txt")
    with pytest.raises(UserError, match="is a file"):
        plan("sub", output="note.txt", force=True)


def test_streams(here):
    assert plan(STREAM) == [(STREAM, STREAM)]
    assert plan("a.png", output=STREAM) == [("a.png", STREAM)]
    assert plan(STREAM, output="x.nic") == [(STREAM, "x.nic")]
    assert plan(STREAM, output="sub") == [(STREAM, "sub/stdin.nic")]
    assert plan(STREAM, "a.png", output="out") == [
        (STREAM, "out/stdin.nic"),
        ("a.png", "out/a.nic"),
    ]
    for inputs in (("a.png", "b.jpg"), (".",), (STREAM, "a.png")):
        with pytest.raises(UserError, match="standard output takes one file"):
            plan(*inputs, output=STREAM)
    with pytest.raises(UserError, match="standard output takes one file"):
        plan(STREAM, "a.png")
    assert label(STREAM) == "standard input"
    assert label("a.png") == "a.png"


def test_no_file_is_done_twice(here):
    """Two threads would write to one place."""
    assert plan("a.png", "a.png") == [("a.png", "a.nic")]
    assert plan("a.png", "./a.png", "sub/../a.png") == [("a.png", "a.nic")]
    assert plan("sub", "sub/a.png") == [("sub/a.png", "sub/a.nic")]
    assert plan(".", "a.png")[:1] == [("a.png", "a.nic")]
    # Two places for one source are two results.
    (here / "sub" / "a.png").rename(here / "sub" / "c.png")
    assert len(plan("sub", ".", output="out")) == 4


def test_results_of_one_name_are_refused(here):
    (here / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"a.nic: both a.png and a.jpg would be written there"):
        plan("a.png", "a.jpg")
    with pytest.raises(UserError, match=r"out/a.nic: both a.png and sub/a.png"):
        plan("a.png", "sub/a.png", output="out")
    (here / "link").symlink_to("sub")
    with pytest.raises(UserError, match="both"):
        plan("sub", "link/../a.png", output="out")


def test_nothing_is_overwritten_without_force(here):
    (here / "a.nic").write_bytes(b"before")
    with pytest.raises(UserError, match=r"a.nic: is there already; --force overwrites it"):
        plan("a.png")
    assert plan("a.png", force=True) == [("a.png", "a.nic")]
    with pytest.raises(UserError, match=r"a.png: would be written over its own source"):
        plan("a.png", output="a.png", force=True)
    os.link(here / "a.png", here / "same.nic")
    with pytest.raises(UserError, match="over its own source"):
        plan("a.png", output="same.nic", force=True)
    (here / "b.nic").mkdir()
    with pytest.raises(UserError, match=r"b.nic: is a folder"):
        plan("b.jpg", force=True)


def test_problems_come_together(here):
    for number in range(13):
        (here / f"x{number}.png").write_bytes(b"")
        (here / f"x{number}.nic").write_bytes(b"")
    with pytest.raises(UserError) as error:
        plan(*(f"x{number}.png" for number in range(13)))
    assert len(str(error.value).splitlines()) == 11
    assert "and 3 more" in str(error.value)


def test_what_is_not_there_is_named(here):
    with pytest.raises(UserError, match=r"c.png: no such file or folder"):
        plan("a.png", "c.png")
    with pytest.raises(UserError, match="File name too long"):
        plan("x" * 5000)
    with pytest.raises(UserError, match="File name too long"):
        plan("a.png", output="x" * 300)


def test_a_link_that_leads_nowhere_is_left_to_the_reader(here):
    (here / "sub" / "dead.png").symlink_to("nowhere")
    (here / "sub" / "dead.nic").write_bytes(b"")
    with pytest.raises(UserError, match=r"dead.nic: is there already"):
        plan("sub")
    assert ("sub/dead.png", "sub/dead.nic") in plan("sub", force=True)


def test_files_below_a_folder_are_found_by_suffix(here):
    assert files_below(here, (".png",)) == ["a.png", "sub/a.png"]
    assert files_below(here, (".txt",)) == ["note.txt"]
    (here / "sub" / "UP.PNG").write_bytes(b"")
    (here / "sub" / "loop").symlink_to(here)
    os.mkfifo(here / "pipe.png")
    assert files_below(here, (".png",)) == ["a.png", "sub/UP.PNG", "sub/a.png"]


# --- doing them --------------------------------------------------------------------------------


def run(jobs, work, capsys, workers=1, limit=1000):
    said = []
    status = run_jobs(jobs, work, "working", workers, limit, said.append)
    return status, said, capsys.readouterr().err


def twice(content, job):
    return content * 2, f"{job.source} -> {job.target}"


@pytest.mark.parametrize("workers", [1, 4])
def test_all_jobs_are_done(here, capsys, workers):
    jobs = [Job("a.png", "out/deep/a.nic"), Job("b.jpg", "b.nic"), Job("note.txt", "note.nic")]
    status, said, err = run(jobs, twice, capsys, workers)
    assert (status, err) == (0, "")
    assert said == ["a.png -> out/deep/a.nic", "b.jpg -> b.nic", "note.txt -> note.nic"]
    assert Path("out/deep/a.nic").read_bytes() == b"a.pnga.png"
    assert sorted(path.name for path in here.iterdir()) == [
        "a.png", "b.jpg", "b.nic", "note.nic", "note.txt", "out", "sub",
    ]  # fmt: skip


FAILURES = [
    NicModelError("another model"),
    RunError("b.jpg: can't hold this"),
    PictureError("in colour"),
    LatentsError("not finite"),
    MemoryError(),
]


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("workers", [1, 3])
def test_one_failure_does_not_stop_the_others(here, capsys, error, workers):
    def work(content, job):
        if job.source == "b.jpg":
            raise error
        return content, None

    jobs = [Job("a.png", "a.nic"), Job("b.jpg", "b.nic"), Job("note.txt", "note.nic")]
    status, said, err = run(jobs, work, capsys, workers)
    assert (status, said) == (1, [])
    text = str(error).removeprefix("b.jpg: ") or "not enough memory"
    assert err == f"{Path(sys.argv[0]).name}: b.jpg: {text}\n"
    assert Path("a.nic").exists()
    assert Path("note.nic").exists()
    assert not Path("b.nic").exists()


def test_names_that_messages_begin_with_are_still_named(here, capsys):
    Path("the").write_bytes(b"x")

    def work(content, job):
        raise NicModelError("the file was written with another model")

    _, _, err = run([Job("the", "the.nic")], work, capsys)
    assert err.endswith(": the: the file was written with another model\n")


def test_a_mistake_of_the_user_ends_it_all(here, capsys):
    def work(content, job):
        raise UserError("KERAS_BACKEND is wrong")

    for workers in (1, 2):
        with pytest.raises(UserError):
            run([Job("a.png", "a.nic"), Job("b.jpg", "b.nic")], work, capsys, workers)
    assert not Path("a.nic").exists()


def test_files_that_cannot_be_read_or_written_are_named(here, capsys):
    (here / "dead.png").symlink_to("nowhere")
    Path("file").write_bytes(b"")
    jobs = [
        Job("dead.png", "x.nic"),
        Job("sub", "y.nic"),
        Job("a.png", "file/a.nic"),
        Job("b.jpg", "b.nic"),
    ]
    status, _, err = run(jobs, twice, capsys)
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 3
    assert "dead.png: can't be read: No such file" in lines[0]
    assert "sub: can't be read: Is a directory" in lines[1]
    assert "file/a.nic: can't be written" in lines[2]
    assert Path("b.nic").exists()


def test_inputs_are_bounded(here, capsys, monkeypatch):
    status, _, err = run([Job("a.png", "a.nic")], twice, capsys, limit=4)
    assert status == 1
    assert "a.png: more than 0 MiB" in err
    assert run([Job("a.png", "a.nic")], twice, capsys, limit=5)[0] == 0


class Stream(io.BytesIO):
    """A standard stream of bytes; one that is full fails when it is written to."""

    def __init__(self, content=b"", error=None):
        super().__init__(content)
        self.buffer = self
        self.error = error

    def write(self, data):
        if self.error:
            raise self.error
        return super().write(data)


def test_from_standard_input_to_standard_output(monkeypatch, here):
    out = Stream()
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Stream(b"abc"))
        patch.setattr(sys, "stdout", out)
        status = run_jobs([Job(STREAM, STREAM)], twice, "working", 1, 100, said.append)
    assert (status, said, out.getvalue()) == (0, [], b"abcabc")  # nothing but the result


def test_an_output_that_is_full_or_gone(monkeypatch, here, capsys):
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Stream(error=full))
        assert run_jobs([Job("a.png", STREAM)], twice, "working", 1, 100, print) == 1
    assert "a.png: standard output: can't be written: No space left" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Stream(error=BrokenPipeError()))
        with pytest.raises(BrokenPipeError):  # `run_command` ends quietly
            run_jobs([Job("a.png", STREAM)], twice, "working", 1, 100, print)


def test_no_more_at_a_time_than_asked_for(here, capsys):
    now, most, lock = [0], [0], threading.Lock()

    def work(content, job):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.01)
        with lock:
            now[0] -= 1
        return content, None

    jobs = [Job("a.png", f"out/{number}.nic") for number in range(12)]
    assert run(jobs, work, capsys, workers=3)[0] == 0
    assert 1 < most[0] <= 3


def test_a_result_is_whole_or_not_there(here, capsys, monkeypatch):
    def fail(path, content):
        raise RunError(f"{path}: can't be written: No space left on device")

    Path("a.nic").write_bytes(b"before")
    monkeypatch.setattr(coding_jobs, "write_atomically", fail)
    assert run([Job("a.png", "a.nic")], twice, capsys)[0] == 1
    assert Path("a.nic").read_bytes() == b"before"
