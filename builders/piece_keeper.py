"""Keeps the state of a piece as shards while it trains."""

import time
from pathlib import Path

from builders.packed_state import Limits, pack
from builders.piece_journal import PieceJournal
from builders.piece_watch import Clock, PieceWatch
from builders.run_folder import RunFolder
from builders.session import Say
from builders.shard_manifest import Manifest, write_manifest
from builders.stop_signals import StopSignals
from constants.pieces import FIGURE_SECONDS, QUICK_SAVE_SECONDS


class PieceKeeper:
    """Writes the state of a run as shards, at least every so many seconds.

    Args:
        run: whose state file is read.
        folder: where shards go.
        limits: how large they may be.
        name: tells the run from others.
        journal: written along.
        signals: a wanted stop is written at once.
        seconds: between two writings.
        say: told when a state is not stored exactly.
        clock: seconds.

    Attributes:
        watch: knows the step, and how long things last; to be set before `pack`.
        manifest: what was written last.
        seconds_written: spent on writing in this piece.
    """

    def __init__(
        self,
        run: RunFolder,
        folder: Path,
        limits: Limits,
        name: str,
        journal: PieceJournal,
        signals: StopSignals,
        seconds: float,
        say: Say,
        clock: Clock = time.monotonic,
    ) -> None:
        self._run = run
        self._folder = folder
        self._limits = limits
        self._name = name
        self._journal = journal
        self._signals = signals
        self._seconds = seconds
        self._say = say
        self._clock = clock
        self._written_at = clock()
        self._longest = 0.0
        self._forced = False
        self._stale = True
        self._lost: list[str] = []
        self.watch: PieceWatch | None = None
        self.manifest: Manifest | None = None
        self.seconds_written = 0.0

    def writing(self) -> float:
        """Seconds that the end of a piece takes: the state file, its shards, the figures."""
        return 3 * self._longest + FIGURE_SECONDS

    def due(self, done: int, batches: int) -> bool:
        """Whether to save now: when the next step, or the validation behind it, would be too late.

        Args:
            done: batches of the epoch that are done.
            batches: of the epoch.
        """
        assert self.watch is not None
        age = self._clock() - self._written_at + self.watch.times.step + self._longest
        if self.watch.ends_epoch(done):
            age += self.watch.expected_validation() + self.watch.times.expected_epoch_end()
        self._forced = age >= self._seconds
        return self._forced

    def saved(self) -> None:
        """To be called when the state file is new."""
        self._stale = True
        age = self._clock() - self._written_at
        if self._forced or self._signals.wanted or age >= min(self._seconds, QUICK_SAVE_SECONDS):
            self.pack()
        self._forced = False

    def pack(self) -> None:
        """Writes the shards.

        Raises:
            RunError: they can't be written, or do not fit; those before are still valid.
        """
        assert self.watch is not None
        began = self._clock()
        seconds = self.watch.seconds() - self._journal.seconds_before
        self._journal.note_piece(last_step=self.watch.step, seconds=round(seconds, 3))
        self.manifest = pack(
            self._run,
            self._folder,
            self._limits,
            name=self._name,
            step=self.watch.step,
            journal=self._journal.content(),
        )
        self._stale = False
        self._written_at = self._clock()
        self._longest = max(self._longest, self._written_at - began)
        self.seconds_written += self._written_at - began
        if self._lost != self.manifest.lost:
            self._lost = self.manifest.lost
            for words in self._lost:
                self._say(f"stored     {words}")
        self.watch.skip()

    def pack_if_stale(self) -> None:
        """Writes the shards unless those on disk are of the last state."""
        if self._stale:
            self.pack()

    def write_journal(self) -> None:
        """Writes the manifest anew, for what has come into the journal."""
        assert self.manifest is not None
        self.manifest = self.manifest.model_copy(update={"journal": self._journal.content()})
        write_manifest(self._folder, self.manifest)
