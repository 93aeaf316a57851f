"""ModelBuilder: a spec becomes ImageCompressor(Generator(Encoder, Decoder), Discriminator?)."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from architectures.autoencoder import Decoder, Encoder, Generator
from architectures.discriminator import Discriminator
from architectures.factorized_prior import EntropyModel, EntropyModelError
from architectures.hyperprior import HyperCoder
from architectures.image_compressor import ImageCompressor
from architectures.naming import snake_case
from architectures.prediction import Prediction
from architectures.stack import LAYER_ERRORS, LayerError, LayerStack, one_line
from builders.places import (
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    ENTROPY_MODEL,
    HYPER_DECODER,
    HYPER_ENCODER,
    INPUTS,
    PREDICTION,
    singles,
)
from builders.problems import ProblemList, shown
from builders.reader_checks import check_images, check_names, check_outputs
from builders.registry import Registry
from builders.size_guard import MAX_ACTIVATIONS, SizeGuard, output_shapes, sides
from builders.spec import Spec
from builders.trial import try_stack
from constants.defaults import NOMINAL_SIDE

Shape = tuple[int | None, ...]


class ModelBuilder:
    """Builds the model of a spec.

    Args:
        spec: a validated spec.
        precision: `float32` or `mixed_bfloat16`; last layers, losses and metrics stay float32.

    Example:
        >>> compressor = ModelBuilder(load_spec(Path("models/model.json"))).build()
    """

    def __init__(self, spec: Spec, precision: str = "float32") -> None:
        self.spec = spec
        self.precision = precision
        self._registry = Registry()
        self._problems = ProblemList(spec.source)

    def build(self) -> ImageCompressor:
        """Makes and builds the model; its weights come from Keras' random state.

        Raises:
            SpecError: a layer refuses its arguments or its input, sizes don't fit, or the model is
                too large to allocate.
        """
        sections = self.spec.sections
        coders = sections.model.layers.generator.layers
        judge_section = sections.model.layers.discriminator
        steps = self._components("preprocessing", sections.preprocessing, "preprocessing")
        encoder_layers = self._stack(coders.encoder.layers, ENCODER)
        decoder_layers = self._stack(coders.decoder.layers, DECODER)
        judge_layers = (
            [] if judge_section is None else self._stack(judge_section.layers, DISCRIMINATOR)
        )
        entropy_model = self._entropy_model()
        prediction = self._prediction()
        loss_terms = self._components("loss", sections.loss, "loss")
        metrics = self._components("metric", sections.training.metrics, "training.metrics")
        self._check_optimizers()
        self._raise()

        generator = Generator(
            Encoder(encoder_layers, steps, prediction, name=coders.encoder.name),
            Decoder(decoder_layers, steps, prediction, name=coders.decoder.name),
            entropy_model,
            name=sections.model.layers.generator.name,
        )
        judge = (
            None if judge_section is None else Discriminator(judge_layers, name=judge_section.name)
        )
        compressor = ImageCompressor(
            generator, judge, loss_terms, metrics, name=sections.model.name
        )
        check_outputs(compressor, self._problems)
        check_names(compressor, self._problems)
        self._check_shapes(compressor, steps)
        self._raise()
        self._build(compressor)
        self._try_layers(compressor)
        check_images(compressor, nominal_shape(self.spec), self._problems)
        self._check_trainable(compressor)
        self._raise()
        return compressor

    def _stack(self, items: Sequence[Any], path: str) -> list[keras.layers.Layer]:
        layers = []
        for index, item in enumerate(items):
            ((name, arguments),) = item.items()
            dtype = "float32" if index == len(items) - 1 else self.precision
            more = {"dtype": arguments.get("dtype") or dtype}
            if arguments.get("name") is None:
                more["name"] = f"{snake_case(name)}_{index}"
            given = {key: value for key, value in arguments.items() if key not in more}
            layers.append(self._create("layer", {name: given}, f"{path}[{index}]", **more))
        return layers

    def _components(self, kind: str, items: Sequence[Any], path: str) -> list[Any]:
        return [self._create(kind, item, f"{path}[{i}]") for i, item in enumerate(items)]

    def _create(self, kind: str, item: Any, path: str, **more: Any) -> Any:
        try:
            return self._registry.create(kind, item, **more)
        except LAYER_ERRORS as error:
            self._problems.add(f"{path}.{next(iter(item))}", one_line(error))
            return None

    def _check_optimizers(self) -> None:
        """Makes each optimizer once: arguments that exclude each other are found here."""
        for kind, path, holder, key in singles(self.spec.resolved()):
            if kind == "optimizer" and holder[key] is not None:
                self._create(kind, holder[key], path)

    def _raise(self) -> None:
        self._problems.raise_if_any()

    def _entropy_model(self) -> EntropyModel | None:
        generator = self.spec.sections.model.layers.generator
        if generator.entropy_model is None:
            return None
        more: dict[str, Any] = {"name": "entropy_model"}
        for key, path in (("hyper_encoder", HYPER_ENCODER), ("hyper_decoder", HYPER_DECODER)):
            section = getattr(generator.layers, key)
            if section is not None:
                more[key] = HyperCoder(self._stack(section.layers, path), name=section.name)
        model: EntropyModel | None = self._create(
            "entropy_model", generator.entropy_model, ENTROPY_MODEL, **more
        )
        return model

    def _prediction(self) -> Prediction | None:
        found = self.spec.sections.model.layers.generator.prediction
        if found is None:
            return None
        made: Prediction | None = self._create("prediction", found, PREDICTION, name="prediction")
        return made

    def _check_shapes(self, compressor: ImageCompressor, steps: list[Any]) -> None:
        """Follows a nominal image through the layers, before any weight is allocated."""
        image = nominal_shape(self.spec)
        if math.prod(image) > MAX_ACTIVATIONS:
            self._problems.add(
                f"{INPUTS}[0].Input.shape",
                f"found {shown(list(image[1:]))}, expected at most {MAX_ACTIVATIONS:,} numbers",
            )
            return
        guard = SizeGuard(self._problems)
        prepared = self._prepared(steps, image)
        if prepared is not None:
            if compressor.generator.prediction is not None and prepared != image:
                self._problems.add(
                    "preprocessing", f"changes the shape of images, which {PREDICTION} can't take"
                )
                return
            seen = compressor.encoder.prepared(image)
            latents = guard.follow(compressor.encoder.stack, seen, ENCODER)
            if latents is not None:
                self._follow_decoder(compressor, guard, latents, prepared)
                self._follow_hyper_coders(compressor, guard, latents)
        if compressor.discriminator is not None:
            guard.follow(compressor.discriminator.stack, image, DISCRIMINATOR)

    def _prepared(self, steps: list[Any], image: Shape) -> Shape | None:
        """What the preprocessing makes of an image; None where a step can't take it."""
        shape = image
        for index, step in enumerate(steps):
            try:
                shape = tuple(step.compute_output_shape(shape))
            except LAYER_ERRORS as error:
                self._problems.add(f"preprocessing[{index}].{type(step).__name__}", one_line(error))
                return None
        return shape

    def _follow_decoder(
        self, compressor: ImageCompressor, guard: SizeGuard, latents: Shape, wanted: Shape
    ) -> None:
        found = guard.follow(compressor.decoder.stack, latents, DECODER)
        channels = compressor.decoder.stack_channels(wanted[-1] or 0)
        if found is None or found[1:] == (*wanted[1:-1], channels):
            return
        told = f"gives {sides(found)} for an input of {sides(wanted)}; "
        if channels == wanted[-1]:
            told += "they must be equal"
        else:
            told += f"{PREDICTION} takes {sides((*wanted[:-1], channels))}"
        self._problems.add(DECODER.removesuffix(".layers"), told + self._nominally())

    def _follow_hyper_coders(
        self, compressor: ImageCompressor, guard: SizeGuard, latents: Shape
    ) -> None:
        model: Any = compressor.generator.entropy_model
        if model is None:
            return
        coded: Shape | None = latents
        if model.needs_hyper_coders:
            coded = guard.follow(model.hyper_encoder.stack, latents, HYPER_ENCODER)
            told = (
                None
                if coded is None
                else guard.follow(model.hyper_decoder.stack, coded, HYPER_DECODER)
            )
            wanted = (*latents[:-1], model.outputs_per_latent * (latents[-1] or 1))
            if told is not None and told != wanted:
                self._problems.add(
                    HYPER_DECODER.removesuffix(".layers"),
                    f"gives {sides(told)} for latents {sides(latents)}; expected {sides(wanted)}"
                    + self._nominally(),
                )
        density = getattr(model, "density", None)
        if coded is not None and density is not None:
            guard.count(density, coded, ENTROPY_MODEL)

    def _nominally(self) -> str:
        free = None in self.spec.input_shape
        return " (stated at this size; the spec's height and width are free)" if free else ""

    def _build(self, compressor: ImageCompressor) -> None:
        try:
            compressor.build((None, *self.spec.input_shape))
        except EntropyModelError as error:
            self._problems.add(ENTROPY_MODEL, str(error))
        except LayerError as error:
            place = sides((None, *error.input_shape)).replace("None", "?")
            self._problems.add(
                self._layer_path(compressor, error),
                f"does not fit its input {place}: {error.reason}",
            )
        self._raise()

    def _try_layers(self, compressor: ImageCompressor) -> None:
        image: Shape = (None, *self.spec.input_shape)
        latents = compressor.encoder.output_shapes[-1]
        model: Any = compressor.generator.entropy_model
        try_stack(compressor.encoder, compressor.encoder.prepared(image), ENCODER, self._problems)
        if model is not None and model.needs_hyper_coders:
            try_stack(model.hyper_encoder, latents, HYPER_ENCODER, self._problems)
            hyper_latents = model.hyper_encoder.output_shapes[-1]
            try_stack(model.hyper_decoder, hyper_latents, HYPER_DECODER, self._problems)
        try_stack(compressor.decoder, latents, DECODER, self._problems)
        if compressor.discriminator is not None:
            try_stack(compressor.discriminator, image, DISCRIMINATOR, self._problems)
        self._raise()

    def _check_trainable(self, compressor: ImageCompressor) -> None:
        """There is something to train; an optimizer without a weight fails."""
        if not compressor.generator.trainable_variables:
            self._problems.add("model.layers.generator", "no layer has weights to train")
        judge = compressor.discriminator
        if judge is not None and not judge.trainable_variables:
            self._problems.add("model.layers.discriminator", "no layer has weights to train")

    def _layer_path(self, compressor: ImageCompressor, error: LayerError) -> str:
        stacks: list[tuple[str, LayerStack | None]] = [
            (ENCODER, compressor.encoder),
            (HYPER_ENCODER, getattr(compressor.generator.entropy_model, "hyper_encoder", None)),
            (HYPER_DECODER, getattr(compressor.generator.entropy_model, "hyper_decoder", None)),
            (DECODER, compressor.decoder),
            (DISCRIMINATOR, compressor.discriminator),
        ]
        for path, stack in stacks:
            # Stacks are built in order: the one that failed is the first not built.
            if stack is not None and not stack.built:
                return f"{path}[{error.index}].{type(stack.stack[error.index]).__name__}"
        raise error


def nominal_shape(spec: Spec) -> tuple[int, ...]:
    """(1, H, W, C) at which shapes and costs are stated: free sides take the crop or 256."""
    crop = spec.dataset.crop or spec.dataset.resize or [NOMINAL_SIDE, NOMINAL_SIDE]
    height, width, channels = spec.input_shape
    return (1, height or crop[0], width or crop[1], channels)


def latent_shape(compressor: ImageCompressor, image: tuple[int, ...]) -> Shape:
    """Shape (without batch) of the latents of an image of a given shape (1, H, W, C)."""
    prepared = compressor.encoder.prepared(image)
    return tuple(output_shapes(compressor.encoder.stack, prepared)[-1][1:])
