"""Codes every picture with every codec, and remembers what is done.

Two passes: rates and qualities, several pictures at a time; then times and memory, one call at a
time with nothing beside it. Each result of a codec and a picture is one small JSON file, which is
taken again as long as the picture, the codec and the way of measuring are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from evaluation.codecs import Codec, CodecError, Pixels
from evaluation.measures import measures
from evaluation.more_measures import MORE_MEASURES, made
from evaluation.peak_memory import with_peak

VERSION: Final = 1
"""Of the results of a codec and a picture; part of what makes them outdated."""

TIMES_VERSION: Final = 2
"""Of times; to be raised when our codecs take another time, which nothing else tells."""

Record = dict[str, Any]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Photo:
    """One picture of the data set.

    Attributes:
        name: relative to its folder.
        digest: of its file, in hexadecimal digits.
        load: gives uint8 (H, W, 3); raises CodecError where it can't be read.
    """

    name: str
    digest: str
    load: Callable[[], Pixels]


class Timed(Protocol):
    """What results are remembered of: a codec, or something that is only timed."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> Mapping[str, Any]: ...
    @property
    def settings(self) -> Sequence[float]: ...
    @property
    def threads(self) -> int: ...


_Timed = TypeVar("_Timed", bound=Timed)
_T = TypeVar("_T")


@dataclass
class Outcome:
    """What came of a pass.

    Attributes:
        records: (codec, picture) -> result.
        failures: (codec, picture, what went wrong).
    """

    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def measure_quality(
    photos: Sequence[Photo],
    codecs: Sequence[Codec],
    cache: Path,
    workers: int,
    report: Report,
    more: Sequence[str] = (),
) -> Outcome:
    """Bytes and measures of each picture with each codec at each of its settings.

    Args:
        photos: the data set.
        codecs: with different names.
        cache: folder of results that are done.
        workers: pictures at a time.
        report: told of progress.
        more: names of `MORE_MEASURES` whose packages are installed.
    """
    others = made(more)

    def work(codec: Codec, photo: Photo) -> Record:
        pixels = photo.load()
        height, width = pixels.shape[:2]
        points = []
        for setting in codec.settings:
            data = codec.encode(pixels, setting)
            bpp = 8 * len(data) / (height * width)
            entry: dict[str, Any] = {"setting": setting, "bytes": len(data), "bpp": bpp}
            decoded = codec.decode(data)
            entry |= measures(pixels, decoded)
            points.append(entry | {name: other(pixels, decoded) for name, other in others.items()})
        return {"width": width, "height": height, "points": points}

    identity: dict[str, Any] = {"pass": "quality"}
    if more:
        identity["more"] = {name: MORE_MEASURES[name].version for name in more}
    return run_pass("coding", work, photos, codecs, cache, identity, workers, report)


def measure_time(
    photos: Sequence[Photo],
    codecs: Sequence[Codec],
    cache: Path,
    repeats: int,
    machine: str,
    report: Report,
    every_setting: bool = False,
) -> Outcome:
    """Seconds and memory of each picture with each codec at the ends and the middle of its range.

    Each call is made once to warm up, then `repeats` times, and once more for its memory.

    Args:
        photos: those to time.
        codecs: with different names.
        cache: folder of results that are done.
        repeats: timed calls.
        machine: what was timed on; times of another are not taken again.
        report: told of progress.
        every_setting: whether all settings are timed.
    """

    def work(codec: Codec, photo: Photo) -> Record:
        pixels = photo.load()
        entries = []
        for setting in codec.settings if every_setting else timed_settings(codec):
            codec.decode(codec.encode(pixels, setting))
            data, encode_s = _timed(lambda at=setting: codec.encode(pixels, at), repeats)  # type: ignore[misc]
            _, decode_s = _timed(lambda file=data: codec.decode(file), repeats)  # type: ignore[misc]
            _, encode_peak = with_peak(lambda at=setting: codec.encode(pixels, at))  # type: ignore[misc]
            _, decode_peak = with_peak(lambda file=data: codec.decode(file))  # type: ignore[misc]
            entries.append(
                {
                    "setting": setting,
                    "encode_s": encode_s,
                    "decode_s": decode_s,
                    "encode_peak_bytes": encode_peak,
                    "decode_peak_bytes": decode_peak,
                }
            )
        return {"megapixels": pixels.shape[0] * pixels.shape[1] / 1e6, "timings": entries}

    identity: dict[str, Any] = {"pass": "time", "repeats": repeats, "machine": machine}
    identity["times"] = TIMES_VERSION
    if every_setting:
        identity["every_setting"] = True
    return run_pass("timing", work, photos, codecs, cache, identity, 1, report)


def timed_settings(codec: Codec) -> list[float]:
    """The smallest, the middle and the largest of a codec's settings."""
    settings = list(codec.settings)
    places = sorted({0, len(settings) // 2, len(settings) - 1})
    return [settings[place] for place in places]


def _timed(work: Callable[[], _T], repeats: int) -> tuple[_T, list[float]]:
    """What the last of the calls returned, and the seconds of each."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return result, seconds


def run_pass(
    what: str,
    work: Callable[[_Timed, Photo], Record],
    photos: Sequence[Photo],
    codecs: Sequence[_Timed],
    cache: Path,
    identity: dict[str, Any],
    workers: int,
    report: Report,
) -> Outcome:
    """Does what is not done yet; a failure does not stop the others.

    Args:
        what: for `report`.
        work: makes the result of a codec and a picture; raises CodecError.
        photos: the data set.
        codecs: with different names.
        cache: folder of results that are done.
        identity: what else decides on results; `pass` tells passes apart.
        workers: pictures at a time.
        report: told of progress.
    """
    outcome = Outcome()
    jobs = []
    for photo in photos:
        for codec in codecs:
            path = cache / codec.name / f"{identity['pass']}-{photo.digest[:24]}.json"
            print_of = _fingerprint(codec, photo, identity)
            known = _known(path, print_of)
            if known is None:
                jobs.append((codec, photo, path, print_of))
            else:
                outcome.records[codec.name, photo.name] = known

    def one(job: tuple[_Timed, Photo, Path, str]) -> Record | str:
        codec, photo, path, print_of = job
        try:
            record = work(codec, photo) | {"fingerprint": print_of}
        except CodecError as error:
            return str(error)
        except MemoryError:
            return "not enough memory"
        write_whole(path, json.dumps(record))
        return record

    total, done = len(photos) * len(codecs), len(outcome.records)
    for job, result in _each(one, jobs, workers):
        names = job[0].name, job[1].name
        if isinstance(result, str):
            outcome.failures.append((*names, result))
        else:
            outcome.records[names] = result
        done += 1
        report(what, done, total)
    outcome.failures.sort()
    return outcome


def _each(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int) -> Iterable[Any]:
    """Jobs and results, as they come; what has not begun is dropped when the caller stops."""
    if workers == 1:
        yield from ((job, work(job)) for job in jobs)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = {pool.submit(work, job): job for job in jobs}
        yield from ((waiting[each], each.result()) for each in as_completed(waiting))
    finally:
        pool.shutdown(cancel_futures=True)


def _fingerprint(codec: Timed, photo: Photo, identity: dict[str, Any]) -> str:
    """Of all that decides on a result."""
    timed = identity["pass"] == "time"
    parts = {
        **identity,
        "version": VERSION,
        "photo": photo.digest,
        "about": dict(codec.about),
        "settings": list(codec.settings),
        "threads": codec.threads if timed else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _known(path: Path, fingerprint: str) -> Record | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(record, dict) and record.get("fingerprint") == fingerprint:
        return record
    return None


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that it is whole or not there, even if the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Equal pictures under two names have one file, which two threads may write at once.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
