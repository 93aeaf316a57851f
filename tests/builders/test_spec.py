"""The spec: what it says when something is wrong, its defaults, and that no input breaks it."""

import copy
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.errors import UserError
from builders.json_reader import parse_json
from builders.problems import SpecError
from builders.spec import Spec, architecture_digest, difference, load_spec, parse_spec
from constants import defaults
from tests.builders.spec_trees import (
    DECODER,
    ENCODER,
    SAMPLES,
    VALUES,
    FromCatalog,
    bases,
    deep,
    mutants,
    places,
    plausible,
    rich,
    sample,
    tiny,
)

ROOT = Path(__file__).resolve().parents[2]


def problems(tree: Any, changes: dict[str, Any] | None = None) -> list[str]:
    """What is said about a spec, a line each."""
    with pytest.raises(SpecError) as error:
        parse_spec(tree, "model.json", changes)
    head, *lines = str(error.value).splitlines()
    assert head == f"model.json: {len(lines)} problem{'s' if len(lines) != 1 else ''}"
    assert lines == [f"  {problem}" for problem in error.value.problems]
    return [line.strip() for line in lines]


def encoder_of(tree: dict[str, Any]) -> list[Any]:
    """The encoder's layers."""
    layers: list[Any] = tree["model"]["layers"]["generator"]["layers"]["encoder"]["layers"]
    return layers


# --- messages -----------------------------------------------------------------------------------


def test_the_line_of_the_contract() -> None:
    tree = sample(ROOT / "models" / "model.json")
    encoder_of(tree).insert(1, {"Conv2D": {"filters": 2, "filter": 3, "kernel_size": 3}})
    assert problems(tree) == [
        "model.layers.generator.layers.encoder.layers[1].Conv2D: "
        'unknown argument "filter"; did you mean "filters"?'
    ]


LAYER = f"{ENCODER}[0].Conv2D"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # components
        ({f"{ENCODER}[0]": {"Conv2d": {}}}, f'{ENCODER}[0]: unknown layer "Conv2d"; did you mean "Conv2D"?'),
        ({f"{ENCODER}[0]": {"SSIML1": {}}}, f'{ENCODER}[0]: unknown layer "SSIML1"; that is a loss'),
        ({f"{ENCODER}[0]": {"x" * 500: {}}}, f'{ENCODER}[0]: unknown layer "{"x" * 55}..."'),
        ({f"{ENCODER}[0]": "Flatten"}, f'{ENCODER}[0]: found "Flatten", expected {{"Layer name": {{arguments}}}}'),
        ({f"{ENCODER}[0]": {}}, f'{ENCODER}[0]: found {{}}, expected {{"Layer name": {{arguments}}}}'),
        ({f"{ENCODER}[1].Flatten": None}, f"{ENCODER}[1].Flatten: found null, expected an object of arguments"),
        ({f"{ENCODER}[1].Identity": {}}, f'{ENCODER}[1]: found {{"Flatten": {{}}, "Identity": {{}}}}, expected {{"Layer name": {{arguments}}}}'),
        ({LAYER: {"filters": 3}}, f'{LAYER}: missing argument "kernel_size"'),
        ({f"{ENCODER}[1].Flatten.$odd": 3}, f'{ENCODER}[1].Flatten: unknown argument "$odd"; known: "data_format", "dtype", "name", "trainable"'),
        ({f"{LAYER}.activation": "leakyrelu"}, f'{LAYER}.activation: unknown activation "leakyrelu"; did you mean "leaky_relu"?'),
        ({f"{LAYER}.activation": 3}, f"{LAYER}.activation: found 3, expected an activation or null"),
        ({f"{LAYER}.activation": ["relu"]}, f'{LAYER}.activation: found ["relu"], expected an activation or null'),
        ({f"{LAYER}.activation": {}}, f'{LAYER}.activation: found {{}}, expected the name of an activation, such as "relu"'),
        ({f"{LAYER}.kernel_initializer": {"HeNormal": {"sed": 1}}}, f'{LAYER}.kernel_initializer.HeNormal: unknown argument "sed"; did you mean "seed"?'),
        ({f"{LAYER}.kernel_initializer": {"a": 1, "b": 2}}, f'{LAYER}.kernel_initializer: found {{"a": 1, "b": 2}}, expected a name or {{"Initializer name": {{arguments}}}}'),
        # values
        ({f"{LAYER}.filters": "20"}, f'{LAYER}.filters: found "20", expected an integer >= 1'),
        ({f"{LAYER}.filters": 0}, f"{LAYER}.filters: found 0, expected an integer >= 1"),
        ({f"{LAYER}.filters": True}, f"{LAYER}.filters: found true, expected an integer >= 1"),
        ({f"{LAYER}.filters": 2.0}, f"{LAYER}.filters: found 2.0, expected an integer >= 1"),
        ({f"{LAYER}.filters": 2**40}, f"{LAYER}.filters: found 1099511627776, expected an integer >= 1 and <= 2147483647"),
        ({f"{LAYER}.kernel_size": [3, 3, 3]}, f"{LAYER}.kernel_size: found [3, 3, 3], expected an integer >= 1 or a list of 2 (an integer >= 1 each)"),
        ({f"{LAYER}.padding": "Same"}, f'{LAYER}.padding: found "Same", expected one of "valid", "same"'),
        ({f"{LAYER}.use_bias": 1}, f"{LAYER}.use_bias: found 1, expected true or false"),
        ({f"{LAYER}.name": "a/b"}, f"{LAYER}.name: found \"a/b\", expected a string of letters, digits, '_', '.' and '-' or null"),
        ({f"{LAYER}.name": "a\n"}, f"{LAYER}.name: found \"a\\n\", expected a string of letters, digits, '_', '.' and '-' or null"),
        # sections
        ({"lose": []}, 'unknown key "lose"; did you mean "loss"?'),
        ({"training.epoch": 3}, 'training: unknown key "epoch"; did you mean "epochs"?'),
        ({"training.epochs": "3"}, 'training.epochs: found "3", expected an integer'),
        ({"training.batch_size": 0}, "training.batch_size: found 0, expected a number >= 1"),
        ({"training.precision": "float16"}, 'training.precision: found "float16", expected "auto", "float32" or "mixed_bfloat16"; did you mean "float32"?'),
        ({"training": []}, "training: found [], expected an object"),
        ({"training.optimizer": None}, 'training.optimizer: found null, expected {"Optimizer name": {arguments}}'),
        ({"dataset.flip": "yes"}, 'dataset.flip: found "yes", expected true or false'),
        ({"dataset.resize": [8]}, "dataset.resize: found [8], expected a list of 2 or more items"),
        ({"dataset.name": ""}, 'dataset.name: found "", expected a string of 1 or more characters'),
        ({"dataset.validation_fraction": 1}, "dataset.validation_fraction: found 1, expected a number < 1"),
        ({"model.name": "my model"}, "model.name: found \"my model\", expected a name: up to 128 letters, digits, '_', '.' and '-', the first a letter or digit"),
        ({"model.layers.inputs": []}, "model.layers.inputs: found [], expected a list of 1 or more items"),
        ({"model.layers.generator.layers.decoder": {}}, 'model.layers.generator.layers.decoder: missing key "layers"'),
        ({"spec_version": 2}, "spec_version: found 2, expected 1"),
        ({"params": 3}, "params: found 3, expected an object"),
        ({"loss": []}, "loss: found [], expected a list of 1 or more items"),
        ({"preprocessing": None}, "preprocessing: found null, expected a list"),
        # latents
        ({f"{LAYER}.filters": None}, f'{LAYER}.filters: found null, expected a number; null is for the encoder\'s layer named "compressed_representation" alone, and this one has no name'),
        ({f"{DECODER}[0].Dense": {"units": None, "name": "compressed_representation"}}, f'{DECODER}[0].Dense.units: found null, expected a number; null is for the encoder\'s layer named "compressed_representation" alone, and this one is named "compressed_representation"'),
        ({f"{ENCODER}[0]": {"Residual": {"layers": [{"Dense": {"units": None}}]}}}, f'{ENCODER}[0].Residual.layers[0].Dense.units: found null, expected a number; null is for the encoder\'s layer named "compressed_representation" alone, and this one has no name'),
        # rules across fields
        ({"loss": [{"L1": {}}, {"Adversarial": {}}]}, 'loss[1].Adversarial: needs a discriminator: add "discriminator": {"layers": [...]} beside "generator"'),
        ({"discriminator": {"layers": [{"Dense": {"units": 1}}]}}, 'model.layers.discriminator: has no loss term to train with: add {"Adversarial": {"weight": 0.01}} to "loss"'),
        ({"training.discriminator_optimizer": {"Adam": {}}}, "training.discriminator_optimizer: there is no discriminator to optimize"),
        ({"loss": [{"KLDivergence": {}}]}, "loss[0].KLDivergence: needs a posterior: a GaussianLatent layer in the encoder"),
        ({"loss": [{"L1": {}}, {"L1": {}}]}, 'loss[1].L1: stands at [0] already; drop one, or tell them apart with a "name" each'),
        ({"model.layers.inputs": [{"Input": {"shape": [8, 8, 2]}}]}, "model.layers.inputs[0].Input.shape[2]: found 2, expected 1 (grayscale), 3 (RGB) or 4 (RGBA) channels"),
        ({"dataset.crop": [9, 8]}, "dataset.crop: gives [9, 8] pixels, the model's input takes [8, 8]"),
        ({"dataset.color": "rgb"}, 'dataset.color: "rgb" gives 3 channels, the model\'s input takes 1'),
        ({f"{LAYER}.name": "a", f"{ENCODER}[1].Flatten.name": "a"}, f'{ENCODER}[1].Flatten.name: found "a", which is layers[0] already; names are unique in a stack'),
    ],
)  # fmt: skip
def test_one_slip_is_one_clear_line(changes: dict[str, Any], expected: str) -> None:
    assert problems(tiny(), changes) == [expected]


def test_two_fractions_leave_something_to_train_on() -> None:
    fractions = {"dataset.validation_fraction": 0.5, "dataset.test_fraction": 0.5}
    (line,) = problems(tiny(), fractions)
    assert line.startswith("dataset: validation_fraction + test_fraction = 1, expected under 1")


@pytest.mark.parametrize("tree", [None, 3, "x", [], [{}], True])
def test_a_spec_is_an_object(tree: Any) -> None:
    (line,) = problems(tree)
    assert line == f'found {json.dumps(tree)}, expected an object: {{"model": {{...}}}}'


def test_all_errors_come_at_once() -> None:
    tree = tiny(foo=1, loss=[{"L1": {"wait": 2}}, {"Adversarial": {}}])
    tree["training"]["seed"] = -1
    encoder_of(tree)[0]["Conv2D"].update(filters=None, paddin="same")
    encoder_of(tree)[1] = {"Flaten": {}}
    tree["model"]["layers"]["inputs"][0]["Input"]["shape"] = [8, 8, 7]
    found = problems(tree)
    assert len(found) == 6
    assert {line.split(": ")[0] for line in found} == {
        'unknown key "foo"; known',
        "training.seed",
        "loss[0].L1",
        f"{ENCODER}[0].Conv2D",
        f"{ENCODER}[0].Conv2D.filters",
        f"{ENCODER}[1]",
    }
    del tree["foo"], tree["training"]["seed"]  # with sound sections, rules across fields run too
    found = problems(tree)
    assert "loss[1].Adversarial: needs a discriminator" in "\n".join(found)
    assert "Input.shape[2]: found 7" in "\n".join(found)
    assert len(found) == 6


def test_a_rule_keeps_silent_where_a_misspelling_may_be_its_cause() -> None:
    tree = rich()
    tree["loss"][3] = {"Adversaial": {}}
    encoder_of(tree)[4] = {"GausianLatent": {"units": 3}}
    assert [line.split(": ")[1][:14] for line in problems(tree)] == [
        "unknown layer ",
        'unknown loss "',
    ]


def test_odd_keys_stay_on_one_line() -> None:
    tree = {"model": {"a.b\n\x1b[31m": 1, "layers": {"": {}}}, "\u202e": 2, "x" * 5000: 3}
    for line in problems(tree):
        assert len(line) < 400
        assert line.isprintable()


def test_half_characters_and_huge_numbers_in_a_tree() -> None:
    assert problems(tiny(dataset={"name": "\ud800"})) == [
        'dataset.name: half a surrogate pair is no character: "\\ud800"'
    ]
    assert "which is too large" in problems(tiny(dataset={"name": 10**5000}))[0]
    assert "nested too deep" in problems(tiny(dataset=deep(100_000)))[0]


@pytest.mark.parametrize(
    "broken",
    [
        {"X": {}},
        "$nothing",
        {"Conv2D": {"filters": "$nothing", "kernel_size": ["$nothing"]}},
        {"Dense": {"units": None}},
        {"Flatten": {"name": "same"}},
        {"a" * 20: 1, "b": 2},
    ],
    ids=str,
)
def test_thousands_of_slips_are_answered_quickly_and_briefly(broken: Any) -> None:
    tree = tiny()
    encoder_of(tree)[:1] = [broken] * (900_000 // len(json.dumps(broken)))  # a file of 1 MB
    start = time.perf_counter()
    with pytest.raises(SpecError) as error:
        parse_spec(tree, "model.json")
    assert time.perf_counter() - start < 30  # a step for each pair of slips would take hours
    lines = str(error.value).splitlines()
    assert lines[0] == "model.json: 100 problems, and maybe more behind them"
    assert len(lines) == 101


# --- nothing in a spec runs code ----------------------------------------------------------------

NO_CODE = [
    {"Lambda": {"function": "lambda x: x"}},
    {"TFSMLayer": {"filepath": "/tmp/model"}},
    {"TorchModuleWrapper": {"module": "x"}},
    {"JaxLayer": {"call_fn": "x"}},
    {"FlaxLayer": {"module": "x"}},
    {"keras.layers>Lambda": {}},
    {"keras.layers.Lambda": {}},
    {"keras.src.layers.core.lambda_layer.Lambda": {}},
    {"Wrapper": {"layer": {"Flatten": {}}}},
    {"os.system": {}},
    {"builtins>eval": {}},
    {"Encoder": {"stack": []}},
    {"ImageCompressor": {}},
    {"RNN": {"cell": {}}},
    {"class_name": "Lambda", "config": {"function": "x"}},
    {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None},
    {"class_name": {"Lambda": {}}},
    {"__lambda__": {"code": "x"}},
]


@pytest.mark.parametrize("layer", NO_CODE, ids=str)
@pytest.mark.parametrize("inside", ["", "Residual", "SpectralNormalization", "both"])
def test_layers_that_run_code_are_refused(layer: dict[str, Any], inside: str) -> None:
    where = f"{ENCODER}[0]"
    if inside in ("SpectralNormalization", "both"):
        layer = {"SpectralNormalization": {"layer": layer}}
    if inside in ("Residual", "both"):
        layer = {"Residual": {"layers": [layer]}}
    (line,) = problems(tiny(), {where: layer})
    assert line.startswith(where)
    assert ": unknown layer " in line or " runs code" in line or ", expected {" in line


@pytest.mark.parametrize(
    "value",
    [
        "keras.activations.relu",
        "os.system",
        "lambda x: x",
        "__import__('os')",
        {"class_name": "function", "config": "system", "module": "os", "registered_name": None},
        {"class_name": "__lambda__", "config": {"value": "eA=="}},
        {"Lambda": {}},
        {"module": "os"},
        {"$name": 1},
        ["os", "system"],
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "argument",
    ["activation", "kernel_initializer", "kernel_regularizer", "bias_constraint", "dtype"],
)
def test_no_argument_names_code(argument: str, value: Any) -> None:
    (line,) = problems(tiny(), {f"{LAYER}.{argument}": value})
    assert line.startswith(f"{LAYER}.{argument}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("loss", [{"keras.losses>MeanSquaredError": {}}]),
        ("loss", ["mse"]),
        ("training.metrics", [{"MeanMetricWrapper": {"fn": "x"}}]),
        ("training.optimizer", {"class_name": "Adam", "config": {}}),
        ("training.optimizer", "adam"),
        ("training.optimizer", {"MultiOptimizer": {}}),
        ("training.optimizer", {"LossScaleOptimizer": {"inner_optimizer": {"Adam": {}}}}),
        ("training.optimizer", {"Adam": {"learning_rate": {"LearningRateSchedule": {}}}}),
        ("training.optimizer", {"Adam": {"learning_rate": "os.system"}}),
        ("preprocessing", [{"Lambda": {}}]),
        ("preprocessing", [{"Preprocessing": {}}]),
    ],
)
def test_no_other_component_names_code(place: str, value: Any) -> None:
    for line in problems(tiny(), {place: value}):
        assert line.startswith(place)


def test_parameters_carry_no_components() -> None:
    tree = tiny(params={"layer": {"Lambda": {}}, "name": "Lambda"})
    encoder_of(tree)[0] = "$layer"
    assert problems(tree) == [
        'params.layer: found {"Lambda": {}}, expected a number, a string, true, false or null'
    ]
    encoder_of(tree)[0] = "$name"
    tree["params"]["layer"] = 1
    assert problems(tree) == [
        f'{ENCODER}[0]: found "Lambda", expected {{"Layer name": {{arguments}}}}'
    ]


# --- what a sound spec becomes ------------------------------------------------------------------


def test_a_spec_with_only_a_model_gets_the_defaults() -> None:
    tree = tiny()
    del tree["loss"], tree["training"]
    spec = parse_spec(tree)
    resolved = spec.resolved()
    assert resolved["loss"] == [
        {"SSIML1": {"alpha": 0.75, "weight": 1.0, "filter_size": 11, "name": None}}
    ]
    training = spec.training
    assert (training.batch_size, training.epochs, training.latent_dims) == (32, 15, 50)
    assert training.optimizer["Adam"]["learning_rate"] == 1e-3
    assert training.optimizer["Adam"]["beta_1"] == 0.9
    assert resolved["preprocessing"] == []
    assert resolved["spec_version"] == defaults.SPEC_VERSION
    assert resolved["model"]["name"] == "Image_Compressor"
    assert resolved["model"]["layers"]["generator"]["layers"]["encoder"]["name"] == "Encoder"
    assert encoder_of(resolved)[2]["Dense"]["units"] == 50
    convolution = encoder_of(resolved)[0]["Conv2D"]
    assert convolution["dilation_rate"] == [1, 1]
    assert convolution["kernel_initializer"] == "glorot_uniform"
    assert spec.warnings == ()


def test_every_argument_is_written_out_also_inside_components() -> None:
    resolved = parse_spec(rich()).resolved()
    assert "params" not in resolved
    assert "discriminator" not in resolved
    branch = encoder_of(resolved)[2]["Residual"]["layers"]
    assert branch[0]["BatchNormalization"]["momentum"] == 0.99
    convolution = branch[1]["Conv2D"]
    assert convolution["filters"] == 4
    assert convolution["activation"] == "leaky_relu"
    assert convolution["kernel_initializer"] == {"HeNormal": {"seed": 3, "input_axes": None, "output_axes": None}}  # fmt: skip
    schedule = resolved["training"]["optimizer"]["AdamW"]["learning_rate"]["CosineDecay"]
    assert (schedule["initial_learning_rate"], schedule["warmup_steps"]) == (0.002, 0)
    judge = resolved["model"]["layers"]["discriminator"]["layers"]
    assert judge[0]["SpectralNormalization"]["layer"]["Conv2D"]["padding"] == "valid"
    assert "GlobalAveragePooling2D" in judge[1]  # the name that Keras itself uses


def test_a_discriminator_may_stand_at_the_top_but_once() -> None:
    tree = rich()
    below = copy.deepcopy(tree)
    below["model"]["layers"]["discriminator"] = below.pop("discriminator")
    assert parse_spec(tree).resolved() == parse_spec(below).resolved()
    below["discriminator"] = tree["discriminator"]
    assert problems(below) == [
        "discriminator: also stands at model.layers.discriminator; keep one of them"
    ]
    assert problems({"model": {}, "discriminator": 3}) == ['model: missing key "layers"']


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_sample_models_are_sound(path: Path) -> None:
    spec = load_spec(path)
    assert spec.warnings == ()
    assert spec.source == str(path)
    assert all(isinstance(each, int | None) for each in spec.input_shape)


def test_warnings_name_what_is_likely_not_meant() -> None:
    tree = tiny(params={"spare": 1})
    encoder_of(tree)[2] = {"GaussianLatent": {"units": 3}}
    assert parse_spec(tree).warnings == (
        'params.spare is used nowhere: no value is "$spare"',
        "GaussianLatent without the loss term KLDivergence: its noise will shrink to nothing",
    )


def test_a_spec_does_not_change_with_what_it_was_made_from() -> None:
    tree = tiny()
    before = copy.deepcopy(tree)
    changes = {"training.optimizer": {"SGD": {}}}
    spec = parse_spec(tree, overrides=changes)
    assert tree == before
    assert changes == {"training.optimizer": {"SGD": {}}}
    resolved = spec.resolved()
    resolved["training"]["epochs"] = 99
    encoder_of(resolved).clear()
    assert spec.resolved()["training"]["epochs"] == 15
    assert encoder_of(spec.resolved())


def test_the_digest_covers_what_weights_depend_on_and_no_more() -> None:
    digest = parse_spec(tiny()).architecture_digest()
    same = [
        {"training.epochs": 3},
        {"loss": [{"MSE": {}}]},
        {"dataset.flip": True},
        {"model.name": "Another"},
    ]
    other = [
        {f"{LAYER}.filters": 3},
        {"training.latent_dims": 4},
        {"preprocessing": [{"Rescale": {}}]},
    ]
    for changes in same:
        assert parse_spec(tiny(), overrides=changes).architecture_digest() == digest
    for changes in other:
        assert parse_spec(tiny(), overrides=changes).architecture_digest() != digest
    assert digest == architecture_digest(parse_spec(tiny()).resolved())
    # How latents are stored is chosen when weights are there; null is as if it were not said.
    chosen = {"model.layers.generator.quantizer": "naive"}
    assert parse_spec(tiny(), overrides=chosen).architecture_digest() == digest
    resolved = parse_spec(tiny()).resolved()
    assert resolved["model"]["layers"]["generator"].pop("quantizer") is None
    assert architecture_digest(resolved) == digest
    # written out or left out, an argument is the same
    assert parse_spec(tiny(), overrides={f"{LAYER}.dilation_rate": [1, 1]}).architecture_digest() == digest  # fmt: skip


def test_differences_are_lines_one_can_read() -> None:
    mine = parse_spec(tiny()).resolved()
    theirs = parse_spec(
        tiny(), overrides={f"{LAYER}.filters": 3, "training.epochs": 2, "dataset.crop": [8, 8]}
    ).resolved()
    assert difference(mine, mine) == []
    assert difference(mine, theirs) == [
        f"{LAYER}.filters: 2 here, 3 there",
        "training.epochs: 15 here, 2 there",
        "dataset.crop: null here, [8, 8] there",
    ]
    del encoder_of(theirs)[1]
    theirs["model"]["layers"]["generator"]["layers"]["decoder"]["layers"][0] = {"Flatten": {"a": 1}}
    lines = difference(mine, theirs)
    assert f"{ENCODER}: 3 items here, 2 there" in lines
    assert f'{DECODER}[0].Flatten: absent here, {{"a": 1}} there' in lines
    assert any(line.startswith(f"{DECODER}[0].Dense: ") for line in lines)
    assert all(len(line) < 200 for line in lines)


# --- without Keras, quickly ---------------------------------------------------------------------

HEAVY = "[m for m in ('keras', 'tensorflow', 'jax', 'numpy') if m in sys.modules]"
MODEL = f"--model={ROOT / 'models' / 'model.json'}"


@pytest.mark.parametrize(
    "argv",
    [
        [MODEL, "--set=training.epohcs=3"],
        ["--model=models/none.json"],
        [MODEL, "--alpha=0.5", "--set=loss=[{}]"],
        ["--help"],
        ["--epoch=3"],
        ["--epochs=0"],
    ],
)
def test_errors_and_help_come_before_keras_is_imported(argv: list[str], tmp_path: Path) -> None:
    script = str(ROOT / "train.py")
    code = (
        "import sys, time, runpy, atexit\n"
        f"sys.path.insert(0, {str(ROOT)!r}); sys.argv = [{script!r}, *{argv!r}]\n"
        "start = time.perf_counter()\n"
        f"atexit.register(lambda: print('heavy:', {HEAVY}))\n"
        "atexit.register(lambda: print(f'took {time.perf_counter() - start:.2f} s'))\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "heavy: []" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (0 if argv == ["--help"] else 2)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("train.py: ") or argv == ["--help"]
    assert list(tmp_path.iterdir()) == []  # nothing half written
    print(*(line for line in done.stdout.splitlines() if line.startswith("took ")))


# --- fuzzing ------------------------------------------------------------------------------------


def attempt(tree: Any) -> Spec | None:
    """Parses; a spec or a message fit for a terminal, never anything else."""
    try:
        spec = parse_spec(tree, "fuzzed.json")
    except UserError as error:
        assert isinstance(error, SpecError)
        lines = str(error).splitlines()
        assert len(lines) == 1 + len(error.problems) > 1
        assert all(line.isprintable() and len(line) < 800 for line in lines)
        return None
    again = parse_spec(spec.resolved())
    assert again.resolved() == spec.resolved()
    assert again.architecture_digest() == spec.architecture_digest()
    assert parse_json(spec.to_json(), "spec.json") == spec.resolved()
    spec.to_json().encode()
    return spec


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(VALUES)
def test_any_tree_gives_a_spec_or_its_problems(tree: Any) -> None:
    attempt(tree)


@QUICK
@given(mutants(bases()))
def test_any_change_to_a_sound_spec_gives_a_spec_or_its_problems(tree: Any) -> None:
    attempt(tree)


@QUICK
@given(plausible(FromCatalog()))
def test_resolving_a_resolved_spec_changes_nothing(tree: Any) -> None:
    attempt(tree)


def test_a_quantizer_is_one_of_four() -> None:
    path = "model.layers.generator.quantizer"
    for name in ("float32", "naive", "min-max", "k-means"):
        section = parse_spec(tiny(), overrides={path: name}).sections.model.layers.generator
        assert section.quantizer == name
    with pytest.raises(SpecError, match=rf"{path}: .*kmeans"):
        parse_spec(tiny(), overrides={path: "kmeans"})


@QUICK
@given(st.sampled_from(bases()), st.data())
def test_any_value_may_be_a_parameter(tree: Any, data: st.DataObject) -> None:
    tree = copy.deepcopy(tree)
    expected = parse_spec(tree).resolved()
    leaves = []
    for path in places(tree):
        here = tree
        for step in path[:-1]:
            here = here[step]
        value = here[path[-1]] if path else tree
        reserved = not path or path[0] in ("params", "$schema")
        if not reserved and not isinstance(value, dict | list) and not str(value).startswith("$"):
            leaves.append((here, path[-1], value))
    here, step, value = data.draw(st.sampled_from(leaves))
    tree.setdefault("params", {})["taken"] = value
    here[step] = "$taken"
    assert parse_spec(tree).resolved() == expected


@pytest.mark.slow
@LONG
@given(VALUES | mutants(bases()) | plausible(FromCatalog()))
def test_many_trees(tree: Any) -> None:
    attempt(tree)
