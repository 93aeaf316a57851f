"""Runs under JAX that `test_jax_dispatch.py` looks at; a process of its own, without TensorFlow.

python -m tests.builders.jax_runs SCENARIO... > results.json
"""

import copy
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

from builders import jax_dispatch
from builders.callbacks import LossGuard
from builders.data_splits import Splits
from builders.errors import RunError
from builders.image_reader import BrokenImage
from builders.run_folder import find_run
from builders.session import TrainOptions
from builders.sources import ArraySource
from builders.spec import parse_spec
from builders.training import open_session, train
from tests.tiny_spec import TINY

CUT = {"dataset.resize": [12, 11], "dataset.crop": [8, 8], "dataset.flip": True}
"""Whatever a plan has to say: a place and a mirroring of its own for every image and epoch."""

PAIR = {
    "model.layers.discriminator": {
        "layers": [
            {"Flatten": {}},
            {"SpectralNormalization": {"layer": {"Dense": {"units": 4}}}},
            {"BatchNormalization": {}},
            {"Dropout": {"rate": 0.3}},
            {"Dense": {"units": 1}},
        ],
    },
    "loss": [{"MSE": {}}, {"KLDivergence": {"weight": 0.01}}, {"Adversarial": {"weight": 0.01}}],
    "training.optimizer": {"SGD": {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.5}},
    "training.discriminator_optimizer": {"RMSprop": {"learning_rate": 0.01}},
}


def spec_of(steps: int = 1, on_device: bool = False, **changes: Any) -> Any:
    own = {"training.steps_per_dispatch": steps, "dataset.on_device": on_device, **CUT}
    return parse_spec(copy.deepcopy(TINY), "tiny.json", {**own, "training.epochs": 2, **changes})


def told(run: Any) -> dict[str, Any]:
    """What a run came to: curves, and a sum of every weight."""
    history = run.progress.history
    return {
        "status": run.status,
        "place": [run.progress.epoch, run.progress.batch],
        "curves": {name: each for name, each in history.items() if not name.startswith("time/")},
        "weights": [float(np.abs(each).sum()) for each in run.compressor.get_weights()],
    }


def trained(name: str, *args: Any, **changes: Any) -> dict[str, Any]:
    return told(train(spec_of(*args, **changes), TrainOptions(run_dir=Path(name), verbosity=0)))


def ways() -> dict[str, Any]:
    """The same run: one step at a time, several, more than there are; images here and there."""
    return {
        "plain": trained("plain"),
        "three": trained("three", 3),
        "held": trained("held", 1, True),
        "held_two": trained("held_two", 2, True),
        "held_many": trained("held_many", 50, True),
    }


def pair() -> dict[str, Any]:
    """Two networks, averaged weights, spectral norms."""
    return {
        "plain": trained("pair_plain", **PAIR),
        "held_two": trained("pair_two", 2, True, **PAIR),
    }


class _StopAt(LossGuard):
    """Sends this process the signal of Ctrl-C behind the second step of the second epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        if (self._feed.epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)


def resumed() -> dict[str, Any]:
    """A run of two steps at a time, cut in an epoch and gone on with."""
    from builders import session

    whole = trained("whole", 2, True)
    session.LossGuard = _StopAt  # type: ignore[attr-defined, misc]
    cut = trained("cut", 2, True)
    session.LossGuard = LossGuard  # type: ignore[attr-defined, misc]
    options = TrainOptions(resume=find_run("cut"), verbosity=0)
    return {"whole": whole, "cut": cut, "on": told(train(spec_of(2, True), options))}


def _noted(function: Any, name: str, made: list[str]) -> Any:
    def noted(*args: Any) -> Any:
        made.append(name)
        return function(*args)

    return noted


def calls() -> dict[str, Any]:
    """What is called, with what, for an epoch of four steps of which the last is short."""
    made: list[str] = []
    heard: list[int] = []
    options = TrainOptions(run_dir=Path("calls"), verbosity=0)
    session = open_session(spec_of(2, True), options, lambda _: None)
    compressor, feed = session.compressor, session.feeds["train"]
    function: Any = compressor.train_function
    for name in ("single", "several"):
        setattr(function, name, _noted(getattr(function, name), name, made))
    listener = keras.callbacks.LambdaCallback(on_train_batch_end=lambda at, logs: heard.append(at))
    compressor.fit(feed.keras_input(), verbose=0, shuffle=False, callbacks=[listener])
    arrays: Any = feed.images and feed.images.arrays
    steps = jax_dispatch.compiled_steps(compressor, feed)[1]
    state = compressor._get_jax_state(True, True, True, True)
    batches = [(each,) for each in list(feed.loader.batches(0))[:2]]
    traced = steps.trace(state, arrays, batches)
    return {
        "made": made,
        "heard": heard,
        "deleted": [each.is_deleted() for each in arrays],
        "constants": [int(np.size(each)) for each in traced.jaxpr.consts],
        "pixels": int(arrays[0].size),
        "saved": [int(np.prod(each.shape)) for each in compressor.variables],
        "waited": feed.loader.wait_seconds,
    }


class _Breaking(ArraySource):
    """Images of which the ones from the fourth batch of the first epoch can't be read."""

    array = None  # type: ignore[assignment]
    bad: frozenset[int] = frozenset()

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise BrokenImage(f"photos/{index}.png", "went away")
        return super().__getitem__(index)


def broken() -> dict[str, Any]:
    """An image breaks among the batches that are pulled while the device makes the first two."""
    from builders import training

    before = training.open_splits

    def open_splits(*args: Any, **kwargs: Any) -> Splits:
        import dataclasses

        splits = before(*args, **kwargs)
        images = _Breaking(np.zeros((28, 12, 11, 1), np.uint8))
        splits = dataclasses.replace(splits, train=images)
        images.bad = frozenset(splits.loader("train", 8, training=True).order(0)[24:].tolist())
        return splits

    training.open_splits = open_splits
    message = ""
    try:
        trained("broken", 2, **{"training.batch_size": 8})
    except RunError as error:
        message = str(error)
    finally:
        training.open_splits = before
    return {"message": message}


def no_number() -> dict[str, Any]:
    """A loss that is no number from the first epoch's third step on."""
    changes = {"training.optimizer": {"SGD": {"learning_rate": 1e30}}, "loss": [{"MSE": {}}]}
    try:
        trained("nan", 2, True, **changes)
    except RunError as error:
        return {"message": str(error)}
    return {"message": ""}


def spread() -> dict[str, Any]:
    """The same run on two devices; the process has two when XLA_FLAGS says so."""
    alone = trained("alone", 2, True)
    devices = jax.devices()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    return {
        "devices": len(devices),
        "alone": alone,
        "together": trained("together", 2, True),
        "loader": trained("together_loader", 2),
    }


SCENARIOS = {
    each.__name__: each for each in (ways, pair, resumed, calls, broken, no_number, spread)
}

if __name__ == "__main__":
    print(json.dumps({name: SCENARIOS[name]() for name in sys.argv[1:]}))
