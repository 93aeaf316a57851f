"""Many files through one codec: what compress.py and decompress.py share."""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builders.errors import RunError, UserError
from builders.file_search import files_below
from builders.progress import ProgressReport
from builders.run_folder import write_atomically
from codec.errors import NicError
from codec.latent_coder import LatentsError
from codec.picture import PictureError

STREAM = "-"
"""Stands for standard input as an input and for standard output as an output."""


@dataclass(frozen=True)
class Job:
    """One file.

    Attributes:
        source: where it is; `STREAM` for standard input.
        target: where its result goes; `STREAM` for standard output.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Attributes:
        job: which.
        note: a line for the user, or None.
        error: what went wrong, or None.
    """

    job: Job
    note: str | None = None
    error: str | None = None


def plan_jobs(
    inputs: Sequence[str],
    output: str | None,
    suffix: str,
    suffixes: Collection[str],
    force: bool,
) -> list[Job]:
    """Which file goes where.

    A folder stands for the files in it, at any depth. `output` is a file for one input file and a
    folder otherwise, where inputs from folders keep their places; without it results go beside
    their sources.

    Args:
        inputs: files, folders, or `-`.
        output: of the user.
        suffix: of results.
        suffixes: of the files of a folder to take, in small letters.
        force: whether results may be there already.

    Raises:
        UserError: an input is missing, two results have one name, or a result is there already.
    """
    try:
        jobs = _jobs(inputs, output, suffix, suffixes)
        _check_targets(jobs, force)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{error.filename}: {error.strerror}") from None
    return jobs


def _jobs(
    inputs: Sequence[str], output: str | None, suffix: str, suffixes: Collection[str]
) -> list[Job]:
    found: list[tuple[str, Path]] = []  # source and its place below the output folder
    for given in inputs:
        path = Path(given)
        if given == STREAM:
            found.append((given, Path("stdin")))
        elif path.is_dir():
            inside = [path / name for name in files_below(path, suffixes)]
            if not inside:
                raise UserError(f"{given}: no files in it to work on")
            found += [(str(each), each.relative_to(path)) for each in inside]
        elif path.is_file():
            found.append((given, Path(path.name)))
        else:
            raise UserError(f"{given}: no such file or folder")
    single = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if output is not None and output != STREAM and not single and Path(output).is_file():
        raise UserError(f"-o {output}: is a file; it takes a folder for more than one")
    unique: dict[tuple[str, str], Job] = {}  # no file is written twice at the same time
    for source, place in found:
        job = Job(source, _target(source, place, output, suffix, single))
        unique.setdefault((os.path.realpath(job.source), os.path.realpath(job.target)), job)
    return list(unique.values())


def _target(source: str, place: Path, output: str | None, suffix: str, single: bool) -> str:
    if output == STREAM or (output is None and source == STREAM):
        return STREAM
    if output is None:
        return str(Path(source).with_suffix(suffix))
    folder = Path(output)
    if single and not folder.is_dir() and not output.endswith(("/", os.sep)):
        return output
    return str(folder / place.with_suffix(suffix))


def _check_targets(jobs: Sequence[Job], force: bool) -> None:
    streams = [job for job in jobs if job.target == STREAM]
    if streams and len(jobs) > 1:
        raise UserError("-o -: standard output takes one file")
    seen: dict[str, str] = {}
    problems = []
    for job in jobs:
        if job.target == STREAM:
            continue
        path = Path(job.target)
        other = seen.setdefault(os.path.normcase(os.path.realpath(path)), job.source)
        if other != job.source:
            problems.append(f"{job.target}: both {other} and {job.source} would be written there")
        elif _same_file(job.source, path):
            problems.append(f"{job.target}: would be written over its own source")
        elif path.is_dir():
            problems.append(f"{job.target}: is a folder")
        elif path.exists() and not force:
            problems.append(f"{job.target}: is there already; --force overwrites it")
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise UserError("\n".join([*problems[:10], *more]))


def _same_file(source: str, target: Path) -> bool:
    return (
        source != STREAM and Path(source).exists() and target.exists() and target.samefile(source)
    )


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[bytes, Job], tuple[bytes, str | None]],
    what: str,
    workers: int,
    limit: int,
    say: Callable[[str], None],
) -> int:
    """Does all jobs, some at a time, and tells of each; a failure does not stop the others.

    Args:
        jobs: from `plan_jobs`.
        work: content and job -> content of the result and a line for the user.
        what: of the progress bar.
        workers: how many at a time.
        limit: bytes that an input may have.
        say: takes the lines.

    Returns:
        1 when a job failed, else 0.

    Raises:
        UserError: `work` raised it: a mistake that no other job could do without.
    """

    def one(job: Job) -> Done:
        try:
            content, note = work(read_source(job.source, limit), job)
            _write(job.target, content)
        except (NicError, RunError, PictureError, LatentsError) as error:
            text, name = str(error), label(job.source)
            return Done(job, error=text if text.startswith(f"{name}: ") else f"{name}: {text}")
        except MemoryError:
            return Done(job, error=f"{label(job.source)}: not enough memory")
        return Done(job, note)

    failed = 0
    with ProgressReport(len(jobs) > 1) as progress, ThreadPoolExecutor(workers) as pool:
        results: Iterable[Done] = pool.map(one, jobs) if workers > 1 else map(one, jobs)
        for count, done in enumerate(results, 1):
            if done.error is not None:
                failed += 1
                print(f"{Path(sys.argv[0]).name}: {done.error}", file=sys.stderr)
            elif done.note is not None and done.job.target != STREAM:
                say(done.note)
            progress(what, count, len(jobs))
    return 1 if failed else 0


def label(source: str) -> str:
    """What to call a source in messages."""
    return "standard input" if source == STREAM else source


def read_source(source: str, limit: int) -> bytes:
    """The bytes of a file, or of standard input.

    Raises:
        RunError: it can't be read, or is larger than `limit`.
    """
    try:
        if source == STREAM:
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        raise RunError(f"{label(source)}: can't be read: {error.strerror or error}") from None
    if len(content) > limit:
        raise RunError(f"{label(source)}: more than {limit >> 20} MiB")
    return content


def _write(target: str, content: bytes) -> None:
    if target != STREAM:
        write_atomically(Path(target), content)
        return
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # the reader has gone; run_command knows what to do
    except OSError as error:
        raise RunError(f"standard output: can't be written: {error.strerror or error}") from None
