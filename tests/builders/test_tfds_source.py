"""TFDS data sets, made here on the fly: no network, no downloads."""

import sys
from pathlib import Path

import numpy as np
import pytest

from builders.errors import RunError, UserError
from builders.sources import SplitSources
from builders.tfds_records import TfdsSource
from builders.tfds_source import find_image_feature, open_tfds

tf = pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")

ROOMY = 1 << 24
GRAY = (6, 8, 1)


def image(number: int, split: str = "train", shape: tuple[int, int, int] = GRAY) -> np.ndarray:
    """Says which image of which split it is."""
    pixels = np.full(shape, number, np.uint8)
    pixels[0] = {"train": 11, "test": 22, "validation": 33}.get(split, 44)
    return pixels


def prepare(
    folder: Path,
    splits: dict[str, int],
    *,
    shape: tuple = GRAY,
    name: str = "tiny",
    file_format: str = "tfrecord",
    features: dict | None = None,
    examples: dict | None = None,
) -> None:
    """Writes a data set with images numbered from 0 in each split."""
    if features is None:
        features = {"image": tfds.features.Image(shape=shape), "label": np.int64}
    if examples is None:
        real = tuple(side or fallback for side, fallback in zip(shape, (6, 8, 3), strict=True))
        examples = {
            split: [{"image": image(i, split, real), "label": i} for i in range(count)]
            for split, count in splits.items()
        }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(enumerate(one)) for split, one in examples.items()},
        data_dir=folder,
        file_format=file_format,
        disable_shuffling=True,
    )


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


def open_tiny(name: str = "tiny", channels: int = 1, **settings) -> SplitSources:
    settings = {
        "validation_fraction": 0.25,
        "test_fraction": 0.25,
        "cache_bytes": ROOMY,
        **settings,
    }
    return open_tfds(name, channels, **settings)


def contents(source) -> set[tuple[int, int]]:
    """(which split it was stored in, number) of each image."""
    return {(int(source[i][0, 0, 0]), int(source[i][1, 0, 0])) for i in range(len(source))}


def parts(splits: SplitSources) -> list[set[tuple[int, int]]]:
    return [contents(part) for part in (splits.train, splits.validation, splits.test)]


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_its_own_splits_are_used(data_dir: Path, file_format: str) -> None:
    prepare(data_dir, {"train": 6, "validation": 3, "test": 2, "extra": 4}, file_format=file_format)
    splits = open_tiny()
    assert parts(splits) == [
        {(11, i) for i in range(6)},
        {(33, i) for i in range(3)},
        {(22, i) for i in range(2)},
    ]
    assert splits.notes == ["tiny: splits not used: extra"]
    np.testing.assert_array_equal(splits.train[4], image(4))
    assert splits.train.name(4) == "train 4"
    assert splits.train.size(0) == (6, 8)


def test_a_missing_validation_split_is_cut_from_train(data_dir: Path) -> None:
    prepare(data_dir, {"train": 40, "test": 5})
    splits = open_tiny()
    train, validation, test = parts(splits)
    assert test == {(22, i) for i in range(5)}  # all of it, and nothing else
    assert train | validation == {(11, i) for i in range(40)}
    assert train.isdisjoint(validation)
    assert len(validation) == 10
    assert parts(open_tiny()) == [train, validation, test]
    assert splits.notes == ["tiny: cut from its train split: 10 for validation"]


def test_a_missing_test_split_is_cut_from_train_too(data_dir: Path) -> None:
    prepare(data_dir, {"train": 40})
    train, validation, test = parts(open_tiny())
    assert [len(train), len(validation), len(test)] == [20, 10, 10]
    assert train | validation | test == {(11, i) for i in range(40)}
    prepare(data_dir, {"train": 40, "validation": 5}, name="other")
    train, validation, test = parts(open_tiny("other"))
    assert validation == {(33, i) for i in range(5)}
    assert [len(train), len(test)] == [30, 10]
    assert train.isdisjoint(test)


def test_without_train_there_is_nothing_to_do(data_dir: Path) -> None:
    prepare(data_dir, {"test": 5})
    with pytest.raises(UserError, match="no train split, only test"):
        open_tiny()


def test_max_images_takes_the_first_of_each_split(data_dir: Path) -> None:
    prepare(data_dir, {"train": 20, "validation": 9, "test": 9})
    calls = []
    splits = open_tiny(max_images=4, progress=lambda *call: calls.append(call))
    assert parts(splits) == [{(kind, i) for i in range(4)} for kind in (11, 33, 22)]
    assert ("reading tiny train", 4, 4) in calls  # no more were decoded


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_what_does_not_fit_is_read_on_demand_or_said(data_dir: Path, file_format: str) -> None:
    prepare(data_dir, {"train": 12, "test": 4}, file_format=file_format)
    small = {"cache_bytes": 15 * 6 * 8}
    if file_format == "tfrecord":
        with pytest.raises(UserError, match="tfds build tiny --file_format=array_record"):
            open_tiny(**small)
        return
    splits = open_tiny(**small)
    assert isinstance(splits.train.source, TfdsSource)
    assert parts(splits) == parts(open_tiny())
    assert splits.test.name(2) == "tiny test 2"
    assert splits.test.size(2) == (6, 8)


def test_images_of_different_sizes(data_dir: Path) -> None:
    sizes = [(4, 9), (7, 5), (8, 8), (3, 3)] * 3
    examples = [{"image": np.full((*size, 3), i, np.uint8)} for i, size in enumerate(sizes)]
    prepare(
        data_dir,
        {},
        features={"image": tfds.features.Image(shape=(None, None, 3))},
        examples={"train": examples, "test": examples[:2]},
        file_format="array_record",
    )
    for cache_bytes in (ROOMY, 0):
        splits = open_tiny(channels=3, cache_bytes=cache_bytes)
        assert sorted(splits.test[i].shape for i in range(2)) == [(4, 9, 3), (7, 5, 3)]
        known = cache_bytes == ROOMY
        assert splits.test.size(0) == ((4, 9) if known else None)


@pytest.mark.parametrize("cache_bytes", [ROOMY, 0])
@pytest.mark.parametrize("shape", [GRAY, (None, None, None)])
def test_gray_for_three_channels_only_when_asked(
    data_dir: Path, shape: tuple, cache_bytes: int
) -> None:
    examples = {s: [{"image": image(i, s)} for i in range(6)] for s in ("train", "test")}
    features = {"image": tfds.features.Image(shape=shape)}
    prepare(data_dir, {}, features=features, examples=examples, file_format="array_record")
    with pytest.raises(UserError, match=r'grayscale.*"color": "rgb"'):
        open_tiny(channels=3, cache_bytes=cache_bytes)
    splits = open_tiny(channels=3, color="rgb", cache_bytes=cache_bytes)
    assert splits.train[0].shape == (6, 8, 3)


@pytest.mark.parametrize("cache_bytes", [ROOMY, 0])
@pytest.mark.parametrize("shape", [(6, 8, 3), (None, None, None)])
def test_colour_for_one_channel_only_when_asked(
    data_dir: Path, shape: tuple, cache_bytes: int
) -> None:
    prepare(data_dir, {"train": 6, "test": 2}, shape=shape, file_format="array_record")
    with pytest.raises(UserError, match=r'in colour.*"color": "grayscale"'):
        open_tiny(cache_bytes=cache_bytes)
    splits = open_tiny(color="grayscale", cache_bytes=cache_bytes)
    assert splits.train[0].shape == (6, 8, 1)


def test_sixteen_bit_images_are_scaled(data_dir: Path) -> None:
    examples = [{"image": np.full((4, 4, 1), v, np.uint16)} for v in (0, 257, 40_000, 65_535)]
    features = {"image": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16)}
    prepare(data_dir, {}, features=features, examples={"train": examples, "test": examples})
    test = open_tiny().test
    assert [int(test[i][0, 0, 0]) for i in range(4)] == [0, 1, 156, 255]


def test_damaged_records_are_named_and_left_out(data_dir: Path) -> None:
    prepare(data_dir, {"train": 8, "test": 4})
    (record_file,) = (data_dir / "tiny").rglob("*test.tfrecord*")
    records = [bytes(r) for r in tf.data.TFRecordDataset(str(record_file)).as_numpy_iterator()]
    broken = tf.train.Example.FromString(records[2])
    broken.features.feature["image"].bytes_list.value[0] = b"no image"
    records[2] = broken.SerializeToString()
    with tf.io.TFRecordWriter(str(record_file)) as writer:
        for record in records:
            writer.write(record)
    splits = open_tiny()
    assert contents(splits.test) == {(22, 0), (22, 1), (22, 3)}
    assert [one.path for one in splits.skipped] == ["tiny test 2"]


def feature_dict(**features) -> "tfds.features.FeaturesDict":
    return tfds.features.FeaturesDict(features)


def test_which_feature_is_the_image() -> None:
    picture = tfds.features.Image(shape=(4, 4, 3))
    mask = tfds.features.LabeledImage(labels=2, shape=(4, 4, 1))
    text = tfds.features.Text()

    def found(**features) -> str:
        return find_image_feature(feature_dict(**features), "x")[0]

    assert found(image=picture, other=picture) == "image"
    assert found(photo=picture, label=np.int64, mask=mask) == "photo"
    assert found(sides={"left": picture}, text=text) == "sides/left"
    with pytest.raises(UserError, match=r"several image features \(left, right\)"):
        found(left=picture, right=picture)
    with pytest.raises(UserError, match="no image feature, only mask, text"):
        found(mask=mask, text=text)
    with pytest.raises(UserError, match="labels or floating-point"):
        found(image=tfds.features.Image(shape=(4, 4, 1), dtype=np.float32))


def test_nested_images_are_read(data_dir: Path) -> None:
    examples = [{"sides": {"left": image(i)}, "label": 0} for i in range(4)]
    features = {"sides": {"left": tfds.features.Image(shape=GRAY)}, "label": np.int64}
    prepare(data_dir, {}, features=features, examples={"train": examples, "test": examples})
    assert contents(open_tiny().test) == {(11, i) for i in range(4)}


class MadeHereForTests(tfds.core.GeneratorBasedBuilder):
    """A data set that needs no download, known by name to TFDS once this class exists."""

    VERSION = tfds.core.Version("1.0.0")
    fail = False

    def _info(self) -> "tfds.core.DatasetInfo":
        return self.dataset_info_from_configs(features=feature_dict(image=tfds.features.Image()))

    def _split_generators(self, dl_manager: object) -> dict:
        return {"train": self._generate_examples(), "test": self._generate_examples()}

    def _generate_examples(self):
        for i in range(4):
            if self.fail and i == 2:
                raise OSError("the disk is full")
            yield i, {"image": np.full((5, 5, 3), i, np.uint8)}


def test_new_data_sets_are_prepared_for_random_access(data_dir: Path) -> None:
    splits = open_tiny("made_here_for_tests", 3, cache_bytes=0)
    assert isinstance(splits.train.source, TfdsSource)
    assert sum(map(len, (splits.train, splits.validation))) == 4
    assert list(data_dir.rglob("*array_record*"))


def test_a_failed_preparation_leaves_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MadeHereForTests, "fail", True)
    with pytest.raises(RunError, match=r"made_here_for_tests: preparing it in .* the disk is full"):
        open_tiny("made_here_for_tests", 3)
    assert not data_dir.exists() or not list(data_dir.rglob("*"))


def test_no_network_is_said_at_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(UserError, match=r"cifar10: not prepared in .*cannot be reached") as caught:
        open_tiny("cifar10", 3)
    assert "TFDS_DATA_DIR" in str(caught.value)
    assert not data_dir.exists()


def test_unknown_names_get_near_misses() -> None:
    with pytest.raises(UserError, match=r"no such data set.*did you mean .*\bmnist\b"):
        open_tiny("mnistt")
    with pytest.raises(UserError, match=r"mnist cannot be loaded at version 9\.9\.9"):
        open_tiny("mnist:9.9.9")
    with pytest.raises(UserError, match="BuilderConfig 33x33 not found"):
        open_tiny("imagenet_resized/33x33")


def test_tfds_missing_although_tensorflow_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match="pip install tensorflow-datasets"):
        open_tiny()
