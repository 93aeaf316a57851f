"""Rounds of a training: each goes on from the weights of the one before, in its own way."""

from dataclasses import dataclass, replace
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.averaging import averaged_pairs
from builders.data_splits import Splits
from builders.model_builder import ModelBuilder
from builders.optimizers import make_optimizer
from builders.size_plan import plan_sizes
from builders.spec import Spec, parse_spec


@dataclass(frozen=True)
class Round:
    """One round, with what it takes from the one before filled in.

    Attributes:
        index: from 0.
        first_epoch: of the run, from 0.
        end_epoch: the first epoch that is not its own.
        optimizer: made anew when the round begins.
        discriminator_optimizer: likewise.
        batch_size: images a step.
        crop: [height, width] of training images; None for what the dataset section says.
    """

    index: int
    first_epoch: int
    end_epoch: int
    optimizer: Any
    discriminator_optimizer: Any
    batch_size: int
    crop: list[int] | None

    @property
    def batch_size_flag(self) -> str:
        """What a user changes to give the round another batch size."""
        return f"training.rounds[{self.index - 1}].batch_size" if self.index else "--batch_size"


def rounds_of(spec: Spec) -> tuple[Round, ...]:
    """All rounds of a spec: the training section's own, then those it lists."""
    training = spec.training
    found = [
        Round(
            0,
            0,
            training.epochs,
            training.optimizer,
            training.discriminator_optimizer,
            training.batch_size,
            None,
        )
    ]
    for section in training.rounds or []:
        before = found[-1]
        found.append(
            Round(
                index=before.index + 1,
                first_epoch=before.end_epoch,
                end_epoch=before.end_epoch + section.epochs,
                optimizer=section.optimizer or before.optimizer,
                discriminator_optimizer=section.discriminator_optimizer
                or before.discriminator_optimizer,
                batch_size=section.batch_size or before.batch_size,
                crop=section.crop or before.crop,
            )
        )
    return tuple(found)


def check_crops(spec: Spec) -> None:
    """Makes sure that the model takes the crops of all rounds, as it was made sure of its first.

    Raises:
        SpecError: it does not; the message names the round.
    """
    seen = {tuple(spec.dataset.crop or ())}
    for part in rounds_of(spec)[1:]:
        if part.crop is None or tuple(part.crop) in seen:
            continue
        seen.add(tuple(part.crop))
        tree = spec.resolved()
        tree["training"]["rounds"], tree["dataset"]["crop"] = None, part.crop
        where = f"{spec.source}, with training.rounds[{part.index - 1}].crop {part.crop}"
        ModelBuilder(parse_spec(tree, where)).build()


def last_epoch(spec: Spec) -> int:
    """Epochs of all rounds together."""
    return rounds_of(spec)[-1].end_epoch


def enter_round(compressor: ImageCompressor, part: Round, steps_per_dispatch: int = 1) -> None:
    """Compiles a model for a round: a new optimizer, the weights as they are.

    Where the round before kept moving averages of the weights, it goes on from those.
    """
    if getattr(compressor, "optimizer", None) is not None:
        for variable, average in averaged_pairs(compressor.optimizer):
            variable.assign(keras.ops.convert_to_numpy(average.value))
    optimizer = make_optimizer(part.optimizer, part.discriminator_optimizer, compressor)
    compressor.compile(optimizer=optimizer, steps_per_execution=steps_per_dispatch)


def splits_of_round(splits: Splits, part: Round, spec: Spec) -> Splits:
    """The data as a round crops it.

    Raises:
        UserError: an image is too small for the round's crop.
    """
    if part.crop is None:
        return splits
    height, width, _ = spec.input_shape
    transform = splits.train_transform
    plan = plan_sizes(
        [splits.train],
        input_size=(height, width),
        resize=transform.resize,
        crop=(part.crop[0], part.crop[1]),
    )
    return replace(splits, train_transform=replace(transform, crop=plan.crop))
