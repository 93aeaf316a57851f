import copy

import pytest

from architectures.deployment import with_free_size
from architectures.hyperprior import MeanScaleHyperprior
from builders.codec_geometry import codec_geometry, latent_shapes
from builders.errors import RunError
from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from codec.geometry import Geometry, Grid
from codec.manifest import GeometryEntry
from tests.codec_models import TREES, conv, spec_tree


def entry_of(tree) -> tuple[GeometryEntry, object]:
    spec = parse_spec(copy.deepcopy(tree))
    generator = ModelBuilder(spec).build().generator
    return codec_geometry(generator, spec), generator


def tree_of(shape, *pairs, **more):
    encoder, decoder = zip(*pairs, strict=True)
    return spec_tree(shape, list(encoder), list(decoder[::-1]), **more)


HALVING = conv(4, 3, 2), conv(3, 3, 2, transposed=True)
FOLDING = {"SpaceToDepth": {"block_size": 4}}, {"DepthToSpace": {"block_size": 4}}


@pytest.mark.parametrize(
    ("tree", "first", "step", "shape", "growth"),
    [
        (tree_of((None, None, 3), HALVING), [2, 2], [2, 2], [1, 1, 4], [1, 1]),
        (tree_of((None, None, 3), HALVING, HALVING), [4, 4], [4, 4], [1, 1, 4], [1, 1]),
        (tree_of((24, 40, 3), HALVING), [2, 2], [2, 2], [1, 1, 4], [1, 1]),  # fits any size
        (
            spec_tree((None, None, 3), [conv(5, 3)], [conv(3, 3)]),
            [1, 1],
            [1, 1],
            [1, 1, 5],
            [1, 1],
        ),
        (
            spec_tree(
                (None, None, 3),
                [FOLDING[0], conv(6)],
                [conv(48), FOLDING[1]],
            ),
            [4, 4],
            [4, 4],
            [1, 1, 6],
            [1, 1],
        ),
        (
            spec_tree(
                (None, None, 3),
                [conv(4, 3, [2, 4])],
                [conv(3, 3, [2, 4], transposed=True)],
            ),
            [2, 4],
            [2, 4],
            [1, 1, 4],
            [1, 1],
        ),
        (TREES["dense"], [8, 8], [0, 0], [6], [0, 0]),
    ],
)
def test_blocks_and_latents(tree, first, step, shape, growth):
    entry, _ = entry_of(tree)
    assert (entry.first, entry.step) == (first, step)
    assert entry.grids["y"].shape == shape
    assert entry.grids["y"].growth == growth
    assert "z" not in entry.grids
    assert entry.bytes_per_pixel >= 1


@pytest.mark.parametrize("kind", ["scale", "plain"])
def test_shapes_are_those_of_the_model_at_any_size(kind):
    entry, generator = entry_of(TREES[kind])
    free = with_free_size(generator, entry.channels)
    grids = {
        name: Grid(tuple(each.shape), tuple(each.growth)) for name, each in entry.grids.items()
    }
    geometry = Geometry(entry.channels, tuple(entry.first), tuple(entry.step), grids)
    for size in ((1, 1), (9, 8), (57, 130)):
        plan = geometry.plan(*size)
        found = latent_shapes(free, (*plan.block, entry.channels))
        assert {name: (1, *shape) for name, shape in found.items()} == plan.shapes


def test_sizes_are_found_without_the_entropy_model(monkeypatch):
    """JAX can't prove that means fit latents whose sizes are unknown; the codec sees to that."""
    spec = parse_spec(copy.deepcopy(TREES["mean_scale"]))
    generator = ModelBuilder(spec).build().generator

    def fail(self, y, training=None):
        raise TypeError("sub got incompatible shapes for broadcasting")

    monkeypatch.setattr(MeanScaleHyperprior, "call", fail)
    assert with_free_size(generator, 3) is None
    assert codec_geometry(generator, spec).step == [8, 8]


def test_memory_is_that_of_the_largest_layer():
    """Four copies of 32 float32 channels at full size are 512 bytes a pixel."""
    wide, _ = entry_of(spec_tree((None, None, 3), [conv(32), conv(2)], [conv(3)]))
    assert wide.bytes_per_pixel == 4 * 4 * 32
    folded, _ = entry_of(
        spec_tree((None, None, 3), [FOLDING[0], conv(128)], [conv(48), FOLDING[1]])
    )
    assert folded.bytes_per_pixel == 4 * 4 * 128 // 16


def test_latents_larger_than_the_image_are_refused():
    tree = spec_tree((None, None, 3), [conv(4, 3, 2, transposed=True)], [conv(3, 3, 2)])
    with pytest.raises(RunError, match="larger than the image"):
        entry_of(tree)
