"""The event files are read back with TensorBoard's own readers."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from builders.event_tensors import histogram_tensor
from builders.event_writer import EventWriter

ROOT = Path(__file__).resolve().parents[2]


def load(logdir) -> EventMultiplexer:
    """What TensorBoard itself holds after reading a folder of runs."""
    multiplexer = EventMultiplexer(purge_orphaned_data=True)
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    return multiplexer


def points(multiplexer: EventMultiplexer, tag: str, run: str = ".") -> list[tuple[int, float]]:
    return [
        (event.step, float(tensor_util.make_ndarray(event.tensor_proto)))
        for event in multiplexer.Tensors(run, tag)
    ]


def one_tensor(logdir, tag: str) -> np.ndarray:
    (event,) = load(logdir).Tensors(".", tag)
    return tensor_util.make_ndarray(event.tensor_proto)


def raw_events(path: Path) -> list[event_pb2.Event]:
    return [event_pb2.Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]


def test_scalars_are_read_back_by_both_readers(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.scalar("train/loss", 0.5, step=0)
        writer.scalar("train/loss", np.float32(0.25), step=1)
        writer.scalar("train/loss", np.array([0.125]), step=2)
    multiplexer = load(tmp_path)
    assert points(multiplexer, "train/loss") == [(0, 0.5), (1, 0.25), (2, 0.125)]
    metadata = multiplexer.SummaryMetadata(".", "train/loss")
    assert metadata.plugin_data.plugin_name == "scalars"
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in accumulator.Scalars("train/loss")] == [
        (0, 0.5),
        (1, 0.25),
        (2, 0.125),
    ]


def test_a_scalar_that_is_not_finite_is_kept(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.scalar("loss", float("nan"), step=0)
        writer.scalar("loss", float("inf"), step=1)
    values = [value for _, value in points(load(tmp_path), "loss")]
    assert np.isnan(values[0]) and values[1] == np.inf


def test_a_scalar_with_several_elements_is_an_error(tmp_path):
    with EventWriter(tmp_path) as writer, pytest.raises(ValueError, match="reshape"):
        writer.scalar("loss", np.zeros(2), step=0)


def test_wall_time_is_the_time_of_writing(tmp_path):
    before = time.time()
    with EventWriter(tmp_path) as writer:
        writer.scalar("loss", 1.0, step=0)
    (event,) = load(tmp_path).Tensors(".", "loss")
    assert before <= event.wall_time <= time.time()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_come_back_pixel_for_pixel(tmp_path, channels):
    batch = np.random.default_rng(0).integers(0, 256, (3, 5, 7, channels), dtype=np.uint8)
    with EventWriter(tmp_path) as writer:
        writer.image("samples", batch, step=0)
    width, height, *encoded = one_tensor(tmp_path, "samples")
    assert (width, height, len(encoded)) == (b"7", b"5", 3)
    for original, png in zip(batch, encoded, strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(png)))
        np.testing.assert_array_equal(decoded.reshape(original.shape), original)
    metadata = load(tmp_path).SummaryMetadata(".", "samples")
    assert metadata.plugin_data.plugin_name == "images"


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_a_single_image_needs_no_batch(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with EventWriter(tmp_path) as writer:
        writer.image("sample", image, step=0)
    _, _, png = one_tensor(tmp_path, "sample")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))).reshape(shape), image)


def test_images_in_another_form_are_refused(tmp_path):
    with EventWriter(tmp_path) as writer:
        with pytest.raises(TypeError, match="uint8 in \\[0, 255\\], found float64"):
            writer.image("x", np.zeros((4, 4)), step=0)
        for shape in [(4,), (4, 4, 5), (0, 4, 3), (1, 1, 4, 4, 3)]:
            with pytest.raises(ValueError, match="found"):
                writer.image("x", np.zeros(shape, np.uint8), step=0)


def test_histogram_has_the_counts_of_numpy(tmp_path):
    values = np.random.default_rng(1).normal(2, 3, (10, 50))
    with EventWriter(tmp_path) as writer:
        writer.histogram("latents", values, step=0)
    rows = one_tensor(tmp_path, "latents")
    counts, edges = np.histogram(values, bins=30)
    np.testing.assert_allclose(rows[:, 0], edges[:-1], atol=1e-12)
    np.testing.assert_allclose(rows[:, 1], edges[1:], atol=1e-12)
    np.testing.assert_array_equal(rows[:, 2], counts)
    assert "latents/not_finite" not in load(tmp_path).Runs()["."]["tensors"]


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 40),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_histogram_counts_every_value_once(values):
    rows = tensor_util.make_ndarray(histogram_tensor(values.astype(np.float64), buckets=7))
    assert rows.shape == (7, 3)
    assert rows[:, 2].sum() == values.size
    assert rows[0, 0] == values.min() and rows[-1, 1] == values.max()
    assert (np.diff(rows[:, :2]) >= 0).all()


def test_histogram_of_one_value_keeps_it(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.histogram("constant", np.full(9, 1e20), step=0)
    rows = one_tensor(tmp_path, "constant")
    assert (rows[:, :2] == 1e20).all()
    assert rows[-1, 2] == 9 and rows[:-1, 2].sum() == 0


def test_histogram_reports_values_that_are_not_finite(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.histogram("y", [0.0, 1.0, np.nan, np.inf, -np.inf], step=4)
        writer.histogram("z", [np.nan, np.nan], step=4)
        with pytest.raises(ValueError, match="no values"):
            writer.histogram("empty", [], step=4)
    multiplexer = load(tmp_path)
    assert one_tensor(tmp_path, "y")[:, 2].sum() == 2
    assert points(multiplexer, "y/not_finite") == [(4, 3.0)]
    assert points(multiplexer, "z/not_finite") == [(4, 2.0)]
    assert "z" not in multiplexer.Runs()["."]["tensors"]


def test_text_keeps_markdown_and_unicode(tmp_path):
    text = '**spec**\n\n    {"é": 0.75}'
    with EventWriter(tmp_path) as writer:
        writer.text("spec", text)
    assert one_tensor(tmp_path, "spec").item().decode() == text
    assert load(tmp_path).SummaryMetadata(".", "spec").plugin_data.plugin_name == "text"


def session(logdir, tag: str):
    content = load(logdir).PluginRunToTagToContent("hparams")["."][tag]
    if tag == hparams_metadata.SESSION_START_INFO_TAG:
        return hparams_metadata.parse_session_start_info_plugin_data(content)
    return hparams_metadata.parse_session_end_info_plugin_data(content)


def test_hparams_start_a_session_with_typed_values(tmp_path):
    values = {
        "learning_rate": np.float32(0.5),
        "latent_dims": 50,
        "optimizer": "adam",
        "gdn": True,
        "entropy_model": None,
        "strides": [2, 2],
    }
    with EventWriter(tmp_path) as writer:
        writer.hparams(values, {"final/psnr_db": 30.5}, step=15)
    start = session(tmp_path, hparams_metadata.SESSION_START_INFO_TAG)
    assert start.hparams["learning_rate"].number_value == 0.5
    assert start.hparams["latent_dims"].number_value == 50
    assert start.hparams["optimizer"].string_value == "adam"
    assert start.hparams["gdn"].WhichOneof("kind") == "bool_value"
    assert start.hparams["entropy_model"].string_value == "none"
    assert json.loads(start.hparams["strides"].string_value) == [2, 2]
    assert points(load(tmp_path), "final/psnr_db") == [(15, 30.5)]
    end = session(tmp_path, hparams_metadata.SESSION_END_INFO_TAG)
    assert end.status == api_pb2.STATUS_SUCCESS


def test_a_run_that_fails_does_not_end_its_session(tmp_path):
    with pytest.raises(KeyboardInterrupt), EventWriter(tmp_path) as writer:
        writer.hparams({"a": 1})
        raise KeyboardInterrupt
    tags = load(tmp_path).PluginRunToTagToContent("hparams")["."]
    assert list(tags) == [hparams_metadata.SESSION_START_INFO_TAG]


def test_a_resumed_run_replaces_what_the_killed_one_wrote_later(tmp_path):
    killed = EventWriter(tmp_path)
    killed.text("spec", "first")
    for epoch in range(8):
        killed.scalar("loss", 100 + epoch, step=epoch)
    killed.close(success=False)
    with EventWriter(tmp_path, purge_step=5) as resumed:
        resumed.scalar("loss", 5, step=5)
    multiplexer = load(tmp_path)
    assert [step for step, _ in points(multiplexer, "loss")] == [0, 1, 2, 3, 4, 5]
    assert points(multiplexer, "loss")[-1] == (5, 5.0)
    assert multiplexer.Tensors(".", "spec")
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert [e.step for e in accumulator.Scalars("loss")] == [0, 1, 2, 3, 4, 5]


def test_resuming_twice_purges_twice(tmp_path):
    for first, last, value in [(0, 10, 1), (4, 8, 2), (6, 7, 3)]:
        with EventWriter(tmp_path, purge_step=first or None) as writer:
            for epoch in range(first, last):
                writer.scalar("loss", value, step=epoch)
    values = [value for _, value in points(load(tmp_path), "loss")]
    assert values == [1, 1, 1, 1, 2, 2, 3]


def test_appending_without_purge_keeps_everything(tmp_path):
    for step in range(3):
        with EventWriter(tmp_path) as writer:
            writer.scalar("loss", step, step=step)
    assert points(load(tmp_path), "loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_a_record_cut_off_by_a_kill_does_not_hide_the_resumed_run(tmp_path):
    killed = EventWriter(tmp_path)
    for epoch in range(3):
        killed.scalar("loss", 1, step=epoch)
    killed.close()
    whole = killed.path.read_bytes()
    killed.path.write_bytes(whole[:-5])
    with EventWriter(tmp_path, purge_step=2) as resumed:
        resumed.scalar("loss", 2, step=2)
    assert points(load(tmp_path), "loss") == [(0, 1.0), (1, 1.0), (2, 2.0)]


def test_files_sort_in_the_order_of_writing_even_when_the_clock_is_behind(tmp_path):
    future = tmp_path / "events.out.tfevents.9999999998.host.1"
    first = EventWriter(tmp_path)
    first.scalar("loss", 1, step=0)
    first.close()
    first.path.rename(future)
    second = EventWriter(tmp_path, purge_step=0)
    second.scalar("loss", 2, step=0)
    second.close()
    assert sorted(p.name for p in tmp_path.iterdir())[-1] == second.path.name
    assert points(load(tmp_path), "loss") == [(0, 2.0)]


def test_flush_makes_events_visible_while_the_file_is_open(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalar("loss", 1, step=0)
    writer.flush()
    assert len(raw_events(writer.path)) == 2  # the header and the scalar
    eager = EventWriter(tmp_path / "eager", flush_secs=0)
    eager.scalar("loss", 1, step=0)
    assert len(raw_events(eager.path)) == 2
    writer.close()
    eager.close()


def test_a_closed_writer_refuses_events_and_closes_twice(tmp_path):
    writer = EventWriter(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.scalar("loss", 1, step=0)


def test_the_writer_does_not_import_tensorflow(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from builders.event_writer import EventWriter\n"
        "with EventWriter(sys.argv[1]) as w:\n"
        "    w.scalar('a', 1, 0); w.text('t', 'x'); w.histogram('h', [1., 2.], 0)\n"
        "    w.image('i', np.zeros((2, 2), 'uint8'), 0); w.hparams({'a': 1})\n"
        "print([m for m in ('tensorflow', 'keras', 'jax') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert len(load(tmp_path).Runs()["."]["tensors"]) == 6
