import pytest

from builders.cli import Parser, natural, number, positive


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
