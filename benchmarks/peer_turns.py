"""Turns of benchmarks/peers.py: ours and other projects' processes, asked one after the other."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from builders.codec_choice import open_codec, read_bundle
from builders.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from evaluation.peer_process import PeerProcess

SPEC = "models/bmshj2018_hyperprior.json"
ARCHITECTURE = "bmshj2018-hyperprior"
OURS = "ours"
BATCH, SIDE = 8, 256

Found = dict[str, dict[str, list[float]]]
"""Row of the table -> column -> values of the rounds."""


def time_coding(
    found: Found,
    pixels: np.ndarray,
    bundles: Sequence[Path],
    projects: Sequence[str],
    rounds: int,
    threads: int,
) -> dict[str, str]:
    """Seconds to encode and to decode a picture.

    Args:
        found: where they go.
        pixels: the picture, uint8 (H, W, 3).
        bundles: models of ours to time beside.
        projects: names of others.
        rounds: how many, after one that warms up.
        threads: cores for each.

    Returns:
        Row -> versions of what it runs on.
    """
    import keras

    from builders.benchmark_peers import started_peers

    with ExitStack() as stack:
        peers = stack.enter_context(started_peers(_architectures(projects), threads))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "codec"
        write_own_codec(folder)
        codecs = {OURS: our_codec(folder), **{path.name: our_codec(path) for path in bundles}}
        for turn in range(-1, rounds):
            for name, code in codecs.items():
                encode, decode = code(pixels)
                _note(found, turn, name, encode=encode, decode=decode)
            for peer in peers:
                told = peer.process.code(ARCHITECTURE, pixels, threads, 1)
                encode, decode = told["encode_s"][0], told["decode_s"][0]
                _note(found, turn, peer.name, encode=encode, decode=decode)
        versions = {each: version(each) for each in ("keras", keras.backend.backend())}
        return {OURS: _words(versions), **{p.name: _words(p.process.versions) for p in peers}}


@dataclass(frozen=True)
class Trainee:
    """What makes training steps.

    Attributes:
        name: of its row.
        process: its own.
        architecture: as the process calls it.
        slow: why it takes part in few rounds; empty where it does not.
    """

    name: str
    process: PeerProcess
    architecture: str
    slow: str = ""


@contextmanager
def trainees(
    projects: Sequence[str], threads: int, bfloat16: bool, jax: str | None
) -> Iterator[list[Trainee]]:
    """Ours and other projects', in processes that end with the context.

    Args:
        projects: names of others.
        threads: cores for each.
        bfloat16: whether ours is there in bfloat16 too.
        jax: a Python with JAX, for ours under JAX too; None without.

    Raises:
        UserError: one of them does not start.
    """
    from builders.benchmark_peers import started_peers
    from builders.precision import bfloat16_units

    with ExitStack() as stack:

        def own(name: str, precision: str, python: str | None, slow: str = "") -> Trainee:
            process = stack.enter_context(started_own(precision, python))
            return Trainee(name, process, next(iter(process.architectures)), slow)

        found = [own(OURS, "float32", None)]
        if bfloat16:
            units, device = bfloat16_units()
            slow = "" if units else f"{device} has no bfloat16 units and emulates them"
            found.append(own(f"{OURS}, bfloat16", "mixed_bfloat16", None, slow))
        if jax is not None:
            found.append(own(f"{OURS}, JAX", "float32", jax, "JAX is slow on processors"))
        peers = stack.enter_context(started_peers(_architectures(projects), threads))
        found += [Trainee(peer.name, peer.process, peer.architecture) for peer in peers]
        yield found


def time_training(
    found: Found, trained: Sequence[Trainee], steps: int, rounds: tuple[int, int], threads: int
) -> dict[str, str]:
    """Seconds of training steps, and the most memory that a process held during them, in GiB.

    Args:
        found: where they go.
        trained: those that make them.
        steps: of each in a round, after one that warms up.
        rounds: how many, and how many of what is slow, which warms up before the first alone.
        threads: cores for each.

    Returns:
        Row -> versions of what it runs on, and why it is slow.
    """
    asked = {"do": "train", "batch": BATCH, "side": SIDE, "threads": threads}
    for turn in range(-1, rounds[0]):
        for each in trained:
            if each.slow and turn >= rounds[1]:
                continue
            warm = int(not each.slow or turn < 0)
            wanted = {"warm": warm, "steps": steps if turn >= 0 else 0}
            told = each.process.ask({**asked, **wanted, "architecture": each.architecture})
            for seconds in told["step_s"]:
                _note(found, turn, each.name, step=seconds)
            if told["resident_bytes"] is not None:
                _note(found, turn, each.name, memory=told["resident_bytes"] / 2**30)
    notes = {}
    for each in trained:
        notes[each.name] = _words(each.process.versions)
        if each.slow:
            notes[each.name] += f"; {each.slow}, {rounds[1]} of {rounds[0]} rounds"
    return notes


def write_own_codec(folder: Path) -> None:
    """A bundle of our model with the weights it begins with."""
    import numpy as np

    from builders.codec_export import CodecChoices
    from builders.codec_writing import write_codec
    from builders.model_builder import ModelBuilder
    from builders.spec import load_spec

    spec = load_spec(Path(SPEC), {"training.metrics": []})
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (BATCH, SIDE, SIDE, 3)).astype(np.uint8)]
    generator = ModelBuilder(spec).build().generator
    write_codec(generator, spec, images, folder, CodecChoices(), lambda _: None)


def our_codec(path: Path) -> Callable[[np.ndarray], tuple[float, float]]:
    """What encodes and decodes a picture with a bundle, and gives the seconds of both."""
    from builders.codec_transforms import bundle_transforms
    from codec.picture import Picture

    bundle = read_bundle(path)
    codec = open_codec(bundle, lambda: bundle_transforms(bundle))

    def run(pixels: np.ndarray) -> tuple[float, float]:
        began = time.perf_counter()
        data = codec.compress(Picture(pixels))
        between = time.perf_counter()
        codec.decompress(data)
        return between - began, time.perf_counter() - between

    return run


@contextmanager
def started_own(precision: str, python: str | None) -> Iterator[PeerProcess]:
    """Our model of the spec in a process that trains.

    Args:
        precision: what it computes in.
        python: one with JAX, for ours under JAX on the processor; None for this one and the backend
            that is set.

    Raises:
        UserError: it does not start.
    """
    from evaluation.peer_process import MissingPeerError, PeerProcess, Project

    project = Project(
        name=OURS,
        label="Codecsmith",
        folder=".venv",
        variable="",
        script="./trainer.sh",
        server="benchmarks/own_peer.py",
        published=False,
        interpreter=Path(python or sys.executable),
        arguments=(SPEC, precision),
        settings={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} if python else {},
    )
    try:
        process = PeerProcess(project)
    except MissingPeerError as error:
        raise UserError(f"{'--jax: ' if python else ''}{error}") from None
    with process:
        yield process


def _architectures(projects: Sequence[str]) -> list[str]:
    return [f"{each}-{ARCHITECTURE}" for each in projects]


def _note(found: Found, turn: int, name: str, **values: float) -> None:
    """Keeps what a round took; the one before the first is left out."""
    if turn >= 0:
        for what, value in values.items():
            found.setdefault(name, {}).setdefault(what, []).append(value)


def _words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
