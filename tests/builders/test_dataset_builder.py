"""From a section to splits: what a name means, and what is said when it means nothing."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Section:
    """The fields of a spec's dataset section."""

    name: str
    tfds: bool = False
    resize: tuple[int, int] | None = None
    tile: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    color: str | None = None
    flip: bool = False
    validation_fraction: float = 0.25
    test_fraction: float = 0.25
    every_nth: int = 1
    clip_frames: int = 1
    max_images: int | None = None
    cache_mebibytes: int = 16
    workers: int = 1


def build(name: str | Path, shape=(None, None, 3), *, seed: int = 0, **settings) -> Splits:
    section = Section(str(name), **settings)
    return DatasetBuilder(section, shape, seed=seed).build()  # type: ignore[arg-type]


def save(folder: Path, names: list[str], size: tuple[int, int] = (24, 24)) -> None:
    rng = np.random.default_rng(len(names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def names_of(source) -> set[str]:
    return {source.name(i) for i in range(len(source))}


def test_digits_train_the_default_spec() -> None:
    splits = build("digits", (28, 28, 1))
    batch = next(splits.loader("train", 32, training=True).batches(0))
    assert batch.shape == (32, 28, 28, 1)
    assert splits.train_transform.is_identity


@pytest.mark.parametrize(
    ("shape", "settings", "size"),
    [
        ((None, None, 1), {}, (32, 32)),
        ((None, None, 1), {"resize": (20, 24)}, (20, 24)),
        ((16, 16, 1), {"resize": (20, 20), "crop": (16, 16)}, (16, 16)),
        ((None, 48, 1), {}, (32, 48)),
    ],
)
def test_digits_come_in_the_size_asked_for(shape, settings, size) -> None:
    splits = build("digits", shape, **settings)
    assert next(splits.loader("validation", 4).batches(0)).shape == (4, *size, 1)


@pytest.mark.parametrize(
    ("shape", "settings", "size"),
    [
        ((None, None, 3), {}, (128, 128)),
        ((64, 96, 3), {}, (64, 96)),
        ((None, None, 3), {"crop": (50, 60)}, (50, 60)),
        ((32, 32, 3), {"resize": (32, 32)}, (32, 32)),
    ],
)
def test_photos_come_in_the_size_asked_for(shape, settings, size) -> None:
    pytest.importorskip("skimage")
    splits = build("photos", shape, **settings)
    assert next(splits.loader("test", 2).batches(0)).shape == (2, *size, 3)


def test_folder_by_hash(tmp_path: Path) -> None:
    files = [f"{i}.png" for i in range(30)]
    save(tmp_path, files)
    splits = build(tmp_path)
    parts = [names_of(part) for part in (splits.train, splits.validation, splits.test)]
    assert set.union(*parts) == set(files)
    assert sum(map(len, parts)) == 30
    assert "hash" in splits.notes[0]
    save(tmp_path, ["more/0.png", "more/1.png"])
    grown = build(tmp_path)
    for part, again in zip(parts, (grown.train, grown.validation, grown.test), strict=True):
        assert part <= names_of(again)
    elsewhere = tmp_path.parent / (tmp_path.name + "_moved")
    tmp_path.rename(elsewhere)
    assert names_of(build(elsewhere, seed=9).test) == names_of(grown.test)


def test_folder_with_its_own_splits(tmp_path: Path) -> None:
    save(tmp_path, ["train/a.png", "train/b.png", "valid/c.png", "test/d.png", "other/e.png"])
    splits = build(tmp_path)
    assert names_of(splits.train) == {"train/a.png", "train/b.png"}
    assert names_of(splits.validation) == {"valid/c.png"}
    assert names_of(splits.test) == {"test/d.png"}
    assert "1 images outside of test, train, valid are not used" in splits.notes[0]


def test_missing_split_folders_are_cut_from_train(tmp_path: Path) -> None:
    save(tmp_path, [f"train/{i}.png" for i in range(20)] + ["test/a.png"])
    splits = build(tmp_path)
    assert names_of(splits.test) == {"test/a.png"}
    assert len(splits.validation)
    assert names_of(splits.train).isdisjoint(names_of(splits.validation))
    assert len(splits.train) + len(splits.validation) == 20
    assert "no folder for validation, so cut from train" in splits.notes[0]


def test_broken_files_are_left_out_and_splits_stay_filled(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(4)])
    (only,) = names_of(build(tmp_path, validation_fraction=0.01, test_fraction=0.0).validation)
    (tmp_path / only).write_bytes(b"not an image")
    splits = build(tmp_path, validation_fraction=0.01, test_fraction=0.0)
    assert len(splits.validation) == 1
    assert [Path(one.path).name for one in splits.skipped] == [only]
    assert any("left out, cannot be read: 1" in line for line in splits.describe())
    assert any(only in line for line in splits.describe())


def test_a_split_folder_of_broken_files_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, ["train/a.png", "train/b.png"])
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "c.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no image for validation can be read\n.*val/c\.png"):
        build(tmp_path)


def test_max_images_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(40)])
    full = build(tmp_path)
    few = build(tmp_path, max_images=3)
    for split in ("train", "validation", "test"):
        assert len(few.select(split)) == 3
        assert names_of(few.select(split)) <= names_of(full.select(split))


def test_no_test_split_is_said(tmp_path: Path) -> None:
    save(tmp_path, ["0.png", "1.png"])
    splits = build(tmp_path, test_fraction=0.01)
    assert len(splits.test) == 0
    assert any("no image for the test split" in note for note in splits.notes)
    with pytest.raises(UserError, match="test split has no images"):
        splits.loader("test", 2)
    assert splits.loader("all", 2).images == 2
    with pytest.raises(UserError, match="one of train, validation, test, all"):
        splits.select("dev")  # type: ignore[arg-type]


def test_larger_images_are_cropped_with_a_note(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(6)], (30, 40))
    splits = build(tmp_path, (24, 24, 3))
    assert any("cropped to 24x24" in note for note in splits.notes)
    train = splits.loader("train", 8, training=True)
    assert next(train.batches(0)).shape[1:] == (24, 24, 3)
    assert not np.array_equal(
        np.sort(next(train.batches(0)), axis=0), np.sort(next(train.batches(1)), axis=0)
    )
    evaluation = splits.loader("train", 1)
    first = splits.train[0][3:27, 8:32]
    np.testing.assert_array_equal(next(evaluation.batches(0))[0], first)
    np.testing.assert_array_equal(next(evaluation.batches(1))[0], first)


def test_colour_and_size_are_checked(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(6)])
    with pytest.raises(UserError, match='"color": "grayscale"'):
        build(tmp_path, (None, None, 1))
    with pytest.raises(UserError, match='"resize"'):
        build(tmp_path, (64, 64, 3))
    with pytest.raises(UserError, match="input has 2 channels"):
        build(tmp_path, (None, None, 2))
    with pytest.raises(UserError, match='"rgb" gives 3 channels'):
        build(tmp_path, (None, None, 1), color="rgb")
    with pytest.raises(UserError, match='"grayscale" gives 1 channel'):
        build(tmp_path, (None, None, 3), color="grayscale")
    with pytest.raises(UserError, match="train on"):
        build(tmp_path, validation_fraction=0.6, test_fraction=0.5)
    with pytest.raises(UserError, match="every_nth"):
        build(tmp_path, every_nth=2)


def test_names_that_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday_photos").mkdir()
    with pytest.raises(UserError, match=r"did you mean digits\?"):
        build("digit")
    with pytest.raises(UserError, match=r"did you mean holiday_photos\?"):
        build("holiday_photo")
    with pytest.raises(UserError, match=f"did you mean {tmp_path}/holiday_photos"):
        build(tmp_path / "holliday_photos")
    with pytest.raises(UserError, match="nowhere/at does not exist either"):
        build("nowhere/at/all")
    with pytest.raises(UserError, match="tfds: true"):
        build("mnist")


def test_folders_without_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files at all"):
        build(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"only files of other kinds: 1 \.txt"):
        build(tmp_path)
    with pytest.raises(UserError, match=r"single file ending in \.txt"):
        build(tmp_path / "a.txt")
    save(tmp_path, ["a.png"])
    with pytest.raises(UserError, match="one image cannot be split"):
        build(tmp_path)
    (tmp_path / "b.mp4").write_bytes(b"x")
    with pytest.raises(UserError, match=r"both images .* and videos"):
        build(tmp_path)


def test_a_folder_called_digits_wins_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, [f"digits/{i}.png" for i in range(4)])
    splits = build("digits")
    assert len(splits.train)
    assert any("not the embedded digits" in note for note in splits.notes)


def test_describe_tells_the_whole_story(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(8)])
    save(tmp_path, ["wide.png"], (24, 30))
    lines = build(tmp_path, resize=(20, 20), crop=(16, 16), flip=True).describe()
    assert "3 channels" in lines[0]
    assert "24 to 24 pixels high and 24 to 30 wide" in lines[0]
    assert "resized to 20x20" in lines[1]
    assert "cropped to 16x16" in lines[1]
    assert "mirrored" in lines[1]
    assert "used as it is" in build("digits", (28, 28, 1)).describe()[1]


def test_progress_is_reported(tmp_path: Path) -> None:
    save(tmp_path, [f"{i}.png" for i in range(4)])
    calls = []
    section = Section(str(tmp_path))
    DatasetBuilder(
        section,  # type: ignore[arg-type]
        (None, None, 3),
        report=lambda *call: calls.append(call),
    ).build()
    assert calls == [("reading images", 4, 4)]


def test_heavy_libraries_are_imported_only_when_used() -> None:
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'av', 'skimage', 'sklearn'):\n"
        "    sys.modules[name] = None\n"  # as if it were not installed
        "import builders.dataset_builder, builders.data_splits, builders.loader\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_videos_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(UserError, match=r"pip install -r requirements-video\.txt"):
        build(tmp_path / "a.mp4")


def test_tfds_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"needs TensorFlow.*work without"):
        build("mnist", tfds=True)
