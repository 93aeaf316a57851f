"""A project that does not exist, as the ones in benchmarks/ are: for tests of what talks to them."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from peer_server import serve


class Upside:
    """Turns pictures around, and back."""

    parameters = 7

    def __init__(self, name: str) -> None:
        self._damaged = name == "damaged"

    def encode(self, image: np.ndarray) -> np.ndarray:
        if image.shape[0] > 44:
            raise ValueError("too high")
        return image[::-1]

    def decode(self, coded: np.ndarray) -> np.ndarray:
        return coded[1:] if self._damaged else coded[::-1]

    def train_step(self, batch: np.ndarray) -> None:
        print("step", batch.shape)  # libraries print


if __name__ == "__main__":
    serve(
        ("numpy",), {"bmshj2018-hyperprior": "N 3", "damaged": "N 4"}, Upside, lambda threads: None
    )
