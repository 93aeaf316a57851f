"""Processes of other projects, in environments of their own, that answer requests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from evaluation.codecs import CodecError, Pixels

ROOT: Final = Path(__file__).resolve().parents[1]
ANSWER: Final = "@answer "
"""What answers begin with; see benchmarks/peer_server.py."""


@dataclass(frozen=True)
class Project:
    """A project whose architectures can be timed.

    Attributes:
        name: as --peers takes it.
        label: for people.
        folder: its environment, beside the project's files.
        variable: of the environment, that names a Python to take instead.
        script: what makes the environment and runs Python there.
        server: what is run there; see benchmarks/peer_server.py.
        published: whether the points published for its architectures are of this very code.
        interpreter: a Python to take in any case.
        arguments: of the server.
        settings: variables of its environment.
    """

    name: str
    label: str
    folder: str
    variable: str
    script: str
    server: str
    published: bool
    interpreter: Path | None = None
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        """Where its Python is, or would be."""
        if self.interpreter is not None:
            return self.interpreter
        given = os.environ.get(self.variable)
        return Path(given) if given else ROOT / self.folder / "bin" / "python"


PROJECTS: Final = (
    Project(
        "compressai",
        "CompressAI",
        ".venv-compressai",
        "CODECSMITH_COMPRESSAI_PYTHON",
        "benchmarks/compressai.sh",
        "benchmarks/compressai_peer.py",
        published=True,
    ),
    Project(
        "tfc",
        "TensorFlow Compression",
        ".venv-tfc",
        "CODECSMITH_TFC_PYTHON",
        "benchmarks/tfc.sh",
        "benchmarks/tfc_peer.py",
        published=False,
    ),
)


def projects_of(names: Sequence[str]) -> list[Project]:
    """The projects that names begin with, each once.

    Raises:
        KeyError: there is none; the name.
    """
    by_name = {project.name: project for project in PROJECTS}
    return [by_name[each] for each in dict.fromkeys(name.partition("-")[0] for name in names)]


class MissingPeerError(Exception):
    """A project's environment is not there; what it says is for the user."""


class PeerProcess:
    """A project's process, which answers requests until it is closed.

    Args:
        project: which.

    Raises:
        MissingPeerError: it is not installed, or does not start.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        if not project.python.is_file():
            way = f"`{project.script} --version` makes it"
            if project.variable in os.environ:
                way = f"{project.variable} names it; without that, {way}"
            raise MissingPeerError(
                f"{project.label} is not installed: {project.python} is missing; {way}"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [project.python.absolute(), ROOT / project.server, *project.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **project.settings},
            )
        except OSError as error:
            self._errors.close()
            raise MissingPeerError(f"{project.label}: {project.python}: {error.strerror}") from None
        try:
            about = self.ask({"do": "about"})
        except CodecError as error:
            self.close()
            raise MissingPeerError(f"{project.label} in {project.python}: {error}") from None
        self.versions: dict[str, str] = about["versions"]
        self.architectures: dict[str, str] = about["architectures"]
        """Their names, and their numbers of channels."""

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; see benchmarks/peer_server.py.

        Raises:
            CodecError: it failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # where it has ended, what it said last is told below
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:  # what does not begin so, libraries have printed
            if line.startswith(ANSWER):
                break
        else:
            raise CodecError(self._last_words())
        answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
        if "error" in answer:
            raise CodecError(answer["error"])
        return answer

    @property
    def server_digest(self) -> str:
        """SHA-256 of what runs in the process, in hexadecimal digits."""
        server = ROOT / self.project.server
        parts = [server, ROOT / "benchmarks" / "peer_server.py"]
        return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()

    def code(self, architecture: str, pixels: Pixels, threads: int, repeats: int) -> dict[str, Any]:
        """Times of a picture, uint8 (H, W, 3): warm calls, in seconds."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.npy"
            np.save(path, pixels)
            asked = {"image": str(path), "threads": threads, "repeats": repeats}
            return self.ask({"do": "code", "architecture": architecture, **asked})

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"ended: {lines[-1]}" if lines else f"ended with {self._process.returncode}"

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
