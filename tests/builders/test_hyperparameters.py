"""What the HParams page compares runs by, as its own plugin reads it."""

import json
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, backend_context
from tensorboard.plugins.hparams.list_session_groups import Handler

from builders.event_writer import EventWriter
from builders.hyperparameters import hyperparameters
from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from tests.codec_models import TREES

RATE = [{"BitsPerPixel": {"weight": 2.0}}, {"MSE": {"scale": 255, "weight": "$lambda"}}]


def hyperprior(trade_off=0.01, **training):
    tree = {
        **TREES["scale"],
        "params": {"lambda": trade_off},
        "loss": RATE,
        "training": training,
        "dataset": {"crop": [64, 32]},
    }
    return parse_spec(tree)


def of(spec, precision="float32"):
    return hyperparameters(spec, ModelBuilder(spec, precision).build())


def test_a_codecs_settings_are_there_as_numbers():
    found = of(hyperprior(0.02, optimizer={"SGD": {"learning_rate": 0.5, "momentum": 0.25}}))
    assert found["lambda"] == pytest.approx(0.01)  # 0.02 of distortion on 2 of rate
    assert found["crop"] == "64x32"
    assert found["precision"] == "float32"
    assert found["backend"] in {"tensorflow", "jax"}
    assert found["optimizer"] == "SGD" and found["optimizer/momentum"] == 0.25
    assert found["learning_rate"] == 0.5 and "optimizer/learning_rate" not in found
    assert "optimizer/nesterov" not in found  # not in use
    assert found["entropy_model"] == "ScaleHyperprior"
    assert found["entropy_model/scale_levels"] == 64
    assert json.loads(found["loss/MSE"])["weight"] == 0.02


def test_parameters_and_precision_are_those_of_the_model():
    spec = hyperprior()
    model = ModelBuilder(spec, "mixed_bfloat16").build()
    found = hyperparameters(spec, model)
    assert found["parameters"] == model.count_params() > 1000
    assert found["precision"] == "mixed_bfloat16"


def test_without_rate_or_with_two_distortions_there_is_no_lambda(tiny):
    assert "lambda" not in of(tiny({"loss": [{"MSE": {}}]}))
    assert "entropy_model" not in of(tiny())
    tree = {**TREES["scale"], "loss": [*RATE, {"L1": {}}], "params": {"lambda": 1.0}}
    assert "lambda" not in of(parse_spec(tree))


def test_terms_of_one_class_are_told_apart(tiny):
    found = of(tiny({"loss": [{"MSE": {"name": "a"}}, {"MSE": {"name": "b", "weight": 3}}]}))
    assert json.loads(found["loss/a"])["weight"] == 1.0
    assert json.loads(found["loss/b"])["weight"] == 3


def test_a_schedule_is_shown_whole(tiny):
    assert "CosineDecay" in json.loads(of(tiny())["learning_rate"])


def test_two_runs_compare_by_what_differs(tmp_path, tiny):
    """As TensorBoard's plugin tells its page."""
    runs = {"a": hyperprior(0.01), "b": hyperprior(0.04, batch_size=2), "c": tiny()}
    for name, spec in runs.items():
        with EventWriter(tmp_path / name) as writer:
            writer.hparams(of(spec))
            writer.scalar("loss/validation", 0.5, step=1)
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    context = backend_context.Context(
        SimpleNamespace(data_provider=provider, logdir=str(tmp_path), multiplexer=multiplexer)
    )
    allowed = ["STATUS_SUCCESS", "STATUS_RUNNING", "STATUS_UNKNOWN"]
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.Status.Value(each) for each in allowed], slice_size=9
    )
    groups = Handler(RequestContext(), context, "", request).run().session_groups
    found = {group.sessions[0].name: group.hparams for group in groups}
    assert set(found) == {"a", "b", "c"}
    assert found["a"]["lambda"].number_value == pytest.approx(0.005)
    assert found["b"]["lambda"].number_value == pytest.approx(0.02)
    assert found["b"]["batch_size"].number_value == 2
    assert found["c"]["optimizer/beta_1"].number_value == pytest.approx(0.9)
    assert "lambda" not in found["c"]
    (metric,) = next(group.metric_values for group in groups)
    assert metric.name.tag == "loss/validation" and metric.value == 0.5
