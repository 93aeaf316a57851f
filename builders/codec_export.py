"""From a trained model to the files of a codec bundle, in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from architectures.autoencoder import Generator
from architectures.factorized_prior import FactorizedPrior
from architectures.hyperprior import Hyperprior
from builders.clip_export import sampled_latents
from builders.clips import frames_of
from builders.codec_geometry import codec_geometry
from builders.codec_qualities import learned_qualities, scaled_qualities
from builders.codec_rate import RateCost, rate_cost
from builders.codec_tables import counted_tables, density_tables
from builders.codec_transforms import (
    KerasTransforms,
    codec_weights,
    set_codec_weights,
)
from builders.data_splits import Splits
from builders.errors import RunError, UserError
from builders.integer_conversion import convert
from builders.model_builder import nominal_shape
from builders.places import ENTROPY_MODEL, HYPER_DECODER
from builders.spec import Spec
from codec.bundle import CODER, HYPER_TABLES, TABLES, WEIGHTS, bundle_files, network_parts
from codec.distributions import gaussian_tables
from codec.errors import NicError
from codec.latent_coder import whole_numbers
from codec.manifest import CoderEntry, GeometryEntry, QualityEntry
from codec.quantizers import Quantizer
from codec.tables import TableSet
from constants.defaults import NOMINAL_SIDE

SAMPLE_IMAGES = 256
"""Images, of the training split, that ranges and frequencies are measured on."""
SAMPLE_PIXELS = 1 << 24
DEFAULT_QUANTIZER = "min-max"


@dataclass(frozen=True)
class CodecChoices:
    """What the user may choose of a bundle.

    Attributes:
        quantizer: for a model without entropy model: `float32`, `naive`, `min-max` or `k-means`;
            None for what the spec says, else min-max.
        half: whether weights are stored in half precision (and used as stored).
    """

    quantizer: str | None = None
    half: bool = False


@dataclass(frozen=True)
class CodecParts:
    """A bundle in memory.

    Attributes:
        files: name -> content.
        cost: what whole numbers cost a hyperprior; None for other models.
    """

    files: dict[str, bytes]
    cost: RateCost | None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def sample_images(splits: Splits, split: str = "train") -> list[NDArray[np.uint8]]:
    """Batches of images or clips of a split, cropped from the middle, up to a limit."""
    found: list[NDArray[np.uint8]] = []
    images = pixels = 0
    for batch in splits.loader(split, 8).batches(0):  # type: ignore[arg-type]
        found.append(batch)
        images += len(frames_of(batch))
        pixels += batch[..., 0].size
        if images >= SAMPLE_IMAGES or pixels >= SAMPLE_PIXELS:
            break
    return found


def make_codec(
    generator: Generator,
    spec: Spec,
    images: Sequence[NDArray[np.uint8]],
    choices: CodecChoices | None = None,
) -> CodecParts:
    """The files of a bundle.

    Args:
        generator: built, with its weights; they become what they are stored as.
        spec: of the generator.
        images: typical ones, or clips of a spec with prediction, in batches of the spec's size
            (`sample_images`).
        choices: of the user.

    Raises:
        UserError: the choices don't fit the model, or a layer of the hyper decoder has no form in
            whole numbers.
        RunError: the model gives latents that are no numbers.
    """
    choices = choices or CodecChoices()
    model = generator.entropy_model
    if choices.quantizer is not None and model is not None:
        raise UserError(
            f"--quantizer {choices.quantizer}: the entropy model of {spec.name} quantizes already"
        )
    weights: dict[str, NDArray[Any]] = dict(codec_weights(generator))
    if choices.half:
        weights = _halved(weights)
        set_codec_weights(generator, weights, spec.name)
    transforms = KerasTransforms(generator)
    latents = [each for batch in images for each in sampled_latents(generator, transforms, batch)]
    if not all(np.isfinite(values).all() for each in latents for values in each.values()):
        raise RunError(f"{spec.name} can't become a codec: its latents are not all finite numbers")
    contents = {WEIGHTS: save(weights)}
    cost = None
    try:
        if isinstance(model, Hyperprior):
            entry, more, cost = _hyperprior(model, latents, images)
        elif isinstance(model, FactorizedPrior):
            more = {TABLES: density_tables(model.density).to_bytes()}
            entry = CoderEntry(kind="factorized", qualities=_single(), default_quality=0)
        else:
            name = choices.quantizer or spec.sections.model.layers.generator.quantizer
            entry, more = _quantized(latents, name or DEFAULT_QUANTIZER)
        contents.update(more)
        geometry = codec_geometry(generator, spec)
        files = bundle_files(spec.name, _stored_spec(spec, geometry), geometry, entry, contents)
    except NicError as error:
        raise RunError(f"{spec.name} can't become a codec: {error}") from None
    return CodecParts(files, cost)


def _halved(weights: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    with np.errstate(over="ignore"):
        halved = {name: each.astype(np.float16) for name, each in weights.items()}
    for name, each in halved.items():
        if np.isinf(each).any():
            raise UserError(f"--weights float16: {name} has weights above its largest, 65504")
    return halved


def _hyperprior(
    model: Hyperprior, latents: Sequence[dict[str, Any]], images: Sequence[NDArray[np.uint8]]
) -> tuple[CoderEntry, dict[str, bytes], RateCost]:
    z = [whole_numbers(each["z"]) for each in latents]
    converted = convert(model, z, HYPER_DECODER)
    network, arrays = network_parts(converted.network)
    entries, default, vectors = learned_qualities(model) or scaled_qualities(model)
    contents: dict[str, bytes] = {
        TABLES: _scale_tables(model).to_bytes(),
        HYPER_TABLES: density_tables(model.density).to_bytes(),
        CODER: save({**arrays, **vectors}),
    }
    entry = CoderEntry(
        kind="hyperprior",
        mean_bits=converted.mean_bits,
        network=network,
        qualities=entries,
        default_quality=default,
        gain_vectors=bool(vectors),
    )
    pixels = sum(batch[..., 0].size for batch in images)
    return entry, contents, rate_cost(model, converted, latents, pixels)


def _scale_tables(model: Hyperprior) -> TableSet:
    try:
        return gaussian_tables(model.scales())
    except (ValueError, NicError) as error:
        raise UserError(
            f"{ENTROPY_MODEL}: its scales have no tables: {error}; use a smaller scale_max or "
            "fewer scale_levels"
        ) from None


def _single() -> list[QualityEntry]:
    return [QualityEntry(gain=1.0, offset=0)]


def _quantized(latents: Sequence[dict[str, Any]], name: str) -> tuple[CoderEntry, dict[str, bytes]]:
    if name == "float32":
        return CoderEntry(kind="stored", qualities=_single(), default_quality=0), {}
    y = np.concatenate([each["y"].reshape(-1, each["y"].shape[-1]) for each in latents])
    makers: dict[str, Callable[[NDArray[np.float32]], Quantizer]] = {
        "naive": lambda _: Quantizer.naive(),
        "min-max": Quantizer.min_max,
        "k-means": Quantizer.k_means,
    }
    quantizer = makers[name](y)
    arrays = {"low": quantizer.low, "high": quantizer.high}
    if quantizer.codebook is not None:
        arrays["codebook"] = quantizer.codebook
    entry = CoderEntry(
        kind="quantized",
        quantizer=name,  # type: ignore[arg-type]
        qualities=_single(),
        default_quality=0,
    )
    tables = counted_tables(quantizer.symbols(y))
    return entry, {TABLES: tables.to_bytes(), CODER: save(arrays)}


def _stored_spec(spec: Spec, geometry: GeometryEntry) -> dict[str, Any]:
    """What the networks are built from: no training, no opponent, and of the data what they need.

    That is the length of clips, and the size of crops where free sizes are not stated at another
    that fits the networks.
    """
    tree = spec.resolved()
    model = tree["model"]
    model["layers"]["discriminator"] = None
    dataset: dict[str, Any] = {}
    if spec.sections.model.layers.generator.prediction is None:
        del model["layers"]["generator"]["prediction"]  # bundles stay as before there was any
    else:
        dataset["clip_frames"] = spec.dataset.clip_frames
    steps = zip(geometry.first, geometry.step, strict=True)
    if None in spec.input_shape and any(
        step and (NOMINAL_SIDE - first) % step for first, step in steps
    ):
        dataset["crop"] = list(nominal_shape(spec)[1:3])
    return {
        "spec_version": tree["spec_version"],
        "preprocessing": tree["preprocessing"],
        "model": model,
        "loss": [{"L1": {}}],
        "training": {"metrics": []},
        **({"dataset": dataset} if dataset else {}),
    }
