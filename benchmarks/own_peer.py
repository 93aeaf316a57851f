"""A model of ours with random weights that makes training steps, beside other projects'.

    python benchmarks/own_peer.py SPEC PRECISION < REQUESTS

benchmarks/peer_server.py says what requests are. Starts as a command does: memory that is freed is
kept, and idle threads sleep.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1]))
from builders.backend import choose_backend
from builders.cli import run_command

if TYPE_CHECKING:
    import numpy as np

ARCHITECTURE = "spec"


class OwnModel:
    """See `peer_server.Trained`.

    Args:
        path: of the spec.
        precision: what its layers compute in, `float32` or `mixed_bfloat16`.
    """

    def __init__(self, path: Path, precision: str) -> None:
        from builders.model_builder import ModelBuilder
        from builders.optimizers import build_optimizer
        from builders.spec import load_spec

        spec = load_spec(path, {"training.metrics": []})
        self._model = ModelBuilder(spec, precision).build()
        self._model.compile(optimizer=build_optimizer(spec, self._model))
        self.parameters = self._model.count_params()

    def train_step(self, batch: "np.ndarray") -> None:
        self._model.train_on_batch((batch * 255).astype("uint8"))


def main(argv: Sequence[str]) -> int:
    """Answers until standard input ends."""
    path, precision = argv
    backend = choose_backend()
    from peer_server import serve

    # All threads stay on the cores that the process began with: nothing is left to set.
    serve(
        ("keras", backend),
        {ARCHITECTURE: f"{path}, {precision}"},
        lambda _: OwnModel(Path(path), precision),
        lambda threads: None,
    )
    return 0


if __name__ == "__main__":
    run_command(main)
