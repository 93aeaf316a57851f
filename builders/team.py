"""The processes and devices that a run is shared out among, as the rest of the run sees them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builders.errors import UserError

if TYPE_CHECKING:
    from builders.meeting import Meeting
    from builders.shard import Shard


@dataclass(frozen=True)
class Team:
    """Who takes part in a run, and which of them this process is. By default it is alone.

    Attributes:
        index: of this process, from 0.
        count: processes.
        devices: of all processes together.
        kind: of the devices: "cpu", "gpu".
        meeting: the connections with the other processes, if there are any.
        shared: whether batches are shared out, `--distribute=data`.
    """

    index: int = 0
    count: int = 1
    devices: int = 1
    kind: str = ""
    meeting: "Meeting | None" = None
    shared: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.index == 0

    @property
    def flags(self) -> str:
        """What a command that goes on with the run begins with."""
        return "--distribute=data " if self.shared else ""

    @property
    def everywhere(self) -> str:
        """Words for where such a command is to be given."""
        return ", in every process with its own flags or variables" if self.count > 1 else ""

    def shard(self, batch_size: int) -> "Shard | None":
        """This process' share of each batch; None for whole batches.

        Raises:
            UserError: there are devices that would get nothing.
        """
        from builders.shard import Shard  # it imports NumPy

        if not self.shared:
            return None
        if batch_size < self.devices:
            raise UserError(
                f"training.batch_size: {batch_size} images a step can't be shared out among "
                f"{self.devices} devices; at least --batch_size {self.devices}"
            )
        return Shard(self.index, self.count, self.devices)

    def share(self, name: str, make: Callable[[], Any]) -> Any:
        """What the first process makes, in all processes.

        Args:
            name: used once.
            make: called in the first process; gives something JSON-able.
        """
        if self.meeting is None:
            return make()
        if not self.is_first:
            return self.meeting.value(name)
        value = make()
        self.meeting.publish(name, value)
        return value

    def agree(self, name: str, mine: Any, what: Callable[[Any], str]) -> None:
        """Makes sure that all processes have the same.

        Args:
            name: used once.
            mine: JSON-able.
            what: words for what the first process has where it differs.

        Raises:
            UserError: this process has something else than the first.
        """
        theirs = self.share(name, lambda: mine)
        if theirs != json.loads(json.dumps(mine)):
            raise UserError(f"process {self.index} and process 0 differ: {what(theirs)}")

    def ended(self, status: int) -> int:
        """The exit status of a run; one that did not go to its end ends the other processes.

        Raises:
            SystemExit: so that they are told.
        """
        if status and self.meeting is not None:
            raise SystemExit(status)
        return status

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, the first of several processes computes on its own."""
        if self.count == 1:
            yield
            return
        import keras

        before = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    @contextmanager
    def stopping(self, signals: Any, way_on: Callable[[], str]) -> Iterator[None]:
        """While this lasts, a wish to stop in any process is one in the first.

        Args:
            signals: `StopSignals` of this process.
            way_on: how the run can be gone on with, told if another process is gone.
        """
        if self.meeting is None:
            yield
            return

        def stop() -> None:
            signals.wanted = True

        self.meeting.way_on = way_on
        if self.is_first:
            self.meeting.on_stop = stop
        else:
            signals.on_wanted = self.meeting.ask_to_stop
        yield  # an error keeps its way on: it may come from another process that is gone
        self.meeting.way_on = str

    def describe(self, batch_size: int) -> str:
        """A line for the user."""
        devices = f"{self.devices} {self.kind} device{'s' * (self.devices > 1)}"
        each = -(-batch_size // self.devices)
        most = "" if batch_size % self.devices == 0 else "at most "
        if self.count > 1:
            devices += f" in {self.count} processes"
        return f"{devices}; {most}{each} of a batch's {batch_size} images on each"
