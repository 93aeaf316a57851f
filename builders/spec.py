"""JSON -> a validated, immutable Spec; every error has its path, and they come all at once."""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.catalog import Catalog, load_catalog
from builders.checks import check_spec
from builders.json_reader import read_json, tree_problems
from builders.latents import resolve_latents
from builders.overrides import set_value
from builders.params import substitute_params
from builders.places import LISTS, at, components, singles
from builders.problems import Problem, ProblemList, SpecError, join, shown
from builders.section_check import validate_sections
from builders.sections import DatasetSection, SpecSections, TrainingSection
from constants.defaults import SPEC_VERSION

Tree = dict[str, Any]

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


def architecture(tree: Tree) -> Tree:
    """The part of a resolved spec that decides the weights: its model and preprocessing sections.

    What is null is left out, so that a spec of before a field was there is the same as one that
    leaves the field at null.

    Args:
        tree: a resolved spec, or what this returned for one.
    """
    part = {key: tree[key] for key in ARCHITECTURE_KEYS if key in tree}
    found: Tree = without_nulls(part)
    generator = at(found, "model.layers.generator")
    if isinstance(generator, dict):
        generator.pop("quantizer", None)  # chosen when weights are there
    if isinstance(found.get("model"), dict):
        found["model"].pop("name", None)  # the same network may go on under another
    return found


def without_nulls(value: Any) -> Any:
    """A tree without the keys whose value is null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def architecture_digest(resolved: Tree) -> str:
    """SHA-256 of the architecture of a resolved spec, as canonical JSON."""
    text = json.dumps(architecture(resolved), sort_keys=True, separators=(",", ":"))
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
    problems = ProblemList(source)
    if not isinstance(tree, dict):
        message = f'found {shown(tree)}, expected an object: {{"model": {{...}}}}'
        raise SpecError([Problem("", message)], source)
    tree = _changed(tree, overrides or {}, source)
    upgrade(tree, problems)
    catalog = load_catalog()
    warnings = substitute_params(tree, problems)
    resolve_latents(tree, catalog, "training.latent_dims" in (overrides or {}), problems)
    sections = validate_sections(tree, problems)
    for kind, path, value in components(tree):
        catalog.check(kind, value, path, problems.add)
    if sections is not None:
        warnings += check_spec(sections, problems)
    problems.raise_if_any()
    assert sections is not None
    resolved = _resolved(sections, catalog)
    return Spec(
        source,
        SpecSections.model_validate(resolved),
        tuple(warnings),
        json.dumps(resolved, ensure_ascii=False),
    )


def _changed(tree: Tree, overrides: Mapping[str, Any], source: str) -> Tree:
    """A copy of the tree with values replaced; what is no JSON of bounded depth is refused."""
    odd = ProblemList(source)
    for path, value in (("", tree), *overrides.items()):
        for problem in tree_problems(value, path):
            odd.add(problem.path, problem.message)
    odd.raise_if_any()
    tree = copy.deepcopy(tree)
    for path, value in overrides.items():
        set_value(tree, path, copy.deepcopy(value))
    for problem in tree_problems(tree):  # a deep value at the end of a deep path
        raise SpecError([problem], source)
    return tree


def upgrade(tree: Tree, problems: ProblemList) -> None:
    """Brings a spec of an older grammar to the present one, in place.

    The original grammar has no version and nothing but `model`; it means the same today. A
    `discriminator` at the top is moved beside the generator, where the model's parts stand.
    """
    tree.setdefault("spec_version", SPEC_VERSION)
    if "discriminator" not in tree:
        return
    judge, layers = tree.pop("discriminator"), at(tree, "model.layers")
    if not isinstance(layers, dict):
        return  # an error of its own
    if "discriminator" in layers:
        problems.add("discriminator", "also stands at model.layers.discriminator; keep one of them")
    layers["discriminator"] = judge


def _resolved(sections: SpecSections, catalog: Catalog) -> Tree:
    """The spec with every default filled in, those of layers and optimizers included."""
    tree: Tree = sections.model_dump(by_alias=True, exclude={"schema_"})
    tree.pop("params")  # substituted by now
    for path, kind in LISTS.items():
        value = at(tree, path)
        if value is not None:
            value[:] = [filled(catalog, kind, item) for item in value]
    for kind, _, holder, key in singles(tree):
        if holder[key] is not None:
            holder[key] = filled(catalog, kind, holder[key])
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
        kinds = [str(option["$ref"]).rsplit("/", 1)[-1] for option in options if "$ref" in option]
        return filled(catalog, kinds[0], value) if kinds else value
    if isinstance(value, list):
        items: Tree = next((o["items"] for o in options if "items" in o), {})
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
