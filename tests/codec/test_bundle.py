import hashlib
import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load, save

from codec.bundle import (
    CODER,
    FILES,
    HYPER_TABLES,
    TABLES,
    WEIGHTS,
    Bundle,
    bundle_files,
    read_network,
)
from codec.distributions import gaussian_tables
from codec.errors import NicBundleError, NicError
from codec.hyperprior_coder import HyperpriorCoder
from codec.image_codec import ImageCodec
from codec.integer_network import IntegerNetwork
from codec.latent_coders import FactorizedCoder, QuantizedCoder, StoredCoder
from codec.manifest import MANIFEST, MAX_MANIFEST_BYTES, printable
from tests.codec import hand_made
from tests.codec.hand_made import changed, replaced


@pytest.fixture
def hyperprior(tmp_path):
    """The folder of a bundle, and its files."""
    contents = hand_made.files("hyperprior")
    return hand_made.write(tmp_path / "bundle", contents), contents


def refused(folder, contents, message, error=NicBundleError):
    """Reading a bundle, or making its codec, ends in one line."""
    with pytest.raises(error, match=message) as caught:
        ImageCodec(Bundle.read(hand_made.write(folder, contents)), lambda: None)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", hand_made.KINDS)
def test_what_was_written_is_read(kind, tmp_path):
    contents = hand_made.files(kind)
    bundle = Bundle.read(str(hand_made.write(tmp_path, contents)))
    assert bundle.manifest.name == f"by_hand_{kind}"
    assert bundle.manifest.spec == {"model": "none"}
    assert bundle.digest == hashlib.sha256(contents[MANIFEST]).digest()
    assert bundle.geometry.first == (8, 8)
    assert bundle.geometry.grids["y"].shape == (1, 1, 192)
    assert bundle.qualities == (4 if kind == "hyperprior" else 1)
    coders = (StoredCoder, QuantizedCoder, FactorizedCoder, HyperpriorCoder)
    assert type(bundle.coder()) is coders[hand_made.KINDS.index(kind)]
    assert set(bundle.manifest.files) == set(contents) - {MANIFEST}
    np.testing.assert_array_equal(bundle.arrays(WEIGHTS)["nothing"], [0])


def test_a_network_is_read_as_it_was_written(hyperprior):
    before, after = hand_made.network(192), Bundle.read(hyperprior[0]).network
    assert isinstance(after, IntegerNetwork)
    assert (after.channels, after.input_limit) == (before.channels, before.input_limit)
    z = np.arange(-9, 9).reshape(1, 3, 6, 1)
    np.testing.assert_array_equal(after.run(z), before.run(z))
    assert after.layers[0].kernel.dtype == np.int16


def test_the_same_content_has_the_same_bytes(tmp_path):
    assert hand_made.files("hyperprior") == hand_made.files("hyperprior")


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_every_file_counts(name, hyperprior):
    """Any change of a file is noticed, or makes another digest."""
    folder, contents = hyperprior
    first = Bundle.read(folder).digest
    content = contents[name]
    for place in {0, len(content) // 3, len(content) - 1}:
        for other in (
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
            content[:place],
            content + b" ",
        ):
            (folder / name).write_bytes(other)
            try:
                assert Bundle.read(folder).digest != first
            except NicBundleError as error:
                assert str(folder / name) in str(error)
                assert "\n" not in str(error)
    (folder / name).unlink()
    with pytest.raises(NicBundleError, match=f"{name}: No such file"):
        Bundle.read(folder)
    (folder / name).mkdir()
    with pytest.raises(NicBundleError, match=f"{name}: Is a directory"):
        Bundle.read(folder)


def test_every_field_of_the_manifest_makes_another_digest(hyperprior, tmp_path):
    folder, contents = hyperprior
    digests = {Bundle.read(folder).digest}

    def name(tree):
        tree["name"] = "other"

    def spec(tree):
        tree["spec"]["model"] = "other"

    def default(tree):
        tree["coder"]["default_quality"] = 1

    def geometry(tree):
        tree["geometry"]["bytes_per_pixel"] = 7

    for number, change in enumerate((name, spec, default, geometry)):
        other = hand_made.write(tmp_path / str(number), changed(contents, change))
        digests.add(Bundle.read(other).digest)
    assert len(digests) == 5


def test_a_file_that_changes_after_the_bundle_was_read_is_noticed(hyperprior):
    folder, contents = hyperprior
    bundle = Bundle.read(folder)
    for name in (CODER, TABLES, HYPER_TABLES):
        (folder / name).write_bytes(contents[name][:-1] + b"\x01")
        with pytest.raises(NicBundleError, match=f"{name}: damaged"):
            bundle.coder()
        (folder / name).write_bytes(contents[name])
    bundle.coder()


def test_other_files_do_not_count(hyperprior):
    folder, _ = hyperprior
    before = Bundle.read(folder).digest
    (folder / "README.md").write_text("A codec.")
    assert Bundle.read(folder).digest == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1, 2]", "the whole: "),
        (b"null", "the whole: "),
        (b'"codecsmith-codec"', "the whole: "),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"version": ' + b"1" * 5000 + b"}", "not JSON"),
        (b"{}", "format: Field required"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "more than 4194304 bytes"),
    ],
)
def test_a_manifest_that_is_none_is_refused(text, message, hyperprior, tmp_path):
    refused(tmp_path, {**hyperprior[1], MANIFEST: text}, message)


CHANGES = {
    "version 3, this program reads 2: a newer Codecsmith": lambda t: t.update(version=3),
    "version: Input should be 1 or 2": lambda t: t.update(version=0),
    "version: Input should be 1 or 2, text": lambda t: t.update(version="2"),
    "format: Input should be": lambda t: t.update(format="zip"),
    "extra: Extra inputs": lambda t: t.update(extra=1),
    r"a\?b\?\[31m: Extra inputs": lambda t: t.update({"a\nb\x1b[31m": 1}),
    "coder.extra: Extra inputs": lambda t: t["coder"].update(extra=1),
    "coder.network.layers.0.code: Extra": lambda t: t["coder"]["network"]["layers"][0].update(
        code="import os"
    ),
    "name: Field required": lambda t: t.pop("name"),
    "name: String should have": lambda t: t.update(name=""),
    "name: Input should be a valid string": lambda t: t.update(name=3),
    "spec: Input should be a valid dict": lambda t: t.update(spec=[]),
    "geometry.channels: Input should be a valid integer": lambda t: t["geometry"].update(
        channels=3.0
    ),
    "4 channels": lambda t: t["geometry"].update(channels=4),
    "geometry.first: List should have": lambda t: t["geometry"].update(first=[8]),
    "geometry.grids.x": lambda t: t["geometry"]["grids"].update(x={"shape": [1], "growth": [0, 0]}),
    "the bundle lacks y": lambda t: t["geometry"]["grids"].pop("y"),
    "the bundle lacks z": lambda t: t["geometry"]["grids"].pop("z"),
    "bytes_per_pixel": lambda t: t["geometry"].update(bytes_per_pixel=0),
    "coder.kind: Input should be": lambda t: t["coder"].update(kind="pickle"),
    "makes sides 1 times as long": lambda t: t["geometry"]["grids"]["y"].update(
        shape=[2, 1, 192], growth=[2, 1]
    ),
    "the bundle lacks an integer network": lambda t: t["coder"].update(network=None),
    "makes 384 channels of 1, expected 192 of 1": lambda t: t["coder"].update(mean_bits=None),
    "means of 99 bits": lambda t: t["coder"].update(mean_bits=99),
    "the default quality is none of the qualities": lambda t: t["coder"].update(default_quality=4),
    "coder.qualities: List should have at least 1": lambda t: t["coder"].update(qualities=[]),
    "gain is out of range": lambda t: t["coder"]["qualities"][0].update(gain=0.0),
    "gain: Input should be a finite number": lambda t: t["coder"]["qualities"][0].update(
        gain=float("inf")
    ),
    "offset: Input should be less": lambda t: t["coder"]["qualities"][0].update(offset=10**6),
    "files.tables.ntab.sha256: String should match": lambda t: t["files"][TABLES].update(
        sha256="0" * 63
    ),
    "files.tables.ntab.bytes: Input should be less": lambda t: t["files"][TABLES].update(
        bytes=2**40
    ),
    "names files that no bundle has": lambda t: t["files"].update(
        {"../secret": t["files"][TABLES]}
    ),
    "names files that no bundle has, none": lambda t: t.update(files={}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_manifest_is_refused(case, hyperprior, tmp_path):
    contents = changed(hyperprior[1], CHANGES[case])
    refused(tmp_path, contents, case.split(", text")[0].split(", none")[0])


def test_a_table_set_or_coder_that_is_missing_is_named(hyperprior, tmp_path):
    for name in (TABLES, HYPER_TABLES, CODER):
        missing = replaced(hyperprior[1], **{name.replace(".", "__"): None})
        refused(tmp_path / name, missing, f"the bundle lacks {name}")


def array_changes(contents):
    arrays = load(contents[CODER])
    return {
        "layer_0.kernel": {k: v for k, v in arrays.items() if k != "layer_0.kernel"},
        "kernel: no integers": {
            **arrays,
            "layer_0.kernel": arrays["layer_0.kernel"].astype(np.float32),
        },
        "bias: no integers": {**arrays, "layer_0.bias": arrays["layer_0.bias"].astype(np.uint32)},
        "kernel: out of range": {**arrays, "layer_0.kernel": arrays["layer_0.kernel"] * 99},
        "lengths": {**arrays, "layer_0.low": arrays["layer_0.low"][:-1]},
        "kernel: shape": {**arrays, "layer_0.kernel": arrays["layer_0.kernel"][0]},
    }


def test_arrays_that_are_no_network_are_refused(hyperprior, tmp_path):
    for number, (message, arrays) in enumerate(array_changes(hyperprior[1]).items()):
        contents = replaced(hyperprior[1], coder__safetensors=save(arrays))
        refused(tmp_path / str(number), contents, message, NicError)


def safetensors_file(header, data=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"\xff" * 64,
        safetensors_file(b"{"),
        safetensors_file(b"\xff\n\x1b[31m"),
        safetensors_file({"a\nb": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        safetensors_file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 9]}}, b"1234"),
        safetensors_file({"a": {"dtype": "F32", "shape": [2**60, 16], "data_offsets": [0, 4]}}),
        safetensors_file(
            {"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"1234"
        ),
        safetensors_file({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        safetensors_file({"a": {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}}, b"1234"),
    ],
)
def test_arrays_that_are_none_are_refused(content, hyperprior, tmp_path):
    contents = replaced(hand_made.files("quantized"), coder__safetensors=content)
    refused(tmp_path, contents, "not well formed|the bundle lacks low|finite float32")


def test_quantizers_of_another_type_are_refused(tmp_path):
    contents = hand_made.files("quantized")
    for number, kind in enumerate((np.float64, np.int32, np.bool_)):
        arrays = {"low": np.zeros(1, kind), "high": np.ones(1, kind)}
        other = replaced(contents, coder__safetensors=save(arrays))
        refused(tmp_path / str(number), other, "finite float32")
    low = save({"low": np.zeros(1, np.float32)})
    refused(tmp_path / "low", replaced(contents, coder__safetensors=low), "lacks high")


def test_tables_that_are_none_are_refused(hyperprior, tmp_path):
    for number, content in enumerate((b"NTAB", b"PK\3\4", hyperprior[1][TABLES][:-1])):
        contents = replaced(hyperprior[1], tables__ntab=content)
        refused(tmp_path / str(number), contents, TABLES)
    wrong = replaced(hyperprior[1], hyper_tables__ntab=gaussian_tables([1.0] * 3).to_bytes())
    refused(tmp_path / "hyper", wrong, "3 tables for 1 channels of hyper-latents")


def test_reading_needs_no_keras_and_runs_nothing(hyperprior, monkeypatch):
    """What an attacker would hide code in is no part of the format."""
    folder, _ = hyperprior
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "pickle", None)
    bundle = Bundle.read(folder)
    bundle.coder()
    read_network(bundle.manifest.coder.network, bundle.arrays(CODER))


def test_contents_that_are_too_large_are_refused_before_they_are_written(monkeypatch):
    monkeypatch.setattr("codec.bundle.MAX_FILE_BYTES", 10)
    with pytest.raises(NicBundleError, match=r"weights.safetensors: 11 bytes; 10 are allowed"):
        bundle_files("x", {}, hand_made.geometry(3, False, False), None, {WEIGHTS: b"x" * 11})


def test_words_of_a_file_stay_on_one_line():
    assert printable("a\nb\x1b[0m\u202e") == "a?b?[0m?"
    assert printable("x" * 500) == "x" * 197 + "..."
