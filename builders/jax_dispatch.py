"""Training under JAX with several steps a call of the device, on images that lie there.

Keras' own loop for `steps_per_execution` is one of Python around single compiled steps. Here the
loop is compiled too: the device makes K steps without the program, which meanwhile gets the next K
batches ready.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.feed import EpochFeed

State = tuple[Any, ...]
Batch = Any


def dispatch_steps(compressor: ImageCompressor, feed: EpochFeed, steps: int) -> None:
    """Makes `fit` run so many steps at a time; to be called after each `compile`.

    Under TensorFlow Keras does so by itself, and with one step at a time and images from the loader
    its own way is as good: then nothing is changed.

    Args:
        compressor: compiled with `steps_per_execution=steps`, its variables holding values.
        feed: what `fit` will be given.
        steps: K, at least 1.

    Raises:
        ValueError: it was compiled for another number of steps.
    """
    if compressor.steps_per_execution != steps:
        raise ValueError(
            f"compiled with steps_per_execution={compressor.steps_per_execution}, not {steps}"
        )
    if keras.backend.backend() != "jax" or (steps == 1 and feed.images is None):
        return
    compressor.train_function = Dispatcher(compressor, feed, steps)


class Dispatcher:
    """The training function of a compressor, in the form that Keras' `fit` calls.

    Args:
        compressor: compiled, its variables holding values.
        feed: where batches come from, and the images that plans are cut from.
        steps: K. A rest at the end of an epoch, and batches of unequal size, go one by one.
    """

    def __init__(self, compressor: ImageCompressor, feed: EpochFeed, steps: int) -> None:
        self._steps = steps
        self._feed = feed
        self._arrays = None if feed.images is None else feed.images.arrays
        self.single, self.several = compiled_steps(compressor, feed)
        self._ahead = _Ahead()

    def __call__(self, state: State, iterator: Iterator[Batch]) -> tuple[dict[str, Any], State]:
        """Makes the next steps.

        Args:
            state: values of all variables; donated.
            iterator: batches of an epoch.

        Returns:
            What the log says after the last of them, and the new state; neither is waited for.

        Raises:
            StopIteration: there are no batches left.
        """
        batches = self._ahead.take(iterator)
        if batches is None:
            batches = self._pulled(iterator, lambda: True)
        if not batches:
            raise StopIteration
        if len(batches) == self._steps > 1 and _alike(batches):
            logs, state = self.several(state, self._arrays, batches)
        else:
            for batch in batches:
                logs, state = self.single(state, self._arrays, batch)
        for value in logs.values():
            value.copy_to_host_async()  # all on their way before the first is waited for
        self._look_ahead(iterator, logs["loss"].is_ready)
        return logs, state

    def _look_ahead(self, iterator: Iterator[Batch], is_idle: Callable[[], bool]) -> None:
        """Pulls the batches of the next call while the device works on this one."""
        try:
            batches = self._pulled(iterator, is_idle)
        except Exception as error:  # noqa: BLE001 - raised again by the call it belongs to
            self._ahead.put(iterator, error)
        else:
            self._ahead.put(iterator, batches)

    def _pulled(self, iterator: Iterator[Batch], is_idle: Callable[[], bool]) -> list[Batch]:
        """The next K batches, fewer at the end of an epoch."""
        loader, batches = self._feed.loader, []
        for _ in range(self._steps):
            before = loader.wait_seconds
            batch = next(iterator, None)
            if batch is None:
                break
            batches.append(batch)
            if not is_idle():
                loader.not_waited(loader.wait_seconds - before)
        return batches


def compiled_steps(compressor: ImageCompressor, feed: EpochFeed) -> tuple[Any, Any]:
    """One step, and several in a row, as compiled functions.

    Both take (state, arrays, batches) and return (logs, state); `arrays` are those of `feed.images`
    or None, `batches` one batch or a list of equal ones, as `fit` hands them out. The state is
    donated, the arrays are not.
    """
    import jax

    images = feed.images
    distribution = keras.distribution.distribution()
    shardings = None
    if distribution is not None:  # as Keras' own function has it
        shardings = (None, compressor._get_state_sharding_spec())

    def data_of(arrays: Any, batch: Batch) -> Batch:
        if images is None:
            return batch
        x = images.cut(arrays, batch[0])
        if distribution is not None:
            layout = distribution.get_data_layout(x.shape)
            x = keras.distribution.distribute_tensor(x, layout)
        return (x, *batch[1:])  # how many of them are real, where batches are shared out

    def single(state: State, arrays: Any, batch: Batch) -> tuple[dict[str, Any], State]:
        return compressor.train_step(state, data_of(arrays, batch))

    def several(state: State, arrays: Any, batches: list[Batch]) -> tuple[dict[str, Any], State]:
        def step(state: State, batch: Batch) -> tuple[State, dict[str, Any]]:
            logs, state = single(state, arrays, batch)
            return state, logs

        # Stacked in here: batches that are spread over devices stay so, along their own axis 0.
        stacked = jax.tree.map(lambda *each: jax.numpy.stack(each), *batches)
        state, logs = jax.lax.scan(step, state, stacked)
        return jax.tree.map(lambda each: each[-1], logs), state

    def compiled(function: Any) -> Any:
        return jax.jit(function, donate_argnums=0, out_shardings=shardings)

    return compiled(single), compiled(several)


def _alike(batches: list[Batch]) -> bool:
    """Whether batches have equal shapes: the last of an epoch is often shorter."""
    import jax

    shapes = [[each.shape for each in jax.tree.leaves(batch)] for batch in batches]
    return all(each == shapes[0] for each in shapes)


class _Ahead:
    """Batches that were pulled before their call, or what went wrong with them."""

    def __init__(self) -> None:
        self._iterator: Any = None
        self._pulled: list[Batch] | Exception = []

    def put(self, iterator: Iterator[Batch], pulled: list[Batch] | Exception) -> None:
        """Keeps what was pulled from an iterator."""
        self._iterator, self._pulled = iterator, pulled

    def take(self, iterator: Iterator[Batch]) -> list[Batch] | None:
        """What was pulled from this iterator; None when that was another, of a cut epoch."""
        before, pulled = self._iterator, self._pulled
        self._iterator, self._pulled = None, []
        if before is not iterator:
            return None
        if isinstance(pulled, Exception):
            raise pulled
        return pulled
