"""The files made from the code: that they are current, and what the schema says to an editor."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from builders.generate import ROOT, SCHEMA_PATH, generated_files
from builders.problems import SpecError
from builders.spec import parse_spec
from tests.builders.spec_trees import (
    DECODER,
    ENCODER,
    SAMPLES,
    FromCatalog,
    plausible,
    rich,
    sample,
    tiny,
)

SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_generated_files_are_current() -> None:
    for path, text in generated_files().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.relative_to(ROOT)} is not what the code says: run python -m builders.generate"
        )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_sample_models_fit_the_schema(path: Path) -> None:
    tree = sample(path)
    VALIDATOR.validate(tree)
    assert (path.parent / tree["$schema"]).resolve() == SCHEMA_PATH
    VALIDATOR.validate(parse_spec(tree).resolved())


@pytest.mark.parametrize("tree", [tiny(), rich()], ids=["tiny", "rich"])
def test_parameters_fit_wherever_a_value_may_stand(tree: dict[str, Any]) -> None:
    VALIDATOR.validate(tree)
    tree.setdefault("params", {}).update(n=8, flag=True)
    tree["dataset"] = {"crop": ["$n", "$n"], "flip": "$flag", "workers": "$n"}
    tree["training"]["batch_size"] = "$n"
    VALIDATOR.validate(tree)
    parse_spec(tree)


@pytest.mark.parametrize(
    "changes",
    [
        {f"{ENCODER}[0].Conv2D.filter": 3},
        {f"{ENCODER}[0].Conv2D.filters": "3"},
        {f"{ENCODER}[0].Conv2D.activation": "rel"},
        {f"{ENCODER}[0]": {"Lambda": {"function": "x"}}},
        {f"{ENCODER}[0]": {"Residual": {"layers": [{"Lambda": {"function": "x"}}]}}},
        {f"{ENCODER}[0]": {"Flatten": {}, "Identity": {}}},
        {f"{DECODER}[1]": {"Reshape": {}}},
        {"training.epoch": 3},
        {"training.epochs": 0},
        {"training.precision": "float16"},
        {"training.optimizer": {"Adm": {}}},
        {"loss": [{"L2": {}}]},
        {"loss": []},
        {"dataset.resize": [8]},
        {"nonsense": 1},
        {"model.name": "a b"},
        {"spec_version": 2},
    ],
    ids=str,
)
def test_an_editor_finds_what_the_parser_finds(changes: dict[str, Any]) -> None:
    from builders.overrides import set_value

    tree = copy.deepcopy(tiny())
    for path, value in changes.items():
        set_value(tree, path, value)
    with pytest.raises(SpecError):
        parse_spec(tree)
    assert not VALIDATOR.is_valid(tree)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(plausible(FromCatalog()))
def test_what_the_parser_takes_fits_the_schema(tree: Any) -> None:
    try:
        spec = parse_spec(tree)
    except SpecError:
        return
    VALIDATOR.validate(tree)
    VALIDATOR.validate(spec.resolved())


def test_the_page_names_every_component() -> None:
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    for kind, components in json.loads((ROOT / "builders" / "catalog.json").read_text())["kinds"].items():  # fmt: skip
        for name in components:
            assert f"`{name}`" in page, f"{kind} {name}"


def test_the_spec_on_the_page_is_sound() -> None:
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    parse_spec(example)
    VALIDATOR.validate(example)
