"""Architectures of TensorFlow Compression with random weights, for timing.

    benchmarks/tfc.sh benchmarks/tfc_peer.py < REQUESTS

benchmarks/peer_server.py says what requests are. The package has layers and entropy models; models
are in its repository's examples and not in it. These are the architectures of Balle et al. 2018,
put together of its layers as there: `SignalConv2D`, `GDN`, `ContinuousBatchedEntropyModel`,
`LocationScaleIndexedEntropyModel`; 128 and 192 channels.
"""

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc
from peer_server import serve

N, M = 128, 192
SCALES = 64
LEAST_SCALE, LARGEST_SCALE = 0.11, 256.0
STEP = 64
LAMBDA = 0.013
ARCHITECTURES = dict.fromkeys(("bmshj2018-factorized", "bmshj2018-hyperprior"), f"N {N}, M {M}")


def convolution(filters: int, kernel: int, stride: int, up: bool, activation: object) -> object:
    """A convolution down by a stride or up by one."""
    sides = {"strides_up": stride} if up else {"strides_down": stride}
    return tfc.SignalConv2D(
        filters,
        (kernel, kernel),
        corr=not up,
        padding="same_zeros",
        use_bias=True,
        activation=activation,
        **sides,
    )


def transforms(hyper: bool) -> dict[str, tf.keras.Sequential]:
    """g_a and g_s, and h_a and h_s."""
    found = {
        "g_a": [convolution(N, 5, 2, False, tfc.GDN()) for _ in range(3)]
        + [convolution(M, 5, 2, False, None)],
        "g_s": [convolution(N, 5, 2, True, tfc.GDN(inverse=True)) for _ in range(3)]
        + [convolution(3, 5, 2, True, None)],
    }
    if hyper:
        found["h_a"] = [
            convolution(N, 3, 1, False, tf.nn.relu),
            convolution(N, 5, 2, False, tf.nn.relu),
            convolution(N, 5, 2, False, None),
        ]
        found["h_s"] = [
            convolution(N, 5, 2, True, tf.nn.relu),
            convolution(N, 5, 2, True, tf.nn.relu),
            convolution(M, 3, 1, True, None),
        ]
    return {name: tf.keras.Sequential(layers) for name, layers in found.items()}


class TFCModel(tf.Module):
    """See `peer_server.Model`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in ARCHITECTURES:
            raise KeyError(name)
        tf.random.set_seed(0)
        self._hyper = name == "bmshj2018-hyperprior"
        self._parts = transforms(self._hyper)
        self._prior = tfc.NoisyDeepFactorized(batch_shape=(N if self._hyper else M,))
        self._optimizer = tf.keras.optimizers.Adam(1e-4)
        self._made: tuple | None = None
        self._run(tf.zeros((1, STEP, STEP, 3)), training=True)
        self.parameters = sum(int(np.prod(v.shape)) for v in self.trainable_variables)

    def _scale(self, index: tf.Tensor) -> tf.Tensor:
        low, high = np.log(LEAST_SCALE), np.log(LARGEST_SCALE)
        return tf.exp(low + (high - low) / (SCALES - 1) * index)

    def _models(self, coding: bool) -> tuple:
        flat = tfc.ContinuousBatchedEntropyModel(
            self._prior, coding_rank=3, compression=coding, offset_heuristic=False
        )
        if not self._hyper:
            return flat, None
        indexed = tfc.LocationScaleIndexedEntropyModel(
            tfc.NoisyNormal, SCALES, self._scale, coding_rank=3, compression=coding
        )
        return flat, indexed

    def _run(self, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        flat, indexed = self._models(coding=False)
        y = self._parts["g_a"](x)
        if indexed is None:
            y_hat, bits = flat(y, training=training)
        else:
            z_hat, side_bits = flat(self._parts["h_a"](abs(y)), training=training)
            y_hat, bits = indexed(y, self._parts["h_s"](z_hat), training=training)
            bits += side_bits
        return self._parts["g_s"](y_hat), bits

    @tf.function
    def _step(self, x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            x_hat, bits = self._run(x, training=True)
            pixels = tf.cast(tf.size(x) / 3, tf.float32)
            distortion = tf.reduce_mean(tf.math.squared_difference(x, x_hat)) * 255**2
            loss = tf.reduce_sum(bits) / pixels + LAMBDA * distortion
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        self._optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return loss

    def train_step(self, batch: np.ndarray) -> None:
        self._step(tf.constant(batch)).numpy()

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def _compress(self, image: tf.Tensor) -> list[tf.Tensor]:
        flat, indexed = self._made
        size = tf.shape(image)[:2]
        margin = (-size) % STEP
        x = tf.pad(tf.cast(image, tf.float32)[None] / 255.0, _margins(margin))
        y = self._parts["g_a"](x)
        if indexed is None:
            return [flat.compress(y), tf.shape(y)[1:-1], size]
        z = self._parts["h_a"](abs(y))
        side, shape = flat.compress(z), tf.shape(z)[1:-1]
        index = self._parts["h_s"](flat.quantize(z))
        return [indexed.compress(y, index), side, shape, size]

    @tf.function
    def _decompress(self, *told: tf.Tensor) -> tf.Tensor:
        flat, indexed = self._made
        size = told[-1]
        if indexed is None:
            y_hat = flat.decompress(told[0], told[1])
        else:
            z_hat = flat.decompress(told[1], told[2])
            y_hat = indexed.decompress(told[0], self._parts["h_s"](z_hat))
        x_hat = self._parts["g_s"](y_hat)[0, : size[0], : size[1]]
        return tf.saturate_cast(tf.round(x_hat * 255.0), tf.uint8)

    def encode(self, image: np.ndarray) -> list[tf.Tensor]:
        if self._made is None:
            self._made = self._models(coding=True)
        told = self._compress(tf.constant(image))
        told[0].numpy()
        return told

    def decode(self, coded: list[tf.Tensor]) -> np.ndarray:
        return self._decompress(*coded).numpy()


def _margins(margin: tf.Tensor) -> tf.Tensor:
    zero = tf.zeros(2, tf.int32)
    rows = tf.stack([0, margin[0]])
    columns = tf.stack([0, margin[1]])
    return tf.stack([zero, rows, columns, zero])


def use_threads(threads: int) -> None:
    """Before the first operation; TensorFlow can't change it later."""
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)


if __name__ == "__main__":
    packages = ("tensorflow-compression", "tensorflow")
    serve(packages, ARCHITECTURES, TFCModel, use_threads)
