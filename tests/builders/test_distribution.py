"""What `--distribute` and its flags are taken for, and what is refused."""

import argparse

import keras
import pytest

from builders.distribution import find_place, joined
from builders.errors import UserError
from builders.link import Place
from builders.team import Team


def flags(**given):
    defaults = {"distribute": "data", "coordinator_address": None, "num_processes": None}
    return argparse.Namespace(**{**defaults, "process_id": None, **given})


ALL = {"coordinator_address": "node-7:1234", "num_processes": 3, "process_id": 2}
VARIABLES = {
    "JAX_COORDINATOR_ADDRESS": "other:99",
    "JAX_NUM_PROCESSES": "5",
    "JAX_PROCESS_ID": "4",
}


@pytest.mark.parametrize(
    ("given", "variables", "place"),
    [
        (ALL, {}, Place("node-7", 1234, 3, 2)),
        ({}, VARIABLES, Place("other", 99, 5, 4)),
        ({"process_id": 1}, VARIABLES, Place("other", 99, 5, 1)),
        (ALL, VARIABLES, Place("node-7", 1234, 3, 2)),
        ({**ALL, "coordinator_address": "[::1]:80"}, {}, Place("::1", 80, 3, 2)),
        ({"num_processes": 1}, {}, None),
        ({"num_processes": 1, "process_id": 0, "coordinator_address": "a:1"}, {}, None),
    ],
)
def test_where_processes_meet(given, variables, place):
    assert find_place(flags(**given), variables) == (place, None)


@pytest.mark.parametrize(
    ("given", "variables", "message"),
    [
        ({**ALL, "process_id": 3}, {}, "--process_id 3: there are --num_processes 3, numbered"),
        ({**ALL, "coordinator_address": "node"}, {}, 'found "node", expected HOST:PORT'),
        ({**ALL, "coordinator_address": ":80"}, {}, 'found ":80", expected HOST:PORT'),
        ({**ALL, "coordinator_address": "a:0"}, {}, 'found "a:0", expected HOST:PORT'),
        ({**ALL, "coordinator_address": "a:65536"}, {}, 'found "a:65536", expected HOST:PORT'),
        ({}, {**VARIABLES, "JAX_NUM_PROCESSES": "0"}, 'JAX_NUM_PROCESSES: found "0", expected'),
        ({}, {**VARIABLES, "JAX_PROCESS_ID": "-1"}, 'JAX_PROCESS_ID: found "-1", expected'),
    ],
)
def test_what_can_not_be_is_named(given, variables, message):
    with pytest.raises(UserError) as error:
        find_place(flags(**given), variables)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["coordinator_address", "num_processes", "process_id"])
def test_flags_for_several_processes_need_distribute(name):
    with (
        pytest.raises(UserError, match=f"--{name} is for several processes: add --distribute=data"),
        joined(flags(distribute="none", **{name: ALL[name]})),
    ):
        pytest.fail("it went on")


def test_without_distribute_nothing_is_shared():
    with joined(flags(distribute="none")) as team:
        assert team == Team()
        assert team.shard(8) is None
        assert team.share("x", lambda: 3) == 3


def test_tensorflow_is_refused_and_jax_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with (
        pytest.raises(UserError, match=r"not under TensorFlow.*KERAS_BACKEND=jax"),
        joined(flags()),
    ):
        pytest.fail("it went on")


def test_a_batch_smaller_than_the_team_is_refused():
    team = Team(0, 2, 4, "cpu", None, shared=True)
    assert team.shard(4).local_devices == 2
    with pytest.raises(UserError, match=r"training\.batch_size: 3 .* 4 devices; .*--batch_size 4"):
        team.shard(3)


def test_a_line_says_who_computes_what():
    assert Team(0, 1, 2, "gpu", shared=True).describe(32) == (
        "2 gpu devices; 16 of a batch's 32 images on each"
    )
    assert Team(1, 2, 6, "cpu", shared=True).describe(32) == (
        "6 cpu devices in 2 processes; at most 6 of a batch's 32 images on each"
    )


def test_another_spec_than_the_first_is_refused():
    class Elsewhere:
        def value(self, name):
            return {"training": {"epochs": 3}}

    team = Team(1, 2, 2, "cpu", Elsewhere(), shared=True)
    team.agree("spec", {"training": {"epochs": 3}}, str)
    with pytest.raises(UserError, match=r"process 1 and process 0 differ: .*'epochs': 3"):
        team.agree("spec", {"training": {"epochs": 4}}, str)


def test_flags_reach_train(monkeypatch, tmp_path):
    import train

    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.chdir(tmp_path)
    words = ["--distribute=data", "--coordinator_address=a:1", "--num_processes=2"]
    parsed = train.build_parser().parse_args([*words, "--process_id=1"])
    assert find_place(parsed, {})[0] == Place("a", 1, 2, 1)
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(UserError, match="KERAS_BACKEND=jax"):
            train.main(words)
    assert list(tmp_path.iterdir()) == []
