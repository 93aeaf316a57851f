"""Rounds of a training: each with its own schedule, batch size and crop, resumable anywhere."""

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from builders.callbacks import Progress
from builders.checkpoint import load_weights, read_progress
from builders.data_splits import Splits
from builders.errors import UserError
from builders.problems import SpecError
from builders.resuming import resume_differences, resumed_spec
from builders.rounds import enter_round, rounds_of, splits_of_round
from builders.run_folder import find_run
from builders.session import TrainOptions
from builders.sources import ArraySource
from builders.spec import load_spec, parse_spec
from builders.training import build_compressor, train
from builders.transforms import ImageTransform
from tests.codec_models import conv, photo, spec_tree
from train import FLAG_PATHS, build_parser

ROUNDS = {
    "training.epochs": 1,
    "training.rounds": [
        {"epochs": 1, "batch_size": 4, "optimizer": {"SGD": {"learning_rate": 0.01}}},
        {"epochs": 2, "optimizer": {"AdamW": {"learning_rate": 0.002, "use_ema": True}}},
    ],
}


def quiet(**settings: Any) -> TrainOptions:
    return TrainOptions(verbosity=0, argv=("train.py",), **settings)


def curves(run: Any) -> dict[str, list[float]]:
    times = "time/"
    return {k: v for k, v in run.progress.history.items() if not k.startswith(times)}


def free_size(rounds: list[dict[str, Any]], **changes: Any) -> Any:
    """A spec for crops of any size, on a folder `images`."""
    tree = spec_tree((None, None, 1), [conv(2, 3, 2)], [conv(1, 3, 2, transposed=True)])
    training = {"epochs": 1, "batch_size": 8, "metrics": [], "rounds": rounds}
    dataset = {"name": "images", "crop": [4, 4]}
    return parse_spec({**tree, "training": training, "dataset": {**dataset, **changes}})


@pytest.fixture
def images(workdir: Path) -> Path:
    """A folder with pictures of 12x12 pixels."""
    folder = workdir / "images"
    folder.mkdir()
    for index in range(30):
        Image.fromarray(photo(12, 12, 1, seed=index)[..., 0]).save(folder / f"{index}.png")
    return folder


def test_a_round_takes_from_the_one_before_what_it_does_not_say() -> None:
    spec = free_size([{"epochs": 2, "crop": [6, 6]}, {"epochs": 3, "batch_size": 2}])
    found = rounds_of(spec)
    assert [(each.first_epoch, each.end_epoch) for each in found] == [(0, 1), (1, 3), (3, 6)]
    assert [each.crop for each in found] == [None, [6, 6], [6, 6]]
    assert [each.batch_size for each in found] == [8, 8, 2]
    assert found[2].optimizer == spec.training.optimizer


def test_without_rounds_there_is_one(tiny: Any) -> None:
    (only,) = rounds_of(tiny())
    assert (only.first_epoch, only.end_epoch) == (0, 3)


def test_rounds_follow_each_other(workdir: Path, tiny: Any, capsys: Any) -> None:
    run = train(tiny(ROUNDS), TrainOptions(run_dir=Path("run"), argv=("train.py",)))
    assert run.status == 0
    assert run.progress.epoch == run.progress.epochs == 4
    rates = curves(run)["learning_rate"]
    # The first round's schedule has run for 4 of its 16 steps; then each optimizer has its own.
    expected = [0.02 * (1 + np.cos(np.pi * 4 / 16)) / 2, 0.01, 0.002, 0.002]
    np.testing.assert_allclose(rates, expected, rtol=1e-4)
    said = capsys.readouterr().out
    assert "round      2 of 3: epochs 2 to 2, 4 images a step" in said
    assert "round      3 of 3: epochs 3 to 4, 4 images a step" in said
    assert read_progress(run.choice.folder.state)["round"] == 2


@pytest.fixture
def stop_at(monkeypatch: Any) -> Any:
    """Stops this process behind a step of an epoch, as Ctrl-C would."""

    def arrange(epoch: int, batch: int) -> None:
        from builders.callbacks import LossGuard

        class Guard(LossGuard):
            def on_train_batch_end(self, at: int, logs: Any = None) -> None:
                super().on_train_batch_end(at, logs)
                if (self._feed.epoch, self._feed.start_batch + at) == (epoch, batch):
                    os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr("builders.session.LossGuard", Guard)

    return arrange


@pytest.mark.parametrize(
    ("epoch", "batch"),
    [
        pytest.param(0, 1, id="in 1", marks=pytest.mark.slow),
        pytest.param(0, 3, id="end of 1", marks=pytest.mark.slow),
        pytest.param(1, 2, id="in 2"),
        pytest.param(1, 6, id="end of 2", marks=pytest.mark.slow),
        pytest.param(2, 1, id="in 3", marks=pytest.mark.slow),
        pytest.param(2, 6, id="between epochs of 3", marks=pytest.mark.slow),
        pytest.param(3, 0, id="in the last", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_to_the_same_end_from_any_round(
    epoch: int, batch: int, workdir: Path, tiny: Any, stop_at: Any
) -> None:
    whole = train(tiny(ROUNDS), quiet(run_dir=Path("whole")))
    stop_at(epoch, batch)
    cut = train(tiny(ROUNDS), quiet(run_dir=Path("cut")))
    assert cut.status == 130
    folder = find_run("cut")
    again = train(load_spec(folder.spec), quiet(resume=folder))
    assert again.status == 0
    assert curves(again) == curves(whole)
    x = np.full((2, 8, 8, 1), 77, np.uint8)
    np.testing.assert_array_equal(
        again.compressor.predict_on_batch(x)["x_hat"], whole.compressor.predict_on_batch(x)["x_hat"]
    )


def test_a_round_goes_on_from_averaged_weights(tiny: Any) -> None:
    changes = {"training.optimizer": {"SGD": {"learning_rate": 0.5, "use_ema": True}}}
    spec = tiny({**changes, "training.rounds": [{"epochs": 1}]})
    compressor, _, _ = build_compressor(spec)
    first, second = rounds_of(spec)
    enter_round(compressor, first)
    for _ in range(3):
        compressor.train_on_batch(np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1)))
    averages = [
        keras.ops.convert_to_numpy(each)
        for each in compressor.optimizer._model_variables_moving_average
    ]
    plain = [keras.ops.convert_to_numpy(each) for each in compressor.trainable_variables]
    assert any((a != b).any() for a, b in zip(averages, plain, strict=True))
    enter_round(compressor, second)
    for average, variable in zip(averages, compressor.trainable_variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), average)
    assert int(compressor.optimizer.iterations) == 0


def test_crops_grow_and_validation_stays(images: Path, monkeypatch: Any) -> None:
    spec = free_size([{"epochs": 1, "crop": [8, 8], "batch_size": 4}])
    seen: list[tuple[int, ...]] = []
    from builders import feed

    served = feed.EpochFeed.batches

    def noted(self: Any, skip: int = 0) -> Any:
        for batch in served(self, skip):
            seen.append(batch.shape)
            yield batch

    monkeypatch.setattr(feed.EpochFeed, "batches", noted)
    run = train(spec, quiet(run_dir=Path("run")))
    assert run.status == 0
    assert {shape[1:3] for shape in seen if shape[0] == 8} == {(4, 4)}
    assert (4, 8, 8, 1) in seen
    assert len(curves(run)["val_loss"]) == 2


def test_an_image_too_small_for_a_later_crop_is_found_before_training(images: Path) -> None:
    spec = free_size([{"epochs": 1, "crop": [16, 16]}])
    with pytest.raises(UserError, match=r"too few for dataset.crop 16x16"):
        train(spec, quiet(run_dir=Path("run")))
    assert not Path("run").exists()


def test_sources_of_equal_size_need_no_crop() -> None:
    splits = Splits(*[ArraySource(np.zeros((3, 8, 8, 1), np.uint8))] * 3)
    spec = free_size([{"epochs": 1, "crop": [8, 8]}])
    found = splits_of_round(splits, rounds_of(spec)[1], spec)
    assert found.train_transform == ImageTransform(training=True)
    assert found.evaluation_transform is splits.evaluation_transform


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([{"epochs": 0}], r"training.rounds\[0\].epochs: found 0, expected a number >= 1"),
        ([{"epoch": 2}], r'training.rounds\[0\]: unknown key "epoch"; did you mean "epochs"'),
        (
            [{"epochs": 1}, {"epochs": 1, "optimizer": {"Adm": {}}}],
            r'training.rounds\[1\].optimizer: unknown optimizer "Adm"; did you mean',
        ),
        (
            [{"epochs": 1, "optimizer": {"Adam": {"clipnorm": 1.0, "global_clipnorm": 1.0}}}],
            r"training.rounds\[0\].optimizer.Adam: ",
        ),
        (
            [{"epochs": 1, "crop": [4, 4]}],
            r"training.rounds\[0\].crop: gives \[4, 4\] pixels, the model's input takes \[8, 8\]",
        ),
        (
            [{"epochs": 1, "discriminator_optimizer": {"Adam": {}}}],
            r"training.rounds\[0\].discriminator_optimizer: there is no discriminator",
        ),
    ],
)
def test_what_is_wrong_with_a_round_is_named(
    rounds: list[dict[str, Any]], message: str, tiny: Any
) -> None:
    with pytest.raises(SpecError, match=message):
        build_compressor(tiny({"training.rounds": rounds}))


def test_a_crop_of_a_later_round_that_the_model_can_t_take_is_found_before_training() -> None:
    tree = spec_tree(
        (None, None, 1),
        [{"SpaceToDepth": {"block_size": 4}}],
        [{"DepthToSpace": {"block_size": 4}}],
    )
    tree["training"]["rounds"] = [{"epochs": 1}, {"epochs": 1, "crop": [10, 10]}]
    tree["dataset"] = {"name": "images", "crop": [8, 8]}
    with pytest.raises(SpecError, match=r"with training.rounds\[1\].crop \[10, 10\]") as caught:
        build_compressor(parse_spec(tree))
    assert "must be multiples of block_size 4" in str(caught.value)


def test_patience_waits_for_the_last_round(workdir: Path, tiny: Any) -> None:
    """Weights that do not move: no epoch is better than the first by more than chance."""
    still = {"SGD": {"learning_rate": 1e-30}}
    changes = {
        "training.epochs": 4,
        "training.optimizer": still,
        "training.early_stopping_patience": 2,
        "training.rounds": [{"epochs": 9, "optimizer": still}],
    }
    run = train(tiny(changes), quiet(run_dir=Path("run")))
    assert run.progress.epoch >= 6  # all of the first round, and two of the last
    assert run.progress.epoch - 1 - max(run.progress.best_epoch, 3) == 2
    assert run.progress.stopped


def test_a_run_with_rounds_refuses_other_epochs_whoever_asks(workdir: Path, tiny: Any) -> None:
    changes = {"training.rounds": [{"epochs": 1}]}
    train(tiny({**changes, "training.epochs": 1}), quiet(run_dir=Path("run")))
    folder = find_run("run")
    spec = load_spec(folder.spec, {"training.epochs": 3})
    with pytest.raises(UserError, match="2 epochs were asked for, 4 are now; with rounds"):
        train(spec, quiet(resume=folder))


def test_a_state_goes_on_that_knows_nothing_of_newer_fields(tiny: Any) -> None:
    before = tiny().resolved()
    for section, key in (("training", "rounds"), ("dataset", "on_device")):
        del before[section][key]
    assert resume_differences(tiny(), before) == []
    before["training"]["rounds"] = [{"epochs": 2}]
    assert len(resume_differences(tiny(), before)) == 1


def test_a_state_of_before_there_were_rounds_is_of_the_first() -> None:
    plain = Progress().to_json()
    del plain["round"]
    assert Progress.from_json(plain).round == 0


def test_weights_of_a_run_with_rounds_are_those_of_its_spec(workdir: Path, tiny: Any) -> None:
    run = train(tiny(ROUNDS), quiet(run_dir=Path("run")))
    twin, _, _ = build_compressor(tiny())  # without rounds: they don't touch what weights are for
    load_weights(twin, tiny(), run.choice.folder.best)


def test_a_run_with_rounds_goes_on_as_long_as_they_say(workdir: Path, tiny: Any) -> None:
    train(tiny({**ROUNDS, "training.rounds": [{"epochs": 1}]}), quiet(run_dir=Path("run")))
    flags = build_parser().parse_args(["--resume", "--run_dir", "run", "--epochs", "5"])
    with pytest.raises(
        UserError, match=r"--epochs 5: .*run has rounds, which begin after 1 epochs"
    ):
        resumed_spec(flags, find_run("run"), FLAG_PATHS)


RECIPES: dict[str, dict[str, Any]] = {
    "AdamW, warm-up and cosine": {
        "AdamW": {
            "learning_rate": {
                "CosineDecay": {
                    "initial_learning_rate": 1e-5,
                    "warmup_target": 0.01,
                    "warmup_steps": 4,
                    "decay_steps": 8,
                }
            },
            "global_clipnorm": 1.0,
        }
    },
    "Muon": {"Muon": {"learning_rate": 0.01, "adam_lr_ratio": 1, "rms_rate": 0.2}},
    "steps": {
        "SGD": {
            "learning_rate": {
                "PiecewiseConstantDecay": {"boundaries": [4, 8], "values": [0.5, 0.2, 0.1]}
            },
            "momentum": 0.9,
        }
    },
    "accumulation": {"Adam": {"learning_rate": 0.02, "gradient_accumulation_steps": 2}},
    "schedule-free": {"ScheduleFreeAdamW": {"learning_rate": 0.02}},
    "averages": {"Adam": {"learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.8}},
}


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(name, marks=[] if name in {"averages", "accumulation"} else pytest.mark.slow)
        for name in RECIPES
    ],
)
def test_recipes_train_and_go_on_to_the_same_end(
    recipe: str, workdir: Path, tiny: Any, stop_at: Any
) -> None:
    changes = {"training.optimizer": RECIPES[recipe]}
    whole = train(tiny(changes), quiet(run_dir=Path("whole")))
    losses = curves(whole)["loss"]
    assert losses[-1] < losses[0]
    stop_at(1, 1)
    assert train(tiny(changes), quiet(run_dir=Path("cut"))).status == 130
    folder = find_run("cut")
    again = train(load_spec(folder.spec), quiet(resume=folder))
    assert curves(again) == curves(whole)
