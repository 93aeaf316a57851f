"""`--set`, parameters, and the flags that stand for a value of the spec."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.errors import UserError
from builders.flags import spec_overrides
from builders.overrides import parse_assignment, parse_path, set_value
from builders.params import substitute_params
from builders.problems import ProblemList, SpecError
from builders.spec import Spec, load_spec, parse_spec
from tests.builders.spec_trees import deep, tiny
from train import FLAG_PATHS, build_parser

LATENTS = "model.layers.generator.layers.encoder.layers[2].Dense"


# --- paths and values ---------------------------------------------------------------------------


def test_paths() -> None:
    assert parse_path("training.batch_size") == ["training", "batch_size"]
    assert parse_path("a[10].Conv2D.x_y[0][1]") == ["a", 10, "Conv2D", "x_y", 0, 1]


@pytest.mark.parametrize("path", ["", ".a", "[0]", "a..b", "a.", "a[", "a[x]", "a[-1]", "a b", "ä"])
def test_malformed_paths(path: str) -> None:
    with pytest.raises(UserError, match=r"^--set: .*expected e\.g\. training\.batch_size"):
        parse_path(path)


def test_paths_no_spec_can_have() -> None:
    with pytest.raises(UserError, match="has over 64 steps"):
        parse_path(".".join("a" * 5000))
    with pytest.raises(UserError, match="is not a path"):
        parse_path(f"a[{'9' * 5000}]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        (" a.b =0.5", 0.5),
        ("a.b=true", True),
        ("a.b=null", None),
        ('a.b="3"', "3"),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=", ""),
        ("a.b=rgb", "rgb"),
        ("a.b=c=d", "c=d"),
        ('a.b={"x"', '{"x"'),
        # not JSON, although Python's parser would take it:
        ("a.b=NaN", "NaN"),
        ("a.b=-Infinity", "-Infinity"),
        ("a.b=1e999", "1e999"),
        ('a.b={"x": 1, "x": 2}', '{"x": 1, "x": 2}'),
        ("a.b=" + "[" * 3000, "[" * 3000),
        ("a.b=" + "1" * 6000, "1" * 6000),
    ],
)
def test_values_are_json_or_else_text(text: str, value: Any) -> None:
    path, found = parse_assignment(text)
    assert path == "a.b"
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["training", "", "=3", "  =3"])
def test_assignments_need_both_sides(text: str) -> None:
    with pytest.raises(UserError, match="expected PATH=VALUE"):
        parse_assignment(text)


def test_values_are_set_and_objects_made_on_the_way() -> None:
    tree: dict[str, Any] = {"a": [{"b": 1}], "n": None}
    set_value(tree, "a[0].b", 2)
    set_value(tree, "a[0].c.d", 3)
    set_value(tree, "n.x", 4)  # null is nothing
    set_value(tree, "new.y", 5)
    set_value(tree, "a[0].e", None)
    assert tree == {"a": [{"b": 2, "c": {"d": 3}, "e": None}], "n": {"x": 4}, "new": {"y": 5}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("list[2]", r"--set list\[2\]: list\[2\] does not exist; list has 2 items, counted from \[0\]"),
        ("list.x", r"--set list\.x: list is a list; its items go by position: list\[0\]"),
        ("number.x", r"--set number\.x: number is no object; found 3"),
        ("number[0]", r"number is no list; found 3"),
        ("object.nmae.x", r'object\.nmae does not exist; did you mean "name"\?'),
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(path: str, message: str) -> None:
    tree = {"list": [1, 2], "number": 3, "object": {"name": {}}}
    with pytest.raises(UserError, match=message):
        set_value(tree, path, 1)


@given(st.text(alphabet="ab[].019=\"{}$ '\\\n"), st.sampled_from([{}, {"a": [1, {"b": {}}]}]))
def test_no_assignment_gives_a_traceback(text: str, tree: dict[str, Any]) -> None:
    tree = json.loads(json.dumps(tree))
    try:
        path, value = parse_assignment(text)
        set_value(tree, path, value)
    except UserError as error:
        assert str(error).startswith("--set")
        assert "\n" not in str(error)


def test_a_deep_value_at_the_end_of_a_deep_path_is_refused() -> None:
    path = ".".join(["a"] * 40)
    with pytest.raises(SpecError, match="nested too deep; at most 64 levels"):
        parse_spec(tiny(), overrides={path: deep(40)})
    with pytest.raises(SpecError, match="nested too deep"):
        parse_spec(tiny(), overrides={"a": deep(100_000)})
    with pytest.raises(SpecError, match=r"training\.seed: found nan, expected a finite number"):
        parse_spec(tiny(), overrides={"training.seed": float("nan")})


# --- parameters ---------------------------------------------------------------------------------


def test_parameters_take_their_value_everywhere() -> None:
    tree: dict[str, Any] = {
        "params": {"n": 3, "s": "same", "z": None},
        "model": {"a": ["$n", {"b": "$s"}], "c": "$z", "$n": "x$n"},
        "training": "$n",
    }
    problems = ProblemList()
    assert substitute_params(tree, problems) == []
    assert not problems.items
    assert tree["model"] == {"a": [3, {"b": "same"}], "c": None, "$n": "x$n"}  # keys stay
    assert tree["training"] == 3


def test_unknown_unused_and_nested_parameters() -> None:
    tree: dict[str, Any] = {
        "params": {"width": 3, "spare": 1, "list": [1], "again": "$width", "": 2, "odd key": 1},
        "a": "$widht",
        "b": ["$list", "$again", "$"],
    }
    problems = ProblemList()
    warnings = substitute_params(tree, problems)
    assert [str(problem) for problem in problems.items] == [
        "params.list: found [1], expected a number, a string, true, false or null",
        'params.again: found "$width", expected a number, a string, true, false or null',
        'a: found "$widht", but there is no such parameter; did you mean "width"?',
    ]
    assert warnings == [
        'params.width is used nowhere: no value is "$width"',
        'params.spare is used nowhere: no value is "$spare"',
        'params["odd key"] is used nowhere: no value is "$odd key"',
    ]


def test_one_slip_in_a_parameter_is_one_message() -> None:
    tree = tiny()
    layers = tree["model"]["layers"]["generator"]["layers"]["encoder"]["layers"]
    layers[0]["Conv2D"].update(filters="$f", strides=["$s", 2], use_bias="$list")
    tree["params"] = {"list": []}
    with pytest.raises(SpecError) as error:
        parse_spec(tree)
    first = "model.layers.generator.layers.encoder.layers[0].Conv2D"
    assert [str(problem) for problem in error.value.problems] == [
        "params.list: found [], expected a number, a string, true, false or null",
        f'{first}.filters: found "$f", but there is no such parameter; known: "list"',
        f'{first}.strides[0]: found "$s", but there is no such parameter; known: "list"',
    ]


# --- flags --------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def _write(**sections: Any) -> Path:
        path = tmp_path / "model.json"
        path.write_text(json.dumps(tiny(**sections)))
        return path

    return _write


def with_flags(path: Path, *argv: str) -> Spec:
    flags = build_parser().parse_args([f"--model={path}", *argv])
    return load_spec(path, spec_overrides(flags, path, FLAG_PATHS))


def test_flags_change_the_spec(write: Any) -> None:
    spec = with_flags(
        write(),
        *("--batch_size=4", "--epochs=2", "--latent_dims=7", "--seed=5", "--precision=float32"),
        *("--dataset=mnist", "--tfds=yes"),
    )
    training = spec.training
    assert (training.batch_size, training.epochs, training.seed) == (4, 2, 5)
    assert (training.latent_dims, training.precision) == (7, "float32")
    assert (spec.dataset.name, spec.dataset.tfds) == ("mnist", True)
    encoder = spec.sections.model.layers.generator.layers.encoder.layers
    assert encoder[2]["Dense"]["units"] == 7


def test_without_flags_the_spec_counts(write: Any) -> None:
    spec = with_flags(write(training={"batch_size": 3, "latent_dims": 4}))
    assert (spec.training.batch_size, spec.training.latent_dims) == (3, 4)


def test_set_changes_any_value_and_flags_win(write: Any) -> None:
    spec = with_flags(
        write(),
        *("--set", "training.batch_size=8", "--set=dataset.crop=[8, 8]", "--set=model.name=Mine"),
        *("--set", f"{LATENTS}.activation=tanh", "--set=training.epochs=9", "--epochs=2"),
    )
    assert (spec.training.batch_size, spec.training.epochs, spec.name) == (8, 2, "Mine")
    assert spec.dataset.crop == [8, 8]
    encoder = spec.sections.model.layers.generator.layers.encoder.layers
    assert encoder[2]["Dense"]["activation"] == "tanh"


def test_the_later_of_two_settings_counts(write: Any) -> None:
    spec = with_flags(
        write(),
        *("--set=training.optimizer.SGD.momentum=0.5", '--set=training.optimizer={"SGD": {}}'),
        *("--set=training.batch_size=3", "--set=training.batch_size=4"),
        "--set=training.optimizer.SGD.nesterov=true",
    )
    assert spec.training.batch_size == 4
    arguments = spec.training.optimizer["SGD"]
    assert (arguments["momentum"], arguments["nesterov"]) == (0.0, True)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (None, "Adam"),
        ({"SGD": {"momentum": 0.9}}, "SGD"),
        ({"AdamW": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 1.0, "decay_steps": 9}}}}, "AdamW"),
    ],
)  # fmt: skip
def test_learning_rate_goes_to_the_optimizer_of_the_spec(
    write: Any, optimizer: Any, name: str
) -> None:
    training = {} if optimizer is None else {"optimizer": optimizer}
    ((found, arguments),) = with_flags(
        write(training=training), "--learning_rate=0.25"
    ).training.optimizer.items()
    assert (found, arguments["learning_rate"]) == (name, 0.25)
    if name == "SGD":
        assert arguments["momentum"] == 0.9


@pytest.mark.parametrize(
    "setting",
    ['training.optimizer={"SGD": {"momentum": 0.9}}', 'training={"optimizer": {"SGD": {"momentum": 0.9}}}'],
)  # fmt: skip
def test_learning_rate_goes_to_the_optimizer_that_set_chose(write: Any, setting: str) -> None:
    spec = with_flags(write(), f"--set={setting}", "--learning_rate=0.25")
    arguments = spec.training.optimizer["SGD"]
    assert (arguments["learning_rate"], arguments["momentum"]) == (0.25, 0.9)


def test_learning_rates_that_are_none(write: Any) -> None:
    for value in ("0", "-1", "nan", "inf"):
        with pytest.raises(SpecError, match=r"training\.optimizer.*learning_rate: found"):
            with_flags(write(), f"--learning_rate={value}")


def test_alpha(write: Any) -> None:
    def loss(path: Path, *argv: str) -> Any:
        return with_flags(path, "--alpha=0.5", *argv).sections.loss

    path = write()
    tree = json.loads(path.read_text())
    del tree["loss"]
    path.write_text(json.dumps(tree))
    assert loss(path)[0]["SSIML1"]["alpha"] == 0.5
    terms = loss(write(loss=[{"L1": {}}, {"SSIML1": {"filter_size": 7}}]))
    assert (terms[1]["SSIML1"]["alpha"], terms[1]["SSIML1"]["filter_size"]) == (0.5, 7)
    assert loss(write(), '--set=loss=[{"SSIML1": {}}]')[0]["SSIML1"]["alpha"] == 0.5


def test_alpha_is_refused_where_it_has_no_meaning(write: Any) -> None:
    with pytest.raises(UserError, match=r"--alpha weighs.*SSIML1.*its loss is L1, MSE"):
        with_flags(write(loss=[{"L1": {}}, {"MSE": {}}]), "--alpha=0.5")
    two = [{"SSIML1": {"name": "a"}}, {"SSIML1": {"name": "b"}}]
    with pytest.raises(
        UserError, match=r"2 SSIML1 terms; name one: --set loss\[0\]\.SSIML1\.alpha"
    ):
        with_flags(write(loss=two), "--alpha=0.5")


def test_latent_dims_is_refused_where_it_has_no_effect(write: Any) -> None:
    path = write()
    for units, has in ((9, "that layer has 9"), (None, "there is no such layer")):
        tree = tiny()
        dense = tree["model"]["layers"]["generator"]["layers"]["encoder"]["layers"][2]["Dense"]
        dense["units"] = 9
        if units is None:
            del dense["name"]
        path.write_text(json.dumps(tree))
        assert with_flags(path).name  # the section's value alone is no error
        with pytest.raises(SpecError, match=rf"training\.latent_dims: 70 has no effect.*{has}"):
            with_flags(path, "--latent_dims=70")
    dense["name"] = "compressed_representation"
    path.write_text(json.dumps(tree))
    assert with_flags(path, "--latent_dims=9").name  # says what the spec says


@pytest.mark.parametrize("argv", [["--learning_rate=0.1"], ["--alpha=0.1"], ["--epochs=3"], []])
@pytest.mark.parametrize(
    "tree", [3, [], {}, {"training": 3}, {"training": {"optimizer": 3}}, {"loss": 3}, {"loss": [3]}]
)
def test_flags_on_a_broken_spec_leave_the_word_to_the_spec(
    tmp_path: Path, argv: list[str], tree: Any
) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError):
        with_flags(path, *argv)


@pytest.mark.parametrize("argv", [["--learning_rate=0.1"], ["--alpha=0.1"], []])
def test_flags_on_a_missing_spec(tmp_path: Path, argv: list[str]) -> None:
    with pytest.raises(UserError, match="can't be read: No such file"):
        with_flags(tmp_path / "none.json", *argv)


def test_namespaces_of_other_commands_do(write: Any) -> None:
    path = write()
    flags = argparse.Namespace(batch_size=4)
    assert spec_overrides(flags, path, {"batch_size": "training.batch_size"}) == {
        "training.batch_size": 4
    }
