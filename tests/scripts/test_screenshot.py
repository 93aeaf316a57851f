"""The screenshot script against a real TensorBoard and a real browser."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders.event_writer import EventWriter

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.browser
@pytest.mark.parametrize("page", ["#scalars", "#hparams"])
def test_a_page_with_data_is_photographed_and_the_server_ends(tmp_path, page):
    logs = tmp_path / "my runs"
    with EventWriter(logs) as writer:
        writer.hparams({"latent_dims": 50})
        for step in range(5):
            writer.scalar("train/loss", 1 / (step + 1), step=step)
    out = tmp_path / "page.png"
    done = subprocess.run(
        [str(ROOT / "docs" / "screenshot_tensorboard.sh"), str(logs), str(out), page],
        env={
            **os.environ,
            "WINDOW": "900x600",
            "TENSORBOARD": str(Path(sys.executable).parent / "tensorboard"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(out) as image:
        assert image.size == (900, 600)
        pixels = np.asarray(image.convert("RGB"))
    orange = (pixels == [0xF5, 0x7C, 0x00]).all(-1).mean()
    assert orange > 0.03, "TensorBoard's bar is not in the picture"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(logs) not in processes.stdout
