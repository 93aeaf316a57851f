"""The allow-list and the checks of arguments: what fits each kind of value, and what is said."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures.naming import snake_case
from builders.argument_check import check_value, described, fits, is_type
from builders.argument_kinds import (
    BOOLEAN,
    DTYPE,
    FRACTION,
    MARGINS,
    NAME,
    NATURAL,
    NOTHING,
    NUMBER,
    POSITIVE,
    POSITIVE_NUMBER,
    STRING,
    UNIT_INTERVAL,
    array,
    component,
    either,
    enum,
    optional,
    pair,
)
from builders.catalog import (
    SHORT_FORM_KINDS,
    Catalog,
    Component,
    component_to_json,
    load_catalog,
)

CATALOG = load_catalog()


def said(value: Any, fragment: dict[str, Any]) -> list[str]:
    """What is said about a value; components are not looked into."""
    lines: list[str] = []
    check_value(value, fragment, "at", lambda path, message: lines.append(f"{path}: {message}"), _skip)  # fmt: skip
    return lines


def _skip(kind: str, value: Any, path: str) -> None:
    pass


def arguments() -> Iterator[tuple[str, Component, str, Any]]:
    """(kind, component, name, argument) of all that the catalog has."""
    for kind, components in CATALOG.kinds.items():
        for each in components.values():
            for name, argument in each.arguments.items():
                yield kind, each, name, argument


# --- fragments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fragment", "good", "bad", "words"),
    [
        (POSITIVE, [1, 2**31 - 1], [0, -1, 1.0, True, "1", None, [1]], "an integer >= 1"),
        (NATURAL, [0, 3], [-1, False, 0.0], "an integer >= 0"),
        (NUMBER, [0, -1.5, 3, 1e308], [True, "1", None, float("nan"), float("inf")], "a number"),
        (POSITIVE_NUMBER, [1e-9, 1], [0, 0.0, -1], "a number > 0"),
        (UNIT_INTERVAL, [0, 1, 0.5], [-0.1, 1.1], "a number >= 0 and <= 1"),
        (FRACTION, [0, 0.999], [1, -0.1], "a number >= 0 and < 1"),
        (BOOLEAN, [True, False], [0, 1, "true", None], "true or false"),
        (STRING, ["", "x"], [1, None], "a string"),
        (NOTHING, [None], [0, False, ""], "null"),
        (NAME, ["a", "A.b-c_9"], ["", "a b", "a\n", "_a", "a" * 129, "ä", 3],
         "a string of letters, digits, '_', '.' and '-'"),
        (enum("a", 1), ["a", 1], ["b", True, 1.0, "1", None], 'one of "a", 1'),
        (enum("a"), ["a"], ["b"], '"a"'),
        (pair(POSITIVE), [1, [1, 2]], [0, [1], [1, 2, 3], [1, 0], "1"],
         "an integer >= 1 or a list of 2 (an integer >= 1 each)"),
        (array(NUMBER, 1), [[1], [1, 2.5]], [[], 1, ["1"]], "a list of at least 1 (a number each)"),
        (array(NUMBER, 1, 3), [[1], [1, 2, 3]], [[], [1] * 4], "a list of 1 to 3 (a number each)"),
        (array(NUMBER), [[], [1]], [1], "a list (a number each)"),
        (MARGINS, [0, [1, 2], [[0, 1], [2, 3]], [1, [2, 3]]], [-1, [1], [[1], 2]],
         "an integer >= 0 or a list of 2 (an integer >= 0 or a list of 2 (an integer >= 0 each) each)"),
        (optional(BOOLEAN), [True, None], [0], "true or false or null"),
        (DTYPE, ["float32", None], ["float64", {}],
         'one of "float32", "mixed_bfloat16", "bfloat16" or null'),
        (component("activation"), ["relu", {}], [1, None, []], "an activation"),
        (either(NUMBER, component("schedule")), [1, {"a": 1}], [None, [1]], "a number or a schedule"),
        ({}, [None, 1, "x", [1], {"a": 1}], [], "a value"),
    ],
)  # fmt: skip
def test_every_kind_of_fragment(
    fragment: dict[str, Any], good: list[Any], bad: list[Any], words: str
) -> None:
    assert described(fragment) == words
    for value in good:
        assert fits(value, fragment)
        assert said(value, fragment) == []
    for value in bad:
        assert not fits(value, fragment)
        (line,) = said(value, fragment)
        assert line.startswith("at: found ")
        assert f", expected {words}" in line or float(value) != 0  # hidden limits, see below


def test_a_limit_that_all_integers_have_is_said_to_who_exceeds_it() -> None:
    assert said(0, POSITIVE) == ["at: found 0, expected an integer >= 1"]
    (line,) = said([2**31, 1], pair(POSITIVE))
    assert line.endswith("(an integer >= 1 and <= 2147483647 each)")


def test_types_are_those_of_json() -> None:
    values = {
        "integer": 3,
        "number": 2.5,
        "boolean": True,
        "string": "x",
        "null": None,
        "array": [],
        "object": {},
    }
    for kind in values:
        for other, value in values.items():
            expected = kind == other or (kind, other) == ("number", "integer")
            assert is_type(value, kind) == expected


def test_items_are_checked_where_they_stand() -> None:
    seen: list[tuple[str, Any, str]] = []
    fragment = optional(array(component("layer"), 1))
    value = [{"A": {}}, "B"]
    check_value(value, fragment, "at", pytest.fail, lambda *each: seen.append(each))
    assert seen == [("layer", {"A": {}}, "at[0]"), ("layer", "B", "at[1]")]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_every_value_fits_or_is_said_not_to(value: Any) -> None:
    for fragment in (NUMBER, MARGINS, NAME, enum(1, "a", None), optional(array(STRING)), {}):
        assert bool(said(value, fragment)) != fits(value, fragment)


# --- the catalog --------------------------------------------------------------------------------


def test_every_fragment_is_one_of_those_known() -> None:
    def check(fragment: dict[str, Any], where: str) -> None:
        if "anyOf" in fragment:
            assert set(fragment) == {"anyOf"}
            for option in fragment["anyOf"]:
                check(option, where)
        elif "enum" in fragment:
            assert fragment["enum"], where
        elif "$ref" in fragment:
            assert fragment["$ref"].removeprefix("#/$defs/") in CATALOG.kinds, where
        else:
            assert fragment["type"] in ("integer", "number", "boolean", "string", "null", "array")
            known = {"type", "items", "minItems", "maxItems", "minimum", "maximum", "pattern"}
            assert set(fragment) <= known | {"exclusiveMinimum", "exclusiveMaximum"}, where
            assert (fragment["type"] == "array") == ("items" in fragment)
            if "items" in fragment:
                check(fragment["items"], where)

    for kind, each, name, argument in arguments():
        check(argument.fragment, f"{kind} {each.name}.{name}")


def test_every_default_fits_its_own_fragment() -> None:
    """Otherwise a spec with its defaults filled in could not be read again."""
    for kind, each, name, argument in arguments():
        if not argument.required:
            lines: list[str] = []

            def report(path: str, message: str, lines: list[str] = lines) -> None:
                lines.append(f"{path}: {message}")

            check_value(
                argument.default,
                argument.fragment,
                f"{kind} {each.name}.{name}",
                report,
                lambda kind, value, path, report=report: CATALOG.check(kind, value, path, report),
            )
            assert lines == []


def test_no_argument_takes_just_anything() -> None:
    for kind, each, name, argument in arguments():
        assert not fits({"class_name": "x", "config": {}}, argument.fragment) or (
            "$ref" in json.dumps(argument.fragment)
        ), f"{kind} {each.name}.{name}"
        assert not fits(object(), argument.fragment)


def test_kinds_of_the_design_are_there() -> None:
    assert {"SSIM", "L1", "MSE", "MSSSIM", "BinaryCrossentropy", "KLDivergence", "Adversarial"} <= set(CATALOG.components("loss"))  # fmt: skip
    assert {"PSNR", "SSIM", "MSSSIM"} <= set(CATALOG.components("metric"))
    assert {"ColorSpace"} <= set(CATALOG.components("preprocessing"))
    assert {"Conv2D", "MaxPool2D", "Dense", "Flatten", "Residual"} <= set(CATALOG.components("layer"))  # fmt: skip
    assert not {"Lambda", "TFSMLayer", "Layer", "Wrapper"} & set(CATALOG.components("layer"))


def test_names_are_found_in_their_short_form_too() -> None:
    for kind in CATALOG.kinds:
        for name in CATALOG.components(kind):
            assert CATALOG.find(kind, name) is not None
            if kind in SHORT_FORM_KINDS:
                found = CATALOG.find(kind, snake_case(name))
                assert found is not None
                assert found.name == name
    assert CATALOG.find("layer", "conv2d") is None
    assert CATALOG.find("nothing", "x") is None


def test_an_alias_has_the_arguments_of_its_class() -> None:
    pooling = CATALOG.components("layer")["MaxPool2D"]
    assert pooling.alias_of == "MaxPooling2D"
    assert pooling.arguments == CATALOG.components("layer")["MaxPooling2D"].arguments
    assert "arguments" not in component_to_json(pooling)


def problems(catalog: Catalog, kind: str, value: Any) -> list[str]:
    """What is said about a component."""
    lines: list[str] = []
    catalog.check(kind, value, "at", lambda path, message: lines.append(f"{path}: {message}"))
    return lines


def test_everything_wrong_with_a_component_is_said_at_once() -> None:
    value = {
        "Conv2D": {
            "filter": 3,
            "kernel_size": "3",
            "activation": "rlu",
            "kernel_initializer": {"HeNormal": {"seed": -1}},
            "kernel_regularizer": {"L2": []},
        }
    }
    assert problems(CATALOG, "layer", value) == [
        'at.Conv2D: missing argument "filters"',
        'at.Conv2D: unknown argument "filter"; did you mean "filters"?',
        'at.Conv2D.kernel_size: found "3", expected an integer >= 1 or a list of 2 (an integer >= 1 each)',
        'at.Conv2D.activation: unknown activation "rlu"; did you mean "relu"?',
        "at.Conv2D.kernel_initializer.HeNormal.seed: found -1, expected an integer >= 0 or null",
        "at.Conv2D.kernel_regularizer.L2: found [], expected an object of arguments",
    ]  # fmt: skip


def test_paths_lead_through_nested_components() -> None:
    inner = {"SpectralNormalization": {"layer": {"Residual": {"layers": [{"Dense": {"unit": 3}}]}}}}
    assert problems(CATALOG, "layer", inner) == [
        'at.SpectralNormalization.layer.Residual.layers[0].Dense: missing argument "units"',
        'at.SpectralNormalization.layer.Residual.layers[0].Dense: unknown argument "unit"; '
        'did you mean "units"?',
    ]
    schedule = {"Adam": {"learning_rate": {"CosineDecay": {"decay_step": 1}}}}
    assert len(problems(CATALOG, "optimizer", schedule)) == 3


@pytest.fixture
def register() -> Iterator[Any]:
    """Registers a class with Keras for one test."""
    import keras

    import architectures

    architectures.register_all()  # what is imported later would be forgotten below
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    yield keras.saving.register_keras_serializable(package="test_catalog")
    registered.clear()
    registered.update(before)


def test_classes_of_ones_own_are_in_it_once_registered(register: Any) -> None:
    import keras

    from architectures.losses import ImageLoss
    from builders.errors import UserError

    class Shift(keras.layers.Layer):
        """Adds a number.

        Args:
            by: the number.
        """

        def __init__(
            self, by: float, table: dict[str, float] | None = None, other: Any = 1, *,
            odd: "object | None" = None, sizes: tuple[int, int] = (1, 2), **kwargs: Any,
        ) -> None:  # fmt: skip
            super().__init__(**kwargs)

    class Odd(ImageLoss):
        def __init__(self, settings: complex = 1j) -> None:
            super().__init__()

        def compare(self, x: Any, x_hat: Any) -> Any:
            return x

    assert load_catalog().find("layer", "Shift") is None
    register(Shift)
    found = load_catalog().find("layer", "Shift")
    assert found is not None
    assert (found.summary, found.origin) == ("Adds a number.", __name__.split(".", maxsplit=1)[0])
    assert found.arguments["by"].doc == "the number."
    names = {"by", "table", "other", "odd", "sizes", "name", "dtype", "trainable"}
    assert set(found.arguments) == names
    good = {"by": 2, "table": {"a": 1.5}, "other": 5, "odd": {"x": []}, "sizes": [3, 4]}
    assert problems(load_catalog(), "layer", {"Shift": good}) == []
    assert problems(load_catalog(), "layer", {"Shift": {"by": "2", "sizes": [3]}}) == [
        'at.Shift.by: found "2", expected a number',
        "at.Shift.sizes: found [3], expected a list of 2 (an integer each)",
    ]
    Shift.__init__.__annotations__["by"] = "OnlyForTypeCheckers"
    assert problems(load_catalog(), "layer", {"Shift": {"by": "x"}}) == []
    register(Odd)
    with pytest.raises(UserError, match=r"Odd: default 1j has no JSON form"):
        load_catalog()


@pytest.mark.parametrize("name", ["Conv2D", "MaxPool2D", "Residual"])
def test_a_name_that_is_taken_is_refused(register: Any, name: str) -> None:
    import keras

    from builders.errors import UserError

    register(type(name, (keras.layers.Layer,), {"__module__": "mine"}))
    with pytest.raises(UserError, match=f'mine.{name}: there is another layer "{name}"; register'):
        load_catalog()
