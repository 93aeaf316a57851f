"""The networks of a codec bundle, built from the spec inside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from architectures.autoencoder import Generator, to_uint8, to_unit_range
from architectures.deployment import with_free_size
from architectures.hyperprior import Hyperprior, ScaleHyperprior
from architectures.transposed import PhasedConv2DTranspose
from builders.codec_geometry import latent_shapes
from builders.derivatives import pull_back
from builders.model_builder import ModelBuilder
from builders.problems import SpecError
from builders.spec import parse_spec
from codec.bundle import WEIGHTS, Bundle
from codec.errors import NicBundleError
from codec.manifest import MANIFEST, printable

Pixels = NDArray[np.uint8]
Float32 = NDArray[np.float32]
BLOCKS_AT_ONCE = 256
STAND_INS: Mapping[str, type[keras.layers.Layer]] = {"Conv2DTranspose": PhasedConv2DTranspose}
"""What computes the same as Keras' layers in less time."""


class KerasTransforms:
    """Encoder, hyper encoder and decoder of a generator, run on NumPy arrays.

    Args:
        generator: built, with its weights.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        shape = (None, *generator.encoder.image_shape[1:])
        latents = (None, *generator.encoder.output_shapes[-1][1:])
        self._encode = _compiled(self._latents, (shape, "uint8"), (shape, "float32"))
        self._decode = _compiled(self._pixels, (latents, "float32"), (shape, "float32"))
        self._pull_back = _compiled(
            self._pulled_back, (latents, "float32"), (shape, "float32"), least=2
        )

    def analyse(self, pixels: Pixels, reference: Pixels | None = None) -> dict[str, Float32]:
        """See `codec.image_codec.Transforms`."""
        parts = [self._encode(*chunks) for chunks in _chunks(pixels, reference)]
        return {
            name: np.concatenate([ops.convert_to_numpy(part[name]) for part in parts])
            for name in parts[0]
        }

    def _latents(self, pixels: Any, reference: Any = None) -> dict[str, Any]:
        y, _ = self._generator.encoder(pixels, training=False, reference=reference)
        found = {"y": ops.cast(y, "float32")}
        model = self._generator.entropy_model
        if isinstance(model, Hyperprior):
            side = ops.absolute(y) if isinstance(model, ScaleHyperprior) else y
            z, _ = model.hyper_encoder(side, training=False)
            found["z"] = ops.cast(z, "float32")
        return found

    def synthesise(self, y_hat: Float32, reference: Pixels | None = None) -> Pixels:
        """See `codec.image_codec.Transforms`."""
        parts = [self._decode(*chunks) for chunks in _chunks(y_hat, reference)]
        return np.concatenate([np.asarray(ops.convert_to_numpy(part)) for part in parts])

    def _pixels(self, y_hat: Any, reference: Any = None) -> Any:
        x_hat, _ = self._generator.decoder(y_hat, training=False, reference=reference)
        return to_uint8(x_hat)

    def pull_back(self, y_hat: Float32, wanted: Float32) -> tuple[Float32, Float32]:
        """See `codec.image_codec.Transforms`."""
        parts = [self._pull_back(y_hat[part], wanted[part]) for part in _parts(len(y_hat))]
        difference, gradient = zip(*parts, strict=True)
        return np.concatenate(list(map(_array, difference))), np.concatenate(
            list(map(_array, gradient))
        )

    def _pulled_back(self, y_hat: Any, wanted: Any) -> tuple[Any, Any]:
        def decoded(y_hat: Any) -> Any:
            return self._generator.decoder.unclipped(y_hat, training=False)[0]

        return pull_back(decoded, y_hat, lambda x_hat: ops.clip(x_hat, 0.0, 1.0) - wanted)


def _compiled(
    function: Callable[..., Any], *signature: tuple[Sequence[int | None], str], least: int = 1
) -> Callable[..., Any]:
    """A function of arrays, the last of which may be left out, as a graph for all sizes.

    Under JAX it runs as it is: a graph of its is for one size, and takes longer to make than a
    picture takes.

    Args:
        function: of as many tensors as there are pairs.
        signature: shape and dtype of each.
        least: how many have to be given.
    """
    if keras.backend.backend() != "tensorflow":
        return lambda *arrays: function(*(ops.convert_to_tensor(each) for each in arrays))
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in signature]
    # A graph for each number of arguments, made when it is first called for.
    graphs = {
        count: tf.function(function, input_signature=specs[:count], autograph=False)
        for count in range(least, len(specs) + 1)
    }
    return lambda *arrays: graphs[len(arrays)](*(tf.constant(each) for each in arrays))


def _parts(blocks: int) -> Iterator[slice]:
    for start in range(0, blocks, BLOCKS_AT_ONCE):
        yield slice(start, start + BLOCKS_AT_ONCE)


def _chunks(values: NDArray[Any], reference: Pixels | None) -> Iterator[tuple[Any, ...]]:
    for part in _parts(len(values)):
        yield (values[part],) if reference is None else (values[part], _unit(reference[part]))


def _unit(reference: Pixels) -> Float32:
    return np.asarray(ops.convert_to_numpy(to_unit_range(reference)))


def _array(tensor: Any) -> Float32:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32)


def codec_weights(generator: Generator) -> dict[str, NDArray[np.float32]]:
    """The weights of the transforms by name: part/layer/place in the layer.name."""
    return {name: _array(variable) for name, variable in _named_variables(generator)}


def _named_variables(generator: Generator) -> Iterator[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = [("encoder", generator.encoder), ("decoder", generator.decoder)]
    if isinstance(generator.entropy_model, Hyperprior):
        parts.append(("hyper_encoder", generator.entropy_model.hyper_encoder))
    for part, stack in parts:
        for index, layer in enumerate(stack.stack):
            # Layers inside a layer are named by a counter of the process: their places count.
            for place, variable in enumerate(layer.weights):
                if "seed_generator" not in variable.path:
                    yield f"{part}/{index}.{type(layer).__name__}/{place}.{variable.name}", variable


def set_codec_weights(
    generator: Generator, weights: Mapping[str, NDArray[Any]], where: str
) -> None:
    """Gives a generator the weights that `codec_weights` named.

    Args:
        generator: built.
        weights: by name, float32 or float16.
        where: what to call them in messages.

    Raises:
        NicBundleError: they are not those of this generator.
    """
    variables = dict(_named_variables(generator))
    if set(variables) != set(weights):
        odd = sorted(set(variables) ^ set(weights))
        raise NicBundleError(f"{where}: not the weights of its spec: {printable(odd[0])}")
    for name, variable in variables.items():
        values = weights[name]
        if values.dtype.kind != "f" or values.shape != tuple(variable.shape):
            raise NicBundleError(f"{where}: {name} is {values.dtype} {values.shape}")
        if not np.isfinite(values).all():
            raise NicBundleError(f"{where}: {name} holds numbers that are not finite")
        variable.assign(values.astype(np.float32))


def serving(generator: Generator, bundle: Bundle) -> Generator:
    """The generator for the sizes that the bundle names: any, or the spec's own."""
    geometry = bundle.geometry
    if geometry.step == (0, 0):
        return generator
    # JAX compiles for each size anew, four convolutions in place of one, and gains nothing.
    stand_ins = STAND_INS if keras.backend.backend() == "tensorflow" else {}
    free = with_free_size(generator, geometry.channels, coding=False, stand_ins=stand_ins)
    if free is None:
        raise NicBundleError(f"{bundle.path}: its spec can't take images of any size")
    return free


def bundle_transforms(bundle: Bundle, precision: str = "float32") -> KerasTransforms:
    """The networks of a bundle.

    Args:
        bundle: the codec.
        precision: what layers compute in, `float32` or `mixed_bfloat16`. The files stay the same
            but for rounding in the encoder, and can be read in the other.

    Raises:
        NicBundleError: spec and weights don't make the networks the bundle describes.
    """
    weights = bundle.arrays(WEIGHTS)
    try:
        spec = parse_spec(bundle.manifest.spec, str(bundle.path / MANIFEST))
        generator = ModelBuilder(spec, precision).build().generator
    except SpecError as error:
        first = printable(str(error.problems[0]))
        raise NicBundleError(f"{bundle.path / MANIFEST}: its spec: {first}") from None
    set_codec_weights(generator, weights, str(bundle.path / WEIGHTS))
    served = serving(generator, bundle)
    _check_sizes(served, bundle)
    return KerasTransforms(served)


def _check_sizes(generator: Generator, bundle: Bundle) -> None:
    """The sizes that the bundle names are those of its spec: no picture comes out wrong."""
    geometry = bundle.geometry
    for steps in (0,) if geometry.step == (0, 0) else (0, 1, 3):
        first, step = geometry.first, geometry.step
        image = first[0] + steps * step[0], first[1] + steps * step[1], geometry.channels
        wanted = {name: grid.at(steps, steps) for name, grid in geometry.grids.items()}
        if latent_shapes(generator, image) != wanted:
            raise NicBundleError(f"{bundle.path / MANIFEST}: its sizes are not those of its spec")
