"""The sections of a spec as pydantic models: keys, types, defaults, and their words in the docs.

Components (layers, losses, ...) stand in them as plain trees; the catalog checks those.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from constants import data as data_defaults
from constants import defaults


def _component(kind: str) -> Any:
    # A marker that `generate.py` turns into a reference; pydantic refuses those of others.
    return Annotated[Any, WithJsonSchema({"x-component": kind})]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}$")]
Size = Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Section(BaseModel):
    """Strict, closed, immutable."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class Stack(Section):
    """A chain of layers."""

    name: Name
    layers: list[_component("layer")] = Field(  # type: ignore[valid-type]
        min_length=1, description="Layers, called in this order."
    )


class EncoderSection(Stack):
    """The analysis transform g_a: pixels to latents."""

    name: Name = "Encoder"


class DecoderSection(Stack):
    """The synthesis transform g_s: latents to pixels."""

    name: Name = "Decoder"


class DiscriminatorSection(Stack):
    """The opponent of adversarial training: images to logits. Needs the loss term `Adversarial`."""

    name: Name = "Discriminator"


class HyperEncoderSection(Stack):
    """h_a: latents to hyper-latents, the side information of a hyperprior."""

    name: Name = "Hyper_Encoder"


class HyperDecoderSection(Stack):
    """h_s: hyper-latents to what a hyperprior needs to know of each latent."""

    name: Name = "Hyper_Decoder"


class CoderLayers(Section):
    """Encoder and decoder, and the hyper coders of an entropy model that has them."""

    encoder: EncoderSection
    decoder: DecoderSection
    hyper_encoder: HyperEncoderSection | None = None
    hyper_decoder: HyperDecoderSection | None = None


class GeneratorSection(Section):
    """Encoder and decoder as one model."""

    name: Name = "Generator"
    layers: CoderLayers
    entropy_model: _component("entropy_model") | None = Field(  # type: ignore[valid-type]
        default=None,
        description="Quantizes the latents and counts their bits; null: they stay float32.",
    )
    prediction: _component("prediction") | None = Field(  # type: ignore[valid-type]
        default=None,
        description="How a frame is coded given the previous one, for clips "
        "(`dataset.clip_frames`); null: every image on its own.",
    )
    quantizer: Literal["float32", "naive", "min-max", "k-means"] | None = Field(
        default=None,
        description="How `exporter.py --mode codec` stores the latents of a model without entropy "
        "model: as they are, or as 8 bits (latents in [0, 1] times 255; between the smallest and "
        "largest of each channel; the nearest of 256 centroids). null: `min-max`.",
    )


class ModelLayers(Section):
    """Inputs, generator, and a discriminator if there is one."""

    inputs: list[_component("input")] = Field(  # type: ignore[valid-type]
        min_length=1, max_length=1, description="One `Input`: the images' shape."
    )
    generator: GeneratorSection
    discriminator: DiscriminatorSection | None = None


class ModelSection(Section):
    """What is trained."""

    name: Name = "Image_Compressor"
    layers: ModelLayers


class RoundSection(Section):
    """A round of training that goes on from the weights of the one before."""

    epochs: int = Field(ge=1, le=1_000_000, description="Passes over the training split.")
    optimizer: _component("optimizer") | None = Field(  # type: ignore[valid-type]
        default=None, description="With its schedule; null: that of the round before, anew."
    )
    discriminator_optimizer: _component("optimizer") | None = Field(  # type: ignore[valid-type]
        default=None, description="The discriminator's own; null: that of the round before, anew."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default=None, description="Images per training step; null: as in the round before."
    )
    crop: Size | None = Field(
        default=None,
        description="[height, width] cut out of training images; null: as in the round before. "
        "Validation stays with `dataset.crop`, so that its losses compare.",
    )


class TrainingSection(Section):
    """How it is trained. Flags of `train.py` override these."""

    optimizer: _component("optimizer") = Field(  # type: ignore[valid-type]
        default={"Adam": {"learning_rate": defaults.LEARNING_RATE}},
        description="Any Keras optimizer with its arguments; learning_rate may be a schedule.",
    )
    discriminator_optimizer: _component("optimizer") | None = Field(  # type: ignore[valid-type]
        default=None, description="The discriminator's own; null means a copy of `optimizer`."
    )
    batch_size: int = Field(
        defaults.BATCH_SIZE, ge=1, le=65536, description="Images per training step."
    )
    epochs: int = Field(
        defaults.EPOCHS, ge=1, le=1_000_000, description="Passes over the training split."
    )
    rounds: list[RoundSection] | None = Field(
        default=None,
        max_length=64,
        description="What follows those epochs: rounds that go on from the weights (the averaged "
        "ones where an optimizer has `use_ema`), each with a schedule, batch size and crop of its "
        "own. Crops may grow from round to round.",
    )
    latent_dims: int = Field(
        defaults.LATENT_DIMS,
        ge=1,
        le=2**24,
        description="What a null `units` or `filters` on `compressed_representation` becomes.",
    )
    seed: Seed = Field(defaults.SEED, description="Seeds weights, order and augmentation.")
    steps_per_dispatch: int = Field(
        1,
        ge=1,
        le=1000,
        description="Steps the device makes in one go before the program hears of it: losses are "
        "looked at, states saved and stops heeded after so many. Results do not depend on it "
        "beyond rounding. On an accelerator, as many as last some tenths of a second; 1 on a "
        "processor.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        "auto",
        description="`auto` takes mixed_bfloat16 where the processor and the spec gain by it.",
    )
    early_stopping_patience: Annotated[int, Field(ge=1)] | None = Field(
        defaults.EARLY_STOPPING_PATIENCE,
        description="Epochs without a better validation loss before training stops; null: never. "
        "With `rounds` it counts in the last one only.",
    )
    checkpoint_every: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Keep the weights of every so many epochs too, beside the best; null: none.",
    )
    metrics: list[_component("metric")] = Field(  # type: ignore[valid-type]
        default=[{"PSNR": {}}, {"SSIM": {}}],
        description="What is reported beside the loss, averaged per image.",
    )


class DatasetSection(Section):
    """What it is trained on. `--dataset` and `--tfds` override name and tfds."""

    name: str = Field(
        "digits",
        min_length=1,
        max_length=4096,
        description="A TFDS name (with tfds), a folder of images, a video or a folder of videos, "
        "or an embedded set: digits, photos.",
    )
    tfds: bool = Field(False, description="Whether the name is one of TensorFlow Datasets.")
    resize: Size | None = Field(None, description="[height, width] every image is resized to.")
    tile: Size | None = Field(
        None,
        description="[height, width] of tiles that every image is cut into, after `resize`; each "
        "then counts as an image. With it the name may be a single image, whose tiles are split.",
    )
    crop: Size | None = Field(
        None, description="[height, width] cut out: at random in training, from the middle else."
    )
    color: Literal["grayscale", "rgb"] | None = Field(
        None, description="Converts images to one or three channels; null: they must match."
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right.")
    validation_fraction: float = Field(
        data_defaults.VALIDATION_FRACTION,
        gt=0,
        lt=1,
        description="Share of images held out for validation where the data has no such split.",
    )
    test_fraction: float = Field(
        data_defaults.TEST_FRACTION,
        ge=0,
        lt=1,
        description="Share of images held out for testing where the data has no such split.",
    )
    every_nth: int = Field(1, ge=1, description="Of a video, take every nth frame.")
    clip_frames: int = Field(
        1,
        ge=1,
        le=data_defaults.CLIP_FRAMES_MAX,
        description="Of videos, consecutive taken frames that are one clip, for a model with "
        "`prediction`. Training has a clip for each frame that enough others follow, the other "
        "splits have clips that share no frame. `batch_size` and `max_images` count clips.",
    )
    max_images: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Use at most this many images of each split."
    )
    cache_mebibytes: int = Field(
        data_defaults.CACHE_MEBIBYTES, ge=0, description="Memory for decoded images, MiB."
    )
    on_device: bool | None = Field(
        None,
        description="Hold the decoded training images in the device's memory and make crops and "
        "flips there; the batches are the same. null: under JAX on an accelerator when they fit "
        "`cache_mebibytes`. Under TensorFlow `true` changes nothing: the loader makes the batches. "
        "Not for clips.",
    )
    workers: int = Field(
        data_defaults.WORKERS, ge=1, le=256, description="Threads that prepare batches."
    )


class SpecSections(Section):
    """A whole spec: one experiment."""

    schema_: str | None = Field(None, alias="$schema", description="For editors; not used here.")
    spec_version: Literal[1] = Field(defaults.SPEC_VERSION, description="The grammar's version.")
    params: dict[str, Any] = Field(
        default={}, description='Named values, used elsewhere as `"$name"`.'
    )
    preprocessing: list[_component("preprocessing")] = Field(  # type: ignore[valid-type]
        default=[], description="Invertible steps between pixels in [0, 1] and the encoder."
    )
    model: ModelSection
    loss: list[_component("loss")] = Field(  # type: ignore[valid-type]
        default=[{"SSIML1": {"alpha": defaults.ALPHA}}],
        min_length=1,
        description="Terms whose weighted sum is minimised.",
    )
    training: TrainingSection = Field(default_factory=lambda: TrainingSection.model_validate({}))
    dataset: DatasetSection = Field(default_factory=lambda: DatasetSection.model_validate({}))
