"""JSON -> a validated, immutable Spec; every error has its path, and they come all at once."""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from builders.catalog import Catalog, load_catalog
from builders.checks import check_spec
from builders.json_reader import read_json
from builders.overrides import set_value
from builders.params import substitute_params
from builders.problems import Problem, ProblemList, SpecError, join, near_miss, shown
from builders.sections import DatasetSection, SpecSections, TrainingSection
from constants.defaults import LATENT_LAYER_NAME, SPEC_VERSION

Tree = dict[str, Any]

COMPONENT_LISTS = {
    "model.layers.inputs": "input",
    "model.layers.generator.layers.encoder.layers": "layer",
    "model.layers.generator.layers.decoder.layers": "layer",
    "model.layers.discriminator.layers": "layer",
    "preprocessing": "preprocessing",
    "loss": "loss",
    "training.metrics": "metric",
}
"""Where lists of components stand, and of which kind."""

SINGLE_COMPONENTS = {
    "training.optimizer": "optimizer",
    "training.discriminator_optimizer": "optimizer",
}
ARCHITECTURE_KEYS = ("model", "preprocessing")
"""The sections that decide which weights fit."""


@dataclass(frozen=True)
class Spec:
    """A validated spec: its sections, and the resolved tree they came from.

    Attributes:
        source: where it was read from.
        sections: the spec as pydantic models.
        warnings: what is allowed but likely not meant.
    """

    source: str
    sections: SpecSections
    warnings: tuple[str, ...]
    _resolved: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.sections.model.name

    @property
    def training(self) -> TrainingSection:
        """How it is trained."""
        return self.sections.training

    @property
    def dataset(self) -> DatasetSection:
        """What it is trained on."""
        return self.sections.dataset

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """(height, width, channels) of the images; None where free."""
        height, width, channels = self.sections.model.layers.inputs[0]["Input"]["shape"]
        return height, width, channels

    def resolved(self) -> Tree:
        """A copy of the spec with every default filled in."""
        return dict(json.loads(self._resolved))

    def to_json(self) -> str:
        """The resolved spec as text, for `spec.json`."""
        return json.dumps(self.resolved(), indent=2, ensure_ascii=False) + "\n"

    def architecture_digest(self) -> str:
        """SHA-256 of what decides the weights: two specs that share it share checkpoints."""
        return architecture_digest(self.resolved())


def architecture_digest(resolved: Tree) -> str:
    """SHA-256 of the model and preprocessing sections of a resolved spec, as canonical JSON."""
    part = {key: resolved[key] for key in ARCHITECTURE_KEYS}
    text = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Reads, checks and resolves a spec file.

    Args:
        path: a JSON file.
        overrides: path in the spec -> value, as the command line gave them.

    Raises:
        UserError: the file can't be read, or an override leads nowhere.
        SpecError: one line for each thing wrong.
    """
    return parse_spec(read_json(path), str(path), overrides)


def parse_spec(tree: Any, source: str = "spec", overrides: Mapping[str, Any] | None = None) -> Spec:
    """Checks and resolves a spec given as a JSON tree; see `load_spec`."""
    problems = ProblemList()
    if not isinstance(tree, dict):
        message = f'found {shown(tree)}, expected an object: {{"model": {{...}}}}'
        raise SpecError([Problem("", message)], source)
    tree = upgrade(copy.deepcopy(tree))
    for path, value in (overrides or {}).items():
        set_value(tree, path, copy.deepcopy(value))
    catalog = load_catalog()
    warnings = substitute_params(tree, problems)
    latent_dims = _latent_dims(tree)
    explicit = "training.latent_dims" in (overrides or {})
    _resolve_latents(tree, latent_dims, explicit, problems)
    sections = _validate_sections(tree, problems)
    for kind, path, value in _components(tree):
        catalog.check(kind, value, path, problems.add)
    problems.raise_if_any(source)
    assert sections is not None
    warnings += check_spec(sections, problems)
    problems.raise_if_any(source)
    resolved = _resolved(sections, catalog)
    return Spec(
        source,
        SpecSections.model_validate(resolved),
        tuple(warnings),
        json.dumps(resolved, ensure_ascii=False),
    )


def upgrade(tree: Tree) -> Tree:
    """Brings a spec of an older grammar to the present one.

    The original grammar has no version and nothing but `model`; it means the same today. A
    `discriminator` at the top is moved beside the generator, where the model's parts stand.
    """
    if "spec_version" not in tree:
        tree["spec_version"] = SPEC_VERSION
    layers = _at(tree, "model.layers")
    if "discriminator" in tree and isinstance(layers, dict) and "discriminator" not in layers:
        layers["discriminator"] = tree.pop("discriminator")
    return tree


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def _components(tree: Tree) -> Iterator[tuple[str, str, Any]]:
    """(kind, path, value) of every component at its known place."""
    for path, kind in COMPONENT_LISTS.items():
        value = _at(tree, path)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield kind, join(path, index), item
    for path, kind in SINGLE_COMPONENTS.items():
        value = _at(tree, path)
        if value is not None:
            yield kind, path, value


def _latent_dims(tree: Tree) -> int:
    found = _at(tree, "training.latent_dims")
    usable = isinstance(found, int) and not isinstance(found, bool) and 0 < found <= 2**24
    # A wrong value is reported by the section's own check; any number serves until then.
    return found if usable else int(TrainingSection.model_fields["latent_dims"].default)


def _resolve_latents(tree: Tree, dims: int, explicit: bool, problems: ProblemList) -> None:
    """Fills `--latent_dims` into the latent layer's null; null anywhere else is a problem."""
    used = False
    fixed: int | None = None
    for kind, path, value in _components(tree):
        if kind != "layer" or not isinstance(value, dict) or len(value) != 1:
            continue
        ((name, arguments),) = value.items()
        if not isinstance(arguments, dict):
            continue
        latent = arguments.get("name") == LATENT_LAYER_NAME and ".encoder." in path
        for key in ("units", "filters"):
            if latent and isinstance(arguments.get(key), int):
                fixed = arguments[key]
            if key not in arguments or arguments[key] is not None:
                continue
            if latent:
                used = True
            else:
                where = arguments.get("name")
                problems.add(
                    join(join(path, name), key),
                    f'null is only for the encoder\'s layer named "{LATENT_LAYER_NAME}"; '
                    f"this one is named {shown(where)}; give a number",
                )
            arguments[key] = dims
    if explicit and not used and fixed != dims:
        has = f"the spec says {fixed}" if fixed is not None else "the spec has no such layer"
        problems.add(
            "training.latent_dims",
            f'{dims} has no effect: no "units" or "filters" is null on an encoder layer named '
            f'"{LATENT_LAYER_NAME}"; {has}',
        )


def _validate_sections(tree: Tree, problems: ProblemList) -> SpecSections | None:
    try:
        return SpecSections.model_validate(tree)
    except pydantic.ValidationError as error:
        for each in error.errors(include_url=False):
            path = ""
            for step in each["loc"]:
                path = join(path, step)
            problems.add(*_section_problem(each, path))
        return None


def _section_problem(error: Any, path: str) -> tuple[str, str]:
    parent, _, key = path.rpartition(".")
    match error["type"]:
        case "extra_forbidden":
            where = parent or "the spec"
            hint = near_miss(key or path, _known_keys(error["loc"][:-1]))
            return parent, f'unknown key "{shown(key or path)[1:-1]}"{hint}' + (
                "" if parent else f" in {where}"
            )
        case "missing":
            return parent, f'missing key "{key or path}"'
        case "model_type" | "model_attributes_type":
            return path, f"found {shown(error['input'])}, expected an object"
        case "too_short" | "too_long":
            bound = error["ctx"].get("min_length", error["ctx"].get("max_length"))
            few = "at least" if error["type"] == "too_short" else "at most"
            return path, f"found {shown(error['input'])}, expected a list of {few} {bound}"
    message = str(error["msg"]).replace("Input should be ", "expected ")
    message = message.replace("a valid integer", "an integer").replace("a valid ", "a ")
    return path, f"found {shown(error['input'])}, {message[:1].lower()}{message[1:]}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys of the section at a location, read off the models."""
    model: Any = SpecSections
    for step in location:
        if not isinstance(step, str) or step not in model.model_fields:
            return []
        annotation = model.model_fields[step].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            (o for o in options if isinstance(o, type) and hasattr(o, "model_fields")), None
        )
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _resolved(sections: SpecSections, catalog: Catalog) -> Tree:
    """The spec with every default filled in, those of layers and optimizers included."""
    tree: Tree = sections.model_dump(by_alias=True, exclude={"schema_"})
    tree.pop("params")  # substituted by now
    for path, kind in COMPONENT_LISTS.items():
        value = _at(tree, path)
        if value is not None:
            value[:] = [filled(catalog, kind, item) for item in value]
    for path, kind in SINGLE_COMPONENTS.items():
        if _at(tree, path) is not None:
            tree["training"][path.split(".")[1]] = filled(catalog, kind, _at(tree, path))
    return tree


def filled(catalog: Catalog, kind: str, value: Any) -> Any:
    """A component with its arguments' defaults written out; short forms stay short."""
    if isinstance(value, str):
        return value
    ((name, arguments),) = value.items()
    component = catalog.find(kind, name)
    assert component is not None
    complete = {}
    for key, argument in component.arguments.items():
        if key in arguments or not argument.required:
            item = arguments.get(key, argument.default)
            complete[key] = _filled_argument(catalog, item, argument.fragment)
    return {component.alias_of or component.name: complete}


def _filled_argument(catalog: Catalog, value: Any, fragment: Tree) -> Any:
    options = fragment.get("anyOf", [fragment])
    if isinstance(value, dict):
        kind = next(str(o["$ref"]).rsplit("/", 1)[-1] for o in options if "$ref" in o)
        return filled(catalog, kind, value)
    if isinstance(value, list):
        items = next((o["items"] for o in options if "items" in o), {})
        return [_filled_argument(catalog, item, items) for item in value]
    return value


def difference(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """What differs between two resolved trees, a line each: `path: A here, B there`."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        lines = []
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            at = join(path, key)
            if key not in theirs:
                lines.append(f"{at}: {shown(mine[key])} here, absent there")
            elif key not in mine:
                lines.append(f"{at}: absent here, {shown(theirs[key])} there")
            else:
                lines.extend(difference(mine[key], theirs[key], at))
        return lines
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [
            line
            for index, (a, b) in enumerate(zip(mine, theirs, strict=True))
            for line in difference(a, b, join(path, index))
        ]
    if isinstance(mine, list) and isinstance(theirs, list):
        return [f"{path}: {len(mine)} items here, {len(theirs)} there"]
    return [] if mine == theirs else [f"{path}: {shown(mine)} here, {shown(theirs)} there"]
