import json

import pytest

from builders.cli import Parser, boolean, natural, number, positive
from builders.config_file import comma_list
from builders.errors import UserError


def parser():
    made = Parser(prog="x.py")
    made.add_argument("names", nargs="*")
    made.add_argument("--size", type=int)
    made.add_switch("--force", "overwrite")
    made.add_switch("--info", "tell")
    return made


def parsed(*words):
    flags = parser().parse_with_names(words)
    return flags.names, flags.force, flags.info, flags.size


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ([], False, False, None)),
        (["--force"], ([], True, False, None)),
        (["--force", "a"], (["a"], True, False, None)),
        (["a", "--force", "b"], (["a", "b"], True, False, None)),
        (["--force", "true", "a"], (["a"], True, False, None)),
        (["--force", "0", "a"], (["a"], False, False, None)),
        (["--force=no", "a"], (["a"], False, False, None)),
        (["--force", "--info"], ([], True, True, None)),
        (["--info", "yes", "--force", "NO", "a"], (["a"], False, True, None)),
        (["a", "--size", "3", "b", "--info", "c"], (["a", "b", "c"], False, True, 3)),
        (["--size", "3", "--", "--force", "true"], (["--force", "true"], False, False, 3)),
        (["--force", "--", "--info"], (["--info"], True, False, None)),
        (["--", "--", "a"], (["--", "a"], False, False, None)),
    ],
)
def test_a_switch_stands_alone_or_before_a_boolean(words, expected):
    assert parsed(*words) == expected
    if words and words[0] != "a":
        assert parser().parse_args(words).force == expected[1]  # as the other commands parse


def test_mistakes_are_one_line(capsys):
    for words, message in (
        (["--forse"], 'x.py: unknown argument --forse; did you mean "--force"?\n'),
        (["--force=perhaps"], 'argument --force: found "perhaps", expected true or false\n'),
        (["a", "--size", "x"], "argument --size: invalid int value: 'x'\n"),
        (["--siz=3", "a", "--info", "b"], 'unknown argument --siz; did you mean "--size"?\n'),
    ):
        with pytest.raises(SystemExit) as stop:
            parsed(*words)
        assert stop.value.code == 2
        assert capsys.readouterr().err.endswith(message)


def test_numbers():
    assert (natural("0"), natural("00"), natural("7"), positive("7"), number("-1e3")) == (
        0,
        0,
        7,
        7,
        -1000.0,
    )
    for kind, words in (
        (natural, ("", "-1", "x", "1.0")),
        (positive, ("0", "")),
        (number, ("x", "")),
    ):
        for word in words:
            with pytest.raises(Exception, match="expected a"):
                kind(word)


def configured():
    made = Parser(prog="x.py")
    made.add_argument("--models", nargs="+", required=True)
    made.add_argument("--set", action="extend", nargs="+", default=[])
    made.add_argument("--codecs", type=names)
    made.add_argument("--epochs", type=positive)
    made.add_argument("--rate", type=number, default=0.5)
    made.add_argument("--tfds", type=boolean)
    made.add_argument("--level", type=int, choices=(0, 1, 2), default=1)
    made.add_argument("--mode", choices=("slow", "fast"))
    made.add_switch("--retrain", "again")
    made.add_config()
    return made


@comma_list
def names(text):
    return text.split(",")


WHOLE = {
    "models": ["a.json", "b.json"],
    "set": ["x=1", "y=-2"],
    "codecs": ["jpeg", "webp"],
    "epochs": 3,
    "rate": 1e-3,
    "tfds": True,
    "level": 2,
    "mode": "fast",
    "retrain": True,
}


@pytest.fixture
def config(tmp_path):
    def write(tree):
        path = tmp_path / "flags.json"
        path.write_text(tree if isinstance(tree, str) else json.dumps(tree), encoding="utf-8")
        return str(path)

    return write


def test_a_file_of_flags_is_as_if_they_were_given(config):
    path = config(WHOLE)
    flags = vars(configured().parse_args(["--config", path]))
    assert flags.pop("config") == path
    assert flags == WHOLE
    words = ["--models", "a.json", "b.json", "--set", "x=1", "y=-2", "--codecs=jpeg,webp"]
    words += ["--epochs=3", "--rate=1e-3", "--tfds=true", "--level=2", "--mode=fast", "--retrain"]
    assert vars(configured().parse_args(words)) == WHOLE | {"config": None}
    assert configured().parse_args(["--config", config(WHOLE | {"codecs": "avif"})]).codecs == [
        "avif"
    ]


def test_the_command_line_wins(config):
    words = ["--set", "z=3", "--models=c.json", "--retrain", "false", "--epochs", "9"]
    words += ["--rate=2", "--codecs", "none"]
    flags = configured().parse_args([f"--config={config(WHOLE)}", *words])
    assert (flags.models, flags.set, flags.retrain) == (["c.json"], ["z=3"], False)
    assert (flags.epochs, flags.rate, flags.codecs) == (9, 2.0, ["none"])
    assert (flags.tfds, flags.mode) == (True, "fast")


def test_what_is_in_neither_takes_its_default_or_is_asked_for(config, capsys):
    parser = configured()
    flags = parser.parse_args(["--config", config({"models": ["a.json"]})])
    assert (flags.rate, flags.set, flags.retrain, flags.epochs) == (0.5, [], False, None)
    for words in ([], ["--config", config({"epochs": 3})]):  # also after a call that had them
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(words)
        assert stop.value.code == 2
        assert "required: --models" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser.parse_args(["--config"])
    assert "argument --config: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"epoch": 3}, 'epoch: no such flag; did you mean "epochs"?'),
        ({"config": "a.json"}, "config: no such flag"),
        ({"help": True}, "help: no such flag"),
        ({"models": "a.json"}, 'models: found "a.json", expected a list'),
        ({"models": [3]}, "models: found 3, expected a string"),
        ({"codecs": 3}, "codecs: found 3, expected a list or a string"),
        ({"codecs": [["jpeg"]]}, 'codecs: found ["jpeg"] in the list'),
        ({"epochs": "3"}, 'epochs: found "3", expected a number'),
        ({"epochs": True}, "epochs: found true, expected a number"),
        ({"epochs": 0.5}, 'epochs: found "0.5", expected a whole number >= 1'),
        ({"level": 0.5}, "level: found 0.5, expected a number"),
        ({"level": 3}, 'level: found 3; known: "0", "1", "2"'),
        ({"mode": "fats"}, 'mode: found "fats"; did you mean "fast"?'),
        ({"mode": None}, "mode: found null, expected a string"),
        ({"tfds": 1}, "tfds: found 1, expected true or false"),
        ({"retrain": "yes"}, 'retrain: found "yes", expected true or false'),
        ([1], 'found [1], expected an object: {"name of a flag": value}'),
        ('{"epochs": 3,}', "a comma before a closing bracket"),
    ],
)
def test_mistakes_in_the_file_name_their_key(config, tree, message):
    path = config(tree)
    with pytest.raises(UserError) as error:
        configured().parse_args(["--models=a.json", "--config", path])
    assert path in str(error.value) and message in str(error.value)


def test_all_mistakes_in_the_file_come_at_once(config):
    with pytest.raises(UserError, match="2 problems") as error:
        configured().parse_args(["--config", config({"epoch": 3, "tfds": "true"})])
    assert str(error.value).count("\n") == 2


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: can't be read: No such file"):
        configured().parse_args(["--config", str(tmp_path / "none.json")])


def test_a_parser_without_the_flag_reads_no_file(config, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--config", config({"size": 3})])
    assert "unknown argument --config" in capsys.readouterr().err
