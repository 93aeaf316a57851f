"""Moving averages of the weights, for optimizers that keep them."""

from typing import Any

import keras


class AveragedWeights(keras.callbacks.Callback):
    """With `use_ema`, validates and keeps the averaged weights, and trains on the plain ones.

    Keras puts the averages into the model when `fit` ends, which is too late for the best weights
    and too early for a run that goes on. Its own callback for this, `SwapEMAWeights`, leaves them
    in the model over the end of an epoch, where the state to resume from is saved.

    The averages are in the model from the beginning of the validation until `leave`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._inside = False
        self._plain: list[Any] = []

    def on_test_begin(self, logs: Any = None) -> None:
        self._swap()
        self._inside = True

    def leave(self) -> None:
        """Puts the plain weights back, at the end of an epoch."""
        if self._inside:
            self._swap()
            self._inside = False
        self._plain = [keras.ops.convert_to_numpy(variable.value) for variable, _ in self._pairs()]

    def on_train_end(self, logs: Any = None) -> None:
        # Keras has just overwritten them with the averages; another `fit` may follow.
        for (variable, _), value in zip(self._pairs(), self._plain, strict=False):
            variable.assign(value)

    def _swap(self) -> None:
        for variable, average in self._pairs():
            value = keras.ops.convert_to_numpy(variable.value)
            variable.assign(average.value)
            average.assign(value)

    def _pairs(self) -> list[tuple[Any, Any]]:
        return averaged_pairs(self.model.optimizer)


def averaged_pairs(optimizer: Any) -> list[tuple[Any, Any]]:
    """(variable, its average) of every network whose optimizer keeps averages."""
    return [
        (variable, average)
        for part in getattr(optimizer, "optimizers", [optimizer])
        if part.use_ema
        for variable, average in zip(
            part._trainable_variables, part._model_variables_moving_average, strict=True
        )
        if average is not None
    ]
