"""Rounds, several steps a dispatch, images on the device and several devices, all in one run."""

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.codec_models import conv, photo, spec_tree

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.jax, pytest.mark.timeout(1800)]


@pytest.fixture
def spec(workdir: Path) -> Path:
    """Crops of images of several sizes, batches that leave a rest, a second round."""
    (workdir / "images").mkdir()
    for index in range(40):
        pixels = photo(8 + index % 3, 9, 1, seed=index)[..., 0]
        Image.fromarray(pixels).save(workdir / "images" / f"{index}.png")
    tree = spec_tree((None, None, 1), [conv(4, 3, 2)], [conv(1, 3, 2, transposed=True)])
    average = {"SGD": {"learning_rate": 0.1, "use_ema": True}}
    tree["training"] |= {
        "epochs": 1,
        "batch_size": 7,
        "rounds": [{"epochs": 1, "batch_size": 5, "crop": [6, 6], "optimizer": average}],
    }
    tree["dataset"] = {"name": "images", "crop": [4, 4], "flip": True}
    (workdir / "spec.json").write_text(json.dumps(tree))
    return workdir / "spec.json"


def curve(python: str, spec: Path, name: str, devices: int, *flags: str) -> dict[str, list[float]]:
    """Losses of a run, an epoch each."""
    told: dict[str, Any] = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [python, ROOT / "train.py", "--model", spec.name, "--run_dir", name, *flags]
    done = subprocess.run(
        command,
        check=False,
        cwd=spec.parent,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((spec.parent / name / "metrics.csv").open()))
    return {key: [float(row[key]) for row in rows] for key in ("loss", "val_loss")}


def test_together_they_give_the_curve_of_a_plain_run(jax_python: str, spec: Path) -> None:
    plain = curve(jax_python, spec, "plain", 1)
    assert len(plain["loss"]) == 2
    assert plain["loss"][1] < plain["loss"][0]
    several = ("--set", "training.steps_per_dispatch=3", "--set", "dataset.on_device=true")
    for devices in (1, 2):
        found = curve(jax_python, spec, f"on {devices}", devices, *several, "--distribute=data")
        for key, values in plain.items():
            np.testing.assert_allclose(found[key], values, rtol=1e-4)
