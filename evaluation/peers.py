"""Other projects' architectures, run in environments of their own for their speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.benchmark_results import speed_of
from evaluation.benchmark_run import Outcome, Photo, Record, Report, run_pass
from evaluation.peer_process import PeerProcess


@dataclass(frozen=True)
class Peer:
    """One architecture of a project, with random weights: for timing alone.

    Attributes:
        process: of its project.
        architecture: as the project calls it.
        threads: most that it may take.
    """

    process: PeerProcess
    architecture: str
    threads: int

    @property
    def name(self) -> str:
        """Such as `compressai-mbt2018`."""
        return f"{self.process.project.name}-{self.architecture}"

    @property
    def label(self) -> str:
        """For people."""
        project, channels = self.process.project, self.process.architectures[self.architecture]
        return f"{self.architecture} ({project.label}; {channels}), random weights"

    @property
    def published(self) -> str | None:
        """Which published points are of this architecture and code."""
        return f"published-{self.architecture}" if self.process.project.published else None

    @property
    def settings(self) -> tuple[float, ...]:
        """None: it has one."""
        return ()

    @property
    def about(self) -> dict[str, Any]:
        """What decides on its times."""
        channels = self.process.architectures[self.architecture]
        return {
            "options": {"weights": "random", "channels": channels},
            "versions": self.process.versions,
            "server": self.process.server_digest,
        }


def measure_peers(
    photos: Sequence[Photo],
    peers: Sequence[Peer],
    cache: Path,
    repeats: int,
    machine: str,
    report: Report,
) -> Outcome:
    """Seconds and memory of each picture with each peer, as `measure_time` takes them.

    Args:
        photos: those to time.
        peers: with different names.
        cache: folder of results that are done.
        repeats: timed calls, after one that warms up.
        machine: what was timed on; times of another are not taken again.
        report: told of progress.
    """

    def work(peer: Peer, photo: Photo) -> Record:
        pixels = photo.load()
        answer = peer.process.code(peer.architecture, pixels, peer.threads, repeats)
        parameters = answer.pop("parameters")
        megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
        return {"megapixels": megapixels, "timings": [answer], "parameters": parameters}

    identity = {"pass": "time", "repeats": repeats, "machine": machine}
    return run_pass("timing peers", work, photos, peers, cache, identity, 1, report)


def peer_entry(peer: Peer, photos: Sequence[Photo], time: Outcome) -> dict[str, Any]:
    """What results hold of a peer.

    Args:
        peer: which.
        photos: those timed.
        time: of `measure_peers`.
    """
    records = [time.records[key] for key in time.records if key[0] == peer.name]
    return {
        "name": peer.name,
        "label": peer.label,
        "family": peer.process.project.name,
        "origin": "timed",
        "about": peer.about,
        "model_bytes": 4 * records[0]["parameters"] if records else None,
        "threads": peer.threads,
        "published": peer.published,
        "speed": speed_of(peer, photos, time),
    }


def choose_peers(
    names: Sequence[str], processes: Sequence[PeerProcess], threads: int
) -> list[Peer]:
    """The architectures that were asked for.

    Args:
        names: of projects, for all their architectures, or such as `compressai-mbt2018`.
        processes: of all projects in `names`.
        threads: most that each may take.

    Raises:
        KeyError: a project has no such architecture; its message is for the user.
    """
    by_name = {process.project.name: process for process in processes}
    chosen: dict[str, Peer] = {}
    for name in names:
        project, _, architecture = name.partition("-")
        process = by_name[project]
        if architecture and architecture not in process.architectures:
            raise KeyError(
                f"{name}: {process.project.label} is timed with {', '.join(process.architectures)}"
            )
        wanted = [architecture] if architecture else list(process.architectures)
        for each in wanted:
            peer = Peer(process, each, threads)
            chosen[peer.name] = peer
    return list(chosen.values())
