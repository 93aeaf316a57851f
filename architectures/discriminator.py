"""The network that tells originals from regenerated images."""

from typing import Any

import keras
from keras import ops

from architectures.autoencoder import PACKAGE
from architectures.stack import LayerStack


@keras.saving.register_keras_serializable(package=PACKAGE)
class Discriminator(LayerStack):
    """Images in [0, 1] to logits, one an image or one a patch; positive means original."""

    def call(self, x: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        """x (B, H, W, C), float32 in [0, 1] -> logits, float32."""
        # Centred: a discriminator trains badly on input that is all positive.
        logits, aux = super().call(2.0 * ops.cast(x, "float32") - 1.0, training=training)
        return ops.cast(logits, "float32"), aux
