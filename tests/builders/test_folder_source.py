"""Folders: what is found, what is left out, what is kept in memory."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders.errors import UserError
from builders.file_search import search
from builders.folder_source import FolderSource

MEBIBYTE = 1 << 20


def save(path: Path, level: int = 100, size: tuple[int, int] = (6, 8), mode: str = "RGB") -> None:
    """One plain image; `size` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size[::-1], level)
    if mode != "L":
        image = Image.merge("RGB", (image, Image.new("L", image.size, 7), image)).convert(mode)
    image.save(path)


def test_search_is_recursive_sorted_and_by_suffix(tmp_path: Path) -> None:
    for name in ["b.PNG", "a/z.jpg", "a/b/c.JPeG", ".hidden.png", ".git/x.png", "a/._y.png"]:
        save(tmp_path / name) if "._" not in name else (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "a" / "README").write_text("x")
    (tmp_path / "clip.MP4").write_bytes(b"x")
    found = search(tmp_path)
    assert found.images == ["a/b/c.JPeG", "a/z.jpg", "b.PNG"]
    assert found.videos == ["clip.MP4"]
    assert dict(found.others) == {".txt": 1, "no suffix": 1}


def test_search_ends_in_loops_of_links(tmp_path: Path) -> None:
    save(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = search(tmp_path)
    assert found.images == ["a/x.png", "self.png"]


def test_search_follows_links_to_folders_elsewhere(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    assert search(tmp_path / "data").images == ["link/x.png"]


def test_search_passes_pipes_by(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert search(tmp_path).images == []


def open_folder(folder: Path, channels: int = 3, **settings) -> FolderSource:
    settings.setdefault("cache_bytes", MEBIBYTE)
    return FolderSource(folder, search(folder).images, channels=channels, **settings)


def test_images_come_by_name_size_and_content(tmp_path: Path) -> None:
    save(tmp_path / "b.png", 20, (4, 9))
    save(tmp_path / "a" / "a.png", 10, (5, 3))
    source = open_folder(tmp_path)
    assert len(source) == 2
    assert [source.name(i) for i in range(2)] == ["a/a.png", "b.png"]
    assert [source.size(i) for i in range(2)] == [(5, 3), (4, 9)]
    assert source[1].shape == (4, 9, 3)
    assert source[1][0, 0].tolist() == [20, 7, 20]
    assert source[1].dtype == np.uint8


def test_broken_files_are_named_and_left_out(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / f"{index}.png", index)
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:50])
    calls: list[tuple[str, int, int]] = []
    source = open_folder(tmp_path, progress=lambda *call: calls.append(call))
    assert [source.name(i) for i in range(len(source))] == ["0.png", "2.png", "4.png"]
    assert [Path(broken.path).name for broken in source.skipped] == ["1.png", "3.png"]
    assert source[1][0, 0, 0] == 2
    assert calls == [("reading images", 5, 5)]


def test_nothing_but_broken_files_is_an_error(tmp_path: Path) -> None:
    for index in range(9):
        (tmp_path / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of the 9 images can be read") as caught:
        open_folder(tmp_path)
    assert "0.png: is not an image" in str(caught.value)
    assert "and 4 more" in str(caught.value)


def test_the_cache_stays_within_its_budget(tmp_path: Path) -> None:
    for index in range(6):
        save(tmp_path / f"{index}.png", index * 10)
    image_bytes = 6 * 8 * 3
    source = open_folder(tmp_path, cache_bytes=4 * image_bytes + 5)
    assert source.cached == 4
    assert [int(source[i][0, 0, 0]) for i in range(6)] == [0, 10, 20, 30, 40, 50]
    assert open_folder(tmp_path, cache_bytes=0).cached == 0


def test_cached_images_cannot_be_written_into(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="read-only"):
        open_folder(tmp_path)[0][0, 0, 0] = 1


def test_mixed_folders_are_promoted(tmp_path: Path) -> None:
    save(tmp_path / "gray.png", 50, mode="L")
    save(tmp_path / "colour.png", 60)
    save(tmp_path / "palette.png", 70, mode="P")
    save(tmp_path / "alpha.png", 80, mode="RGBA")
    source = open_folder(tmp_path)
    for index in range(4):
        assert source[index].shape == (6, 8, 3)
    by_name = {source.name(i): source[i] for i in range(4)}
    assert by_name["gray.png"][0, 0].tolist() == [50, 50, 50]
    assert by_name["palette.png"][0, 0].tolist() == [51, 0, 51]  # the nearest web colour
    assert open_folder(tmp_path, 4)[0].shape == (6, 8, 4)


def test_colour_is_not_thrown_away_unasked(tmp_path: Path) -> None:
    save(tmp_path / "a.png", mode="L")
    save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r'b\.png is in colour.*"color": "grayscale"'):
        open_folder(tmp_path, 1)
    assert open_folder(tmp_path, 1, color="grayscale")[1].shape == (6, 8, 1)


def test_gray_is_not_tripled_unasked(tmp_path: Path) -> None:
    save(tmp_path / "a.png", mode="L")
    with pytest.raises(UserError, match=r'all images are grayscale.*"color": "rgb"'):
        open_folder(tmp_path, 3)
    assert open_folder(tmp_path, 3, color="rgb")[0].shape == (6, 8, 3)
    assert open_folder(tmp_path, 1)[0].shape == (6, 8, 1)


def test_opening_leaves_no_thread(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    before = threading.active_count()
    open_folder(tmp_path)
    assert threading.active_count() == before
