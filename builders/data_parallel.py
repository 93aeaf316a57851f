"""A run that is shared out among devices: its steps, and what its processes agree on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from builders.data_splits import Splits
from builders.run_folder import RunFolder
from builders.spec import Spec, difference
from builders.team import Team


def cut_filling(compressor: keras.Model) -> None:
    """Has the steps of a model take batches with `row_count` and see only its real images.

    A sum over the batch is then the same on any number of devices. XLA gives each device its rows
    of such a batch too, the last ones fewer; only copies are computed in vain.

    Args:
        compressor: not yet trained. Under JAX.
    """
    compressor.train_step = _without_filling(compressor.train_step)
    compressor.test_step = _without_filling(compressor.test_step)


def _without_filling(step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A step (state, data) of Keras' JAX trainer, for data of a `Shard`ed loader."""

    def cut(state: Any, data: Any) -> Any:
        images, rows = data
        return step(state, (images[: rows.shape[1]],))

    return cut


def check_team(team: Team, spec: Spec, splits: Splits) -> None:
    """Makes sure that all processes train the same on the same.

    Raises:
        UserError: this one has another spec or other data than the first.
    """
    mine = spec.resolved()

    def differing(theirs: Any) -> str:
        lines = difference(mine, theirs)
        return "\n".join(["the spec and its flags:", *(f"  {line}" for line in lines)])

    team.agree("spec", mine, differing)
    counts = [len(splits.train), len(splits.validation)]
    team.agree(
        "images",
        counts,
        lambda theirs: (
            f"{splits.name} has {counts[0]} training and {counts[1]} validation images "
            f"here, {theirs[0]} and {theirs[1]} there"
        ),
    )


def shared_run_folder(team: Team, make: Callable[[], RunFolder]) -> RunFolder:
    """The run's folder: the first process makes it, and the others learn its name."""
    made: list[RunFolder] = []

    def make_and_name() -> str:
        made.append(make())
        return str(made[0].path.resolve())

    path = team.share("run folder", make_and_name)
    return made[0] if made else RunFolder(Path(path))
