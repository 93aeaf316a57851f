"""A `.nicv` file that was written once and must decode to the same symbols for ever."""

import json
from fractions import Fraction

from codec.bundle import Bundle
from codec.clip_codec import ClipReader
from codec.clip_container import ClipFile
from codec.image_codec import ImageCodec
from evaluation.determinism import no_transforms
from tests.golden_codec import BUNDLE, CLIP, CLIP_DIGESTS, clip_digests


def test_the_golden_clip_decodes_to_the_same_symbols() -> None:
    codec = ImageCodec(Bundle.read(BUNDLE), no_transforms)
    reader = ClipReader(codec, CLIP.read_bytes())
    header = reader.header
    assert (header.width, header.height, header.frames, header.interval) == (56, 40, 5, 2)
    assert (header.rate, header.quality) == (Fraction(30000, 1001), 120)
    assert clip_digests(reader) == json.loads(CLIP_DIGESTS.read_text("utf-8"))


def test_the_golden_clip_is_written_as_it_was() -> None:
    data = CLIP.read_bytes()
    file = ClipFile.from_bytes(data)
    assert file.to_bytes() == data
    codec = ImageCodec(Bundle.read(BUNDLE), no_transforms)
    reader = ClipReader(codec, data)
    for group, coded in enumerate(file.groups):
        assert codec.coder.write(reader.latents(group).arrays, 120) == coded.stream
