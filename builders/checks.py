"""Rules across fields of a spec, a small named function each.

They run on specs with wrong components too, so that all errors come at once: a rule looks at what
is well-formed and keeps silent where its answer hangs on what is not.
"""

from collections.abc import Iterator
from typing import Any

from builders.places import DECODER, DISCRIMINATOR, ENCODER, INPUTS, PREDICTION, ROUNDS
from builders.problems import ProblemList, join, shown
from builders.sections import SpecSections

IMAGE_CHANNELS = (1, 3, 4)
WITH_HYPER_CODERS = frozenset({"ScaleHyperprior", "MeanScaleHyperprior"})
ENTROPY_MODELS = WITH_HYPER_CODERS | {"FactorizedPrior"}


def check_spec(spec: SpecSections, problems: ProblemList) -> list[str]:
    """Runs every rule; adds problems and returns warnings."""
    for rule in (
        _image_channels,
        _unique_layer_names,
        _adversary_and_its_loss,
        _discriminator_optimizer,
        _divergence_needs_posterior,
        _hyper_coders_and_their_model,
        _rate_needs_entropy_model,
        _split_fractions,
        _size_policy,
        _crops_of_rounds,
        _color_against_channels,
        _unique_tags,
        _prediction_and_its_clips,
    ):
        rule(spec, problems)
    return [*_posterior_without_divergence(spec), *_entropy_model_without_rate(spec)]


def _named(items: list[Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(index, name, arguments) of the well-formed components of a list."""
    for index, item in enumerate(items):
        if isinstance(item, dict) and len(item) == 1:
            ((name, arguments),) = item.items()
            if isinstance(arguments, dict):
                yield index, name, arguments


def _has(items: list[Any], name: str) -> bool:
    return any(each == name for _, each, _ in _named(items))


def _all_known(path: str, problems: ProblemList) -> bool:
    """Whether every component of a list has a name and form that is known."""
    return not any(
        problem.path.startswith(f"{path}[") and problem.path.endswith("]")
        for problem in problems.items
    )


def _input_shape(spec: SpecSections) -> list[int | None] | None:
    """[height, width, channels]; None where that is not what the spec says."""
    for _, _, arguments in _named(spec.model.layers.inputs):
        shape = arguments.get("shape")
        if isinstance(shape, list) and len(shape) == 3:
            usable = all(each is None or type(each) is int for each in shape)
            return shape if usable else None
    return None


def _stacks(spec: SpecSections) -> Iterator[tuple[str, list[Any]]]:
    coders = spec.model.layers.generator.layers
    yield ENCODER, coders.encoder.layers
    yield DECODER, coders.decoder.layers
    if spec.model.layers.discriminator is not None:
        yield DISCRIMINATOR, spec.model.layers.discriminator.layers


def _image_channels(spec: SpecSections, problems: ProblemList) -> None:
    shape = _input_shape(spec)
    if shape is not None and shape[-1] not in IMAGE_CHANNELS:
        problems.add(
            f"{INPUTS}[0].Input.shape[2]",
            f"found {shown(shape[-1])}, expected 1 (grayscale), 3 (RGB) or 4 (RGBA) channels",
        )


def _unique_layer_names(spec: SpecSections, problems: ProblemList) -> None:
    for path, layers in _stacks(spec):
        seen: dict[str, int] = {}
        for index, kind, arguments in _named(layers):
            name = arguments.get("name")
            if not isinstance(name, str):
                continue
            if name in seen:
                problems.add(
                    f"{path}[{index}].{kind}.name",
                    f"found {shown(name)}, which is layers[{seen[name]}] already; names are unique "
                    "in a stack",
                )
            seen.setdefault(name, index)


def _adversary_and_its_loss(spec: SpecSections, problems: ProblemList) -> None:
    terms = [index for index, name, _ in _named(spec.loss) if name == "Adversarial"]
    judge = spec.model.layers.discriminator
    if judge is not None and not terms and _all_known("loss", problems):
        problems.add(
            "model.layers.discriminator",
            'has no loss term to train with: add {"Adversarial": {"weight": 0.01}} to "loss"',
        )
    if judge is None and terms:
        problems.add(
            f"loss[{terms[0]}].Adversarial",
            'needs a discriminator: add "discriminator": {"layers": [...]} beside "generator"',
        )
    for index in terms[1:]:
        problems.add(
            f"loss[{index}].Adversarial",
            f"a second term after loss[{terms[0]}]; one discriminator has one loss",
        )


def _discriminator_optimizer(spec: SpecSections, problems: ProblemList) -> None:
    if spec.model.layers.discriminator is not None:
        return
    chosen = {"training": spec.training.discriminator_optimizer}
    for index, part in enumerate(spec.training.rounds or []):
        chosen[join(ROUNDS, index)] = part.discriminator_optimizer
    for path, optimizer in chosen.items():
        if optimizer is not None:
            problems.add(f"{path}.discriminator_optimizer", "there is no discriminator to optimize")


def _divergence_needs_posterior(spec: SpecSections, problems: ProblemList) -> None:
    layers = spec.model.layers.generator.layers.encoder.layers
    if _has(layers, "GaussianLatent") or not _all_known(ENCODER, problems):
        return
    for index, name, _ in _named(spec.loss):
        if name == "KLDivergence":
            problems.add(
                f"loss[{index}].KLDivergence",
                "needs a posterior: a GaussianLatent layer in the encoder",
            )


def _posterior_without_divergence(spec: SpecSections) -> Iterator[str]:
    layers = spec.model.layers.generator.layers.encoder.layers
    if _has(layers, "GaussianLatent") and not _has(spec.loss, "KLDivergence"):
        yield "GaussianLatent without the loss term KLDivergence: its noise will shrink to nothing"


def _entropy_model(spec: SpecSections) -> str | None:
    """Its class name; None where there is none, or none that is well-formed."""
    found = spec.model.layers.generator.entropy_model
    return next((name for _, name, _ in _named([found])), None)


def _hyper_coders_and_their_model(spec: SpecSections, problems: ProblemList) -> None:
    generator = spec.model.layers.generator
    name = _entropy_model(spec)
    if generator.entropy_model is not None and name not in ENTROPY_MODELS:
        return  # unknown, and reported as such
    wanted = name in WITH_HYPER_CODERS
    for key in ("hyper_encoder", "hyper_decoder"):
        given = getattr(generator.layers, key) is not None
        path = f"model.layers.generator.layers.{key}"
        if wanted and not given:
            problems.add(path, f'{name} needs it: add "{key}": {{"layers": [...]}}')
        elif given and not wanted:
            hyperpriors = " or ".join(sorted(WITH_HYPER_CODERS))
            problems.add(path, f'has no use without "entropy_model": {hyperpriors}')


def _rate_needs_entropy_model(spec: SpecSections, problems: ProblemList) -> None:
    if spec.model.layers.generator.entropy_model is not None:
        return
    for path, items, wanted in (
        ("loss", spec.loss, "BitsPerPixel"),
        ("training.metrics", spec.training.metrics, "Rate"),
    ):
        for index, name, _ in _named(items):
            if name == wanted:
                problems.add(
                    f"{path}[{index}].{name}",
                    'needs bits to count: add an "entropy_model" to the generator',
                )


def _entropy_model_without_rate(spec: SpecSections) -> Iterator[str]:
    if _entropy_model(spec) is not None and not _has(spec.loss, "BitsPerPixel"):
        yield "an entropy model without the loss term BitsPerPixel: nothing keeps its rate down"


def _split_fractions(spec: SpecSections, problems: ProblemList) -> None:
    held_out = spec.dataset.validation_fraction + spec.dataset.test_fraction
    if held_out >= 1:
        problems.add(
            "dataset",
            f"validation_fraction + test_fraction = {held_out:g}, expected under 1: nothing is "
            "left to train on",
        )


def _size_policy(spec: SpecSections, problems: ProblemList) -> None:
    shape, resize = _input_shape(spec), spec.dataset.resize
    final = spec.dataset.crop or resize
    key = "crop" if spec.dataset.crop else "resize"
    if final is None:
        return
    if shape and any(want not in (None, got) for want, got in zip(shape, final, strict=False)):
        problems.add(
            f"dataset.{key}",
            f"gives {shown(final)} pixels, the model's input takes {shown(shape[:2])}",
        )
    if spec.dataset.crop and resize and any(r < c for r, c in zip(resize, final, strict=True)):
        problems.add(
            "dataset.crop", f"{shown(final)} is larger than the resized images {shown(resize)}"
        )


def _crops_of_rounds(spec: SpecSections, problems: ProblemList) -> None:
    shape, resize = _input_shape(spec), spec.dataset.resize
    for index, part in enumerate(spec.training.rounds or []):
        path = f"{join(ROUNDS, index)}.crop"
        if part.crop is None:
            continue
        if shape and any(
            want not in (None, got) for want, got in zip(shape, part.crop, strict=False)
        ):
            problems.add(
                path,
                f"gives {shown(part.crop)} pixels, the model's input takes {shown(shape[:2])}",
            )
        if resize and any(r < c for r, c in zip(resize, part.crop, strict=True)):
            problems.add(
                path, f"{shown(part.crop)} is larger than the resized images {shown(resize)}"
            )


def _unique_tags(spec: SpecSections, problems: ProblemList) -> None:
    for path, items in (("loss", spec.loss), ("training.metrics", spec.training.metrics)):
        seen: dict[tuple[str, Any], int] = {}
        for index, name, arguments in _named(items):
            tag = arguments.get("name")
            key = (name, tag if isinstance(tag, str) else None)
            if key in seen:
                problems.add(
                    join(join(path, index), name),
                    f"stands at [{seen[key]}] already; drop one, or tell them apart with a "
                    '"name" each',
                )
            seen.setdefault(key, index)


def _color_against_channels(spec: SpecSections, problems: ProblemList) -> None:
    shape, color = _input_shape(spec), spec.dataset.color
    channels = shape[-1] if shape else None
    if channels is None or color is None:
        return
    if (color == "grayscale" and channels != 1) or (color == "rgb" and channels == 1):
        gives = "1 channel" if color == "grayscale" else "3 channels"
        problems.add(
            "dataset.color", f'"{color}" gives {gives}, the model\'s input takes {channels}'
        )


def _prediction_and_its_clips(spec: SpecSections, problems: ProblemList) -> None:
    predicts, frames = spec.model.layers.generator.prediction is not None, spec.dataset.clip_frames
    if predicts and frames < 2:
        problems.add(
            "dataset.clip_frames",
            f"found {frames}, expected 2 or more: with {PREDICTION} a model is trained on clips",
        )
    if not predicts and frames > 1:
        problems.add(
            "dataset.clip_frames",
            f"found {frames}, expected 1 without {PREDICTION}: every frame is an image on its own",
        )
