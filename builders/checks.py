"""Rules across fields of a spec, a small named function each; run when its form is right."""

from collections.abc import Iterator
from typing import Any

from builders.problems import ProblemList, join
from builders.sections import SpecSections

ENCODER = "model.layers.generator.layers.encoder.layers"
DECODER = "model.layers.generator.layers.decoder.layers"
DISCRIMINATOR = "model.layers.discriminator.layers"
IMAGE_CHANNELS = (1, 3, 4)


def check_spec(spec: SpecSections, problems: ProblemList) -> list[str]:
    """Runs every rule; adds problems and returns warnings."""
    for rule in (
        _image_channels,
        _unique_layer_names,
        _adversary_and_its_loss,
        _discriminator_optimizer,
        _divergence_needs_posterior,
        _split_fractions,
        _size_policy,
        _unique_tags,
    ):
        rule(spec, problems)
    return [*_posterior_without_divergence(spec), *_color_against_channels(spec)]


def _named(items: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in items:
        yield next(iter(item.items()))


def _has(items: list[Any], name: str) -> bool:
    return any(each == name for each, _ in _named(items))


def _input_shape(spec: SpecSections) -> list[int | None]:
    return list(spec.model.layers.inputs[0]["Input"]["shape"])


def _image_channels(spec: SpecSections, problems: ProblemList) -> None:
    channels = _input_shape(spec)[-1]
    if channels not in IMAGE_CHANNELS:
        problems.add(
            "model.layers.inputs[0].Input.shape[2]",
            f"found {channels if channels is not None else 'null'}, expected 1 (grayscale), 3 (RGB) "
            "or 4 (RGBA) channels, the last number of the shape",
        )


def _unique_layer_names(spec: SpecSections, problems: ProblemList) -> None:
    coders = spec.model.layers.generator.layers
    judge = spec.model.layers.discriminator
    stacks = [(ENCODER, coders.encoder.layers), (DECODER, coders.decoder.layers)]
    if judge is not None:
        stacks.append((DISCRIMINATOR, judge.layers))
    for path, layers in stacks:
        seen: dict[str, int] = {}
        for index, (kind, arguments) in enumerate(_named(layers)):
            name = arguments.get("name")
            if name in seen:
                problems.add(
                    f"{path}[{index}].{kind}.name",
                    f'"{name}" is also the name of layers[{seen[name]}]; names are unique in a stack',
                )
            elif name is not None:
                seen[name] = index


def _adversary_and_its_loss(spec: SpecSections, problems: ProblemList) -> None:
    terms = [index for index, (name, _) in enumerate(_named(spec.loss)) if name == "Adversarial"]
    judge = spec.model.layers.discriminator
    if judge is not None and not terms:
        problems.add(
            "model.layers.discriminator",
            'needs a loss term: add {"Adversarial": {"weight": 0.01}} to "loss"',
        )
    if judge is None and terms:
        problems.add(
            f"loss[{terms[0]}].Adversarial",
            'needs a discriminator: add "discriminator": {"layers": [...]} beside "generator"',
        )
    for index in terms[1:]:
        problems.add(f"loss[{index}].Adversarial", "a second term; one discriminator has one loss")


def _discriminator_optimizer(spec: SpecSections, problems: ProblemList) -> None:
    chosen = spec.training.discriminator_optimizer is not None
    if chosen and spec.model.layers.discriminator is None:
        problems.add("training.discriminator_optimizer", "there is no discriminator to optimize")


def _divergence_needs_posterior(spec: SpecSections, problems: ProblemList) -> None:
    layers = spec.model.layers.generator.layers.encoder.layers
    for index, (name, _) in enumerate(_named(spec.loss)):
        if name == "KLDivergence" and not _has(layers, "GaussianLatent"):
            problems.add(
                f"loss[{index}].KLDivergence",
                "needs a posterior: a GaussianLatent layer in the encoder",
            )


def _posterior_without_divergence(spec: SpecSections) -> Iterator[str]:
    layers = spec.model.layers.generator.layers.encoder.layers
    if _has(layers, "GaussianLatent") and not _has(spec.loss, "KLDivergence"):
        yield "GaussianLatent without the loss term KLDivergence: its noise will shrink to nothing"


def _split_fractions(spec: SpecSections, problems: ProblemList) -> None:
    held_out = spec.dataset.validation_fraction + spec.dataset.test_fraction
    if held_out >= 1:
        problems.add(
            "dataset",
            f"validation_fraction + test_fraction = {held_out:g}, expected under 1: nothing is left "
            "to train on",
        )


def _size_policy(spec: SpecSections, problems: ProblemList) -> None:
    sides = _input_shape(spec)[:2]
    final = spec.dataset.crop or spec.dataset.resize
    key = "crop" if spec.dataset.crop else "resize"
    if final is None:
        return
    if any(want not in (None, got) for want, got in zip(sides, final, strict=True)):
        problems.add(
            f"dataset.{key}", f"gives {list(final)} pixels, the model's input takes {sides}"
        )
    resize = spec.dataset.resize
    if spec.dataset.crop and resize and any(r < c for r, c in zip(resize, final, strict=True)):
        problems.add("dataset.crop", f"{list(final)} is larger than the resized images {resize}")


def _unique_tags(spec: SpecSections, problems: ProblemList) -> None:
    for path, items in (("loss", spec.loss), ("training.metrics", spec.training.metrics)):
        seen: set[tuple[str, Any]] = set()
        for index, (name, arguments) in enumerate(_named(items)):
            key = (name, arguments.get("name"))
            if key in seen:
                problems.add(
                    join(join(path, index), name),
                    'stands twice; tell the two apart with a "name", or drop one',
                )
            seen.add(key)


def _color_against_channels(spec: SpecSections) -> Iterator[str]:
    channels = _input_shape(spec)[-1]
    wanted = {"grayscale": 1, "rgb": 3}.get(spec.dataset.color or "")
    if wanted is not None and wanted != channels:
        yield f"dataset.color is {spec.dataset.color}, but the model takes {channels} channels"
