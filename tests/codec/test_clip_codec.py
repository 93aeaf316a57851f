"""Frames to `.nicv` files and back, with networks in NumPy that lose nothing."""

import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from codec.bundle import Bundle
from codec.clip_codec import KEY_FRAME_INTERVAL, ClipReader, write_clip
from codec.clip_container import ClipFile, Group, read_clip_info
from codec.errors import NicBundleError, NicError, NicFieldError, NicLatentsError, NicModelError
from codec.header import Mode
from codec.image_codec import ImageCodec
from codec.picture import PictureError
from tests.codec import hand_made

RATE = Fraction(25)
PREDICTS = {"layers": {"generator": {"prediction": {"PreviousFrame": {"mode": "residual"}}}}}


class Predicting(hand_made.Folding):
    """Latents are half the difference to the reference: what is lost shows in the next frame."""

    def analyse(self, pixels, reference=None):
        difference = pixels.astype(np.float32) - _levels(reference, pixels.shape)
        blocks, height, width, channels = pixels.shape
        side = hand_made.SIDE
        cut = difference.reshape(blocks, height // side, side, width // side, side, channels)
        y = np.round(cut.swapaxes(2, 3).reshape(blocks, height // side, width // side, -1) / 3)
        return {"y": y.astype(np.float32), "z": np.abs(y).mean(axis=-1, keepdims=True)}

    def synthesise(self, y_hat, reference=None):
        blocks, rows, columns, depth = y_hat.shape
        side = hand_made.SIDE
        cut = (3 * y_hat).reshape(blocks, rows, columns, side, side, depth // side**2)
        image = cut.swapaxes(2, 3).reshape(blocks, rows * side, columns * side, -1)
        return np.clip(image + _levels(reference, image.shape), 0, 255).astype(np.uint8)


def _levels(reference, shape):
    return np.full(shape, 128.0) if reference is None else reference.astype(np.float32)


def clip(frames: int = 7, height: int = 20, width: int = 27, channels: int = 3) -> np.ndarray:
    """Noise that stands still, and a corner that changes."""
    numbers = np.random.default_rng((frames, height))
    still = numbers.integers(0, 256, (1, height, width, channels), np.uint8)
    moving = np.repeat(still, frames, axis=0)
    moving[:, :8, :8] = numbers.integers(0, 256, (frames, 8, 8, channels), np.uint8)
    return moving


def plain(tmp_path, kind: str = "factorized", **given) -> ImageCodec:
    return hand_made.codec(tmp_path, kind=kind, **given)


def predicting(tmp_path, kind: str = "factorized") -> ImageCodec:
    files = hand_made.changed(
        hand_made.files(kind), lambda tree: tree.update(spec={"model": PREDICTS})
    )
    bundle = Bundle.read(hand_made.write(tmp_path, files))
    transforms = Predicting()
    return ImageCodec(bundle, lambda: transforms)


def written(codec: ImageCodec, frames: np.ndarray, **settings) -> tuple[bytes, list[np.ndarray]]:
    writer = write_clip(codec, frames.shape[1:], RATE, **settings)
    seen = []
    for frame in frames:
        writer.add(frame)
        seen.append(writer.decoded())
    return writer.finish(), seen


@pytest.mark.parametrize("kind", ["stored", "quantized", "factorized"])
@pytest.mark.parametrize("fixed", [True, False])
def test_frames_on_their_own_come_back(tmp_path, kind: str, fixed: bool) -> None:
    codec, frames = plain(tmp_path, kind, fixed=fixed), clip()
    data, seen = written(codec, frames, interval=3)
    np.testing.assert_array_equal(list(ClipReader(codec, data)), frames)
    np.testing.assert_array_equal(seen, frames)
    header = read_clip_info(data).header
    assert (header.frames, header.interval, header.groups, header.rate) == (7, 3, 3, RATE)


@pytest.mark.parametrize("kind", ["factorized", "hyperprior"])
@pytest.mark.parametrize("interval", [1, 3, None])
def test_what_is_decoded_is_what_the_encoder_predicted_from(tmp_path, kind, interval) -> None:
    codec, frames = predicting(tmp_path, kind), clip()
    data, seen = written(codec, frames, interval=interval)
    np.testing.assert_array_equal(list(ClipReader(codec, data)), seen)
    error = np.abs(np.array(seen, int) - frames).max()
    assert error <= (1 if kind == "factorized" else 12)  # and does not grow from frame to frame


def test_what_stands_still_is_not_coded_again(tmp_path) -> None:
    codec, frames = predicting(tmp_path, "hyperprior"), clip()
    often, _ = written(codec, frames, interval=1)
    once, _ = written(codec, frames)
    assert len(once) < 0.5 * len(often)
    assert read_clip_info(once).header.interval == KEY_FRAME_INTERVAL


def test_a_group_stands_on_its_own(tmp_path) -> None:
    codec, frames = predicting(tmp_path), clip()
    data, seen = written(codec, frames, interval=3)
    rest, seen_rest = written(codec, frames[3:], interval=3)
    assert ClipFile.from_bytes(data).groups[1:] == ClipFile.from_bytes(rest).groups
    np.testing.assert_array_equal(seen[3:], seen_rest)


def test_gray_frames_under_a_model_for_colour(tmp_path) -> None:
    codec, frames = predicting(tmp_path), clip(channels=1)
    data, seen = written(codec, frames)
    assert read_clip_info(data).header.mode is Mode.GRAYSCALE
    np.testing.assert_array_equal(list(ClipReader(codec, data)), seen)
    assert seen[0].shape == (20, 27, 1)


def test_frames_that_do_not_fit_are_refused(tmp_path) -> None:
    codec = plain(tmp_path / "a")
    writer = write_clip(codec, (20, 27, 3), RATE)
    with pytest.raises(PictureError, match="without frames"):
        writer.finish()
    writer.add(clip()[0])
    with pytest.raises(PictureError, match=r"frame 1 is uint8 \(20, 20, 3\)"):
        writer.add(clip(width=20)[0])
    with pytest.raises(PictureError, match="the model takes gray ones"):
        write_clip(plain(tmp_path / "b", channels=1), (20, 27, 3), RATE)
    with pytest.raises(ValueError, match="quality 1; the model has 0 to 0"):
        write_clip(codec, (20, 27, 3), RATE, quality=1)
    with pytest.raises(NicFieldError, match="every 64 is allowed"):
        write_clip(codec, (1024, 1024, 3), RATE, interval=120)
    assert write_clip(codec, (1024, 1024, 3), RATE).interval == 64


def test_another_model_or_quality_is_refused(tmp_path) -> None:
    codec, other = plain(tmp_path / "a"), predicting(tmp_path / "b")
    data, _ = written(codec, clip(2))
    with pytest.raises(NicModelError):
        ClipReader(other, data)
    file = ClipFile.from_bytes(data)
    wrong = ClipFile(replace(file.header, quality=1), file.groups)
    with pytest.raises(NicBundleError, match="quality 1"):
        ClipReader(codec, wrong.to_bytes())


def test_a_thin_clip_of_much_padding_is_refused_both_ways(tmp_path) -> None:
    codec = plain(tmp_path)
    header = write_clip(codec, (1, 2**15, 3), RATE, interval=2**8)._header
    thin = ClipFile(replace(header, frames=2**8), (Group(b"", 0),))
    with pytest.raises(NicFieldError, match=r"with padding: a file of \d+ bytes has at most"):
        ClipReader(codec, thin.to_bytes())
    codec.coder.write = lambda arrays, quality: b""
    writer = write_clip(codec, (1, 2**15, 3), RATE, interval=64)
    for _ in range(60):
        writer.add(np.zeros((1, 2**15, 3), np.uint8))
    with pytest.raises(PictureError, match="no decoder would take that file"):
        writer.finish()


def test_latents_that_were_not_coded_are_noticed(tmp_path) -> None:
    codec = plain(tmp_path)
    data, _ = written(codec, clip(2))
    file = ClipFile.from_bytes(data)
    group = replace(file.groups[0], latents_crc32=file.groups[0].latents_crc32 ^ 1)
    with pytest.raises(NicLatentsError):
        list(ClipReader(codec, ClipFile(file.header, (group,)).to_bytes()))


@pytest.mark.parametrize("kind", ["stored", "hyperprior"])
def test_damage_behind_a_right_checksum_never_does_more_than_a_nic_error(tmp_path, kind) -> None:
    codec = predicting(tmp_path, kind)
    data, _ = written(codec, np.zeros((3, 8, 8, 3), np.uint8) + 130, interval=2)
    body = data[:-4]
    accepted = 0
    for at in range(len(body)):
        for bit in range(8):
            damaged = bytearray(body)
            damaged[at] ^= 1 << bit
            whole = bytes(damaged) + zlib.crc32(damaged).to_bytes(4, "little")
            try:
                frames = list(ClipReader(codec, whole))
            except NicError:
                continue
            accepted += 1
            assert frames[0].dtype == np.uint8
    assert accepted < 40  # rate, size below a block, and what else is no part of the latents
