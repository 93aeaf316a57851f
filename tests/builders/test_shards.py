"""Shards: what is read is what was written, and a folder holds one valid state at any moment."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from builders import shard_manifest, shards
from builders.errors import RunError, UserError
from builders.shard_forms import encode
from builders.shard_manifest import MANIFEST, Journal, read_manifest, write_manifest
from builders.shards import packed_bytes, read_shards, write_shards

FIELDS = {
    "run": "0123456789abcdef",
    "step": 7,
    "lost": [],
    "state": {"spec": {"a": 1}, "progress": {"epoch": 2}},
    "best": None,
    "journal": Journal(points=[], pieces=[{}]),
}


def arrays(seed=0):
    chance = np.random.default_rng(seed)
    return {
        "model/0": chance.normal(size=(40, 50)).astype(np.float32),
        "model/1": np.array([3, 4], np.int64),
        "optimizer/0": np.array(12, np.int64),
        "optimizer/1": np.zeros((0, 3), np.float32),
        "best/encoder/vars/0": chance.normal(size=3000).astype(np.float32),
    }


def exact(values):
    return {name: encode(value, "same") for name, value in values.items()}


def write(folder, values, size=4096, **fields):
    return write_shards(folder, exact(values), size, **{**FIELDS, **fields})


def assert_holds(folder, values):
    found = read_shards(folder, read_manifest(folder))
    assert list(found) == list(values)
    for name, value in values.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, strict=True)


def shard_files(folder):
    return sorted(path.name for path in folder.glob("shard-*"))


def test_what_is_read_is_what_was_written(tmp_path):
    manifest = write(tmp_path, arrays())
    assert read_manifest(tmp_path) == manifest
    assert manifest.step == 7 and manifest.generation == 1
    assert len(manifest.shards) > 4  # of 20 kB in shards of 4 KiB
    assert manifest.bytes == sum((tmp_path / name).stat().st_size for name in manifest.shards)
    assert_holds(tmp_path, arrays())


def test_names_are_made_of_plain_letters(tmp_path):
    write(tmp_path, arrays())
    for path in tmp_path.iterdir():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)


DTYPES = st.sampled_from(["float32", "float16", "float64", "int64", "uint32", "uint8", "bool"])
ARRAYS = st.dictionaries(
    st.from_regex(r"(model|best)/[a-zé_0-9/]{1,40}", fullmatch=True),
    DTYPES.flatmap(
        lambda dtype: hn.arrays(
            dtype, hn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=30)
        )
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ARRAYS, st.integers(400, 5000))
def test_no_shard_is_larger_than_asked_for(tmp_path_factory, values, size):
    folder = tmp_path_factory.mktemp("state")
    manifest = write(folder, values, size)
    sizes = [(folder / name).stat().st_size for name in manifest.shards]
    assert max(sizes) <= size
    assert sum(sizes) <= packed_bytes(exact(values), size)
    assert_holds(folder, values)


def test_a_shard_too_small_for_anything_is_refused():
    with pytest.raises(ValueError, match="too few for a shard with model/0"):
        list(shards.split(exact(arrays()), 100))


def test_a_second_writing_replaces_the_first(tmp_path):
    first = write(tmp_path, arrays(1))
    second = write(tmp_path, arrays(2))
    assert second.generation == 2
    assert shard_files(tmp_path) == sorted(second.shards)
    assert not set(first.shards) & set(second.shards)
    assert_holds(tmp_path, arrays(2))


@pytest.mark.parametrize("failing", ["shard-000002-0000", "shard-000002-0003", MANIFEST])
def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch, failing):
    first = write(tmp_path, arrays(1))
    whole = shards.write_atomically

    def full(path, content):
        if path.name.startswith(failing):
            raise RunError(f"{path}: can't be written: No space left on device")
        whole(path, content)

    for module in (shards, shard_manifest):
        monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(RunError) as caught:
        write(tmp_path, arrays(2))
    told = str(caught.value)
    assert told.endswith("No space left on device. The state that was there is still valid.")
    assert "\n" not in told
    assert shard_files(tmp_path) == sorted(first.shards)
    assert_holds(tmp_path, arrays(1))


def test_a_full_disk_at_the_first_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        raise RunError(f"{path}: can't be written: No space left on device")

    monkeypatch.setattr(shards, "write_atomically", full)
    with pytest.raises(RunError, match=r"No space left on device\.$"):
        write(tmp_path, arrays())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reached", ["shards", "manifest"])
def test_a_process_killed_while_it_writes_leaves_a_valid_state(tmp_path, monkeypatch, reached):
    """Killed behind the shards, or behind the manifest and before the old shards are gone."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    write(tmp_path, arrays(1))
    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_manifest" if reached == "shards" else "_remove", kill)
        with pytest.raises(Killed):
            write(tmp_path, arrays(2))
    (tmp_path / ".writing-shard-000002-0009.safetensors").write_bytes(b"half")
    assert_holds(tmp_path, arrays(1 if reached == "shards" else 2))
    manifest = write(tmp_path, arrays(3))
    assert_holds(tmp_path, arrays(3))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {MANIFEST, *manifest.shards}


def test_a_missing_shard_is_named(tmp_path):
    names = sorted(write(tmp_path, arrays()).shards)
    (tmp_path / names[1]).unlink()
    (tmp_path / names[3]).unlink()
    with pytest.raises(UserError) as caught:
        assert_holds(tmp_path, arrays())
    count = f"2 of {len(names)} shards missing: {names[1]}, {names[3]}"
    assert str(caught.value) == f"{tmp_path}: {count}"


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_changed_byte_of_a_shard_is_found(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("state")
    name = data.draw(st.sampled_from(sorted(write(folder, arrays()).shards)))
    content = bytearray((folder / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: damaged: its bytes are not those"):
        assert_holds(folder, arrays())


def test_a_cut_shard_is_found(tmp_path):
    name = sorted(write(tmp_path, arrays()).shards)[0]
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1])
    words = f"{name}: damaged: {len(content) - 1} bytes, the manifest says {len(content)}"
    with pytest.raises(UserError, match=words):
        assert_holds(tmp_path, arrays())


def test_a_manifest_of_other_shards_is_refused(tmp_path):
    manifest = write(tmp_path, arrays())
    entry = manifest.arrays["model/0"]
    wider = entry.model_copy(update={"shape": [40, 51]})
    write_manifest(
        tmp_path, manifest.model_copy(update={"arrays": {**manifest.arrays, "model/0": wider}})
    )
    with pytest.raises(UserError, match=r"model/0: its parts do not make an array of the shape"):
        assert_holds(tmp_path, arrays())
    fewer = {name: each for name, each in manifest.arrays.items() if name != "model/0"}
    write_manifest(tmp_path, manifest.model_copy(update={"arrays": fewer}))
    with pytest.raises(UserError, match=r"holds model/0#0, which the manifest does not expect"):
        assert_holds(tmp_path, arrays())


def changed(folder: Path, old: str, new: str) -> None:
    text = (folder / MANIFEST).read_text()
    assert old in text
    (folder / MANIFEST).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"step": 7', '"step": 8', "damaged: its content is not what was written"),
        ('"version": 1', '"version": 2', "version 2, this version reads 1"),
        ('"codecsmith-state"', '"something"', "not the manifest of a state"),
        ("{", "", "damaged: not JSON: "),
    ],
)
def test_a_changed_manifest_takes_one_line(tmp_path, old, new, words):
    write(tmp_path, arrays())
    changed(tmp_path, old, new)
    with pytest.raises(UserError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / MANIFEST}: {words}")
    assert "\n" not in str(caught.value)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path):
    manifest = write(tmp_path, arrays())
    name = next(iter(manifest.shards))
    moved = {f"../{name}": manifest.shards[name]}
    write_manifest(tmp_path, manifest.model_copy(update={"shards": moved}))
    with pytest.raises(UserError, match=r"manifest.json: shards\..*pattern"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_takes_one_line(tmp_path):
    with pytest.raises(UserError, match=r"manifest.json: missing: the folder holds no state"):
        read_manifest(tmp_path)
