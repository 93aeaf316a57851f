"""Text to JSON: what is refused, at which line and column, in words; and that nothing else happens."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import UserError
from builders.json_reader import parse_json, read_json, tree_problems
from builders.problems import SpecError
from constants.defaults import SPEC_MAX_BYTES, SPEC_MAX_DEPTH
from tests.builders.spec_trees import SAMPLES


def told(text: str) -> list[str]:
    """The problems of a text, without the line that names the file."""
    with pytest.raises(SpecError) as error:
        parse_json(text, "model.json")
    head, *lines = str(error.value).splitlines()
    assert head == f"model.json: {len(lines)} problem{'s' if len(lines) != 1 else ''}"
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,\n "b" 2}', 'line 2, column 6: expected ":" behind the key'),
        ('{"a": [1\n  2]}', 'line 2, column 3: expected "," or a closing bracket'),
        ('{"a": }', "line 1, column 7: expected a value"),
        ('{"a": tru}', "line 1, column 7: expected a value"),
        ('["a\nb"]', "line 1, column 4: a string must not hold a line break or control character"),
        ('["a]', "line 1, column 2: the string that starts here never ends"),
        ('["\\d"]', "line 1, column 3: unknown escape in a string; a backslash is written twice"),
        ("{} {}", "line 1, column 4: more text behind the end of the JSON value"),
        ('{"a": [1, 2', 'line 1, column 12: expected "," or a closing bracket (the text ends here)'),
        ("\n \t\n", "the file is empty; expected a JSON object"),
        ('{"a": NaN}', "line 1, column 7: NaN is no number that JSON knows"),
        ('{"a": -Infinity}', "line 1, column 7: -Infinity is no number that JSON knows"),
        ('{"a": 1e999}', "line 1, column 7: the number 1e999 is too large"),
        (f"[{'1' * 5000}]", f"line 1, column 2: the number {'1' * 20}... is too large"),
        ('["\\ud800"]', 'line 1, column 2: half a surrogate pair is no character: "\\ud800"'),
        ('{"a": 1,\n"b": {"a": 2},\n"a": 3}', 'line 3, column 1: the key "a" stands twice in one object'),
        ('{"a": 1, "\\u0061": 2}', 'line 1, column 10: the key "a" stands twice in one object'),
    ],
)  # fmt: skip
def test_what_is_malformed_is_named_with_its_place(text: str, expected: str) -> None:
    assert told(text) == [expected]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"a": 1,}', "a comma before a closing bracket"),
        ("[1, 2,]", "a comma before a closing bracket"),
        ("{'a': 1}", "JSON strings take double quotes"),
        ('{\n// note\n"a": 1}', "JSON has no comments"),
        ('{"a": 1 # note\n}', "JSON has no comments"),
    ],
)
def test_usual_slips_get_a_hint(text: str, hint: str) -> None:
    (line,) = told(text)
    assert line.startswith("line ")
    assert hint in line


def test_all_refused_values_come_at_once() -> None:
    lines = told('{"a": NaN, "b": 1,\n "b": 1e400}')
    assert [line.split(":")[0] for line in lines] == [
        "line 1, column 7",
        "line 2, column 2",
        "line 2, column 7",
    ]


def test_nesting_is_bounded_and_strings_do_not_nest() -> None:
    assert parse_json("[" * SPEC_MAX_DEPTH + "]" * SPEC_MAX_DEPTH, "x")
    (line,) = told("[" * (SPEC_MAX_DEPTH + 1))
    assert (
        line == f"line 1, column {SPEC_MAX_DEPTH + 1}: nested too deep; at most 64 levels are read"
    )
    assert parse_json(json.dumps(["[" * 500, '"{' * 500]), "x")


def test_what_json_allows_is_read() -> None:
    assert parse_json(' {"a": [1, -2.5, 1e3, true, null, "\\u00e9\\ud83d\\ude00"]} ', "x") == {
        "a": [1, -2.5, 1000.0, True, None, "é😀"]
    }
    assert parse_json("-0", "x") == 0
    assert parse_json('{"a": {"b": 1}, "b": {"a": 1}}', "x")  # twice, but in different objects


@pytest.mark.parametrize("text", ['"' + '\\"' * 400_000, "[" * 900_000, '"' * 900_000, "{" * 9])
def test_hostile_text_costs_little(text: str) -> None:
    start = time.perf_counter()
    told(text)
    assert time.perf_counter() - start < 20  # a quadratic scan would take minutes


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')  # as Windows' editors save it
    assert read_json(path) == {"a": 1}
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=r"model\.json: not UTF-8 text \(byte 7\)"):
        read_json(path)
    path.write_bytes(b'{"a": "' + b"x" * SPEC_MAX_BYTES + b'"}')
    with pytest.raises(UserError, match=r"model\.json: more than 1,000,000 bytes"):
        read_json(path)
    with pytest.raises(UserError, match="is a folder; expected a JSON file"):
        read_json(tmp_path)
    with pytest.raises(
        UserError, match=r'modl\.json: can\'t be read: No such .*did you mean "model'
    ):
        read_json(tmp_path / "modl.json")
    with pytest.raises(UserError, match="can't be read"):
        read_json(path / "below_a_file.json")
    with pytest.raises(UserError, match="can't be read"):
        read_json(tmp_path / ("x" * 5000))
    with pytest.raises(UserError, match="can't be read"):
        read_json(tmp_path / "a\0b")


def test_trees_from_elsewhere_keep_to_the_same_rules() -> None:
    tree = {"a": [float("nan"), 10**400, "\ud800"], "b": {1: 2}, "c": {"d": object()}, "\udc00": 1}
    assert sorted(str(problem) for problem in tree_problems(tree)) == [
        "a[0]: found nan, expected a finite number",
        f"a[1]: found 1{'0' * 56}..., which is too large",
        'a[2]: half a surrogate pair is no character: "\\ud800"',
        "b: found the key 1, expected a string",
        "c.d: found a object, expected what JSON has",
        'half a surrogate pair is no character: "\\udc00"',
    ]
    value: object = 1
    for _ in range(100_000):
        value = [value]
    (problem,) = tree_problems({"a": value})
    assert "nested too deep" in problem.message
    assert not list(tree_problems({"a": [1, 2.5, None, True, "x"]}))


JSON_LIKE = st.text(alphabet='{}[]",:0123456789.eE+-ntrufalse\\ \n$', max_size=60)


@given(JSON_LIKE | st.text())
def test_any_text_gives_a_tree_or_a_spec_error(text: str) -> None:
    try:
        tree = parse_json(text, "x")
    except SpecError as error:
        for line in str(error).splitlines():
            assert line.isprintable()
    else:
        assert tree == json.loads(text)  # nothing is changed on the way
        assert not list(tree_problems(tree))


@settings(max_examples=150)
@given(
    st.sampled_from([path.read_bytes() for path in SAMPLES]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=2), st.integers(0, 3)), max_size=3),
)
def test_any_bytes_in_a_file_give_a_tree_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, edits: list[tuple[float, bytes, int]]
) -> None:
    for place, new, skipped in edits:
        at = int(place * len(data))
        data = data[:at] + new + data[at + skipped :]
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_bytes(data)
    try:
        read_json(path)
    except UserError as error:
        assert str(error).startswith(str(path))
