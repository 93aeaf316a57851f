"""CompressAI's architectures with random weights, for timing.

    benchmarks/compressai.sh benchmarks/compressai_peer.py < REQUESTS

benchmarks/peer_server.py says what requests are. Codes as CompressAI's own evaluation does: the
picture padded to multiples of 64, `compress` and `decompress` of the model. Training is that of its
example without the second optimizer, which fits the medians of the densities.
"""

import warnings

import numpy as np
import torch
from peer_server import serve
from torch.nn import functional

if torch.version.cuda is None:
    # Beside a PyTorch without CUDA, torchvision's own operations can't be loaded, and importing it
    # asks for these. CompressAI imports torchvision and uses no operation of its.
    OPERATIONS = torch.library.Library("torchvision", "DEF")
    for each in ("nms", "qnms"):
        OPERATIONS.define(f"{each}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from compressai.losses import RateDistortionLoss
from compressai.zoo import image_models

QUALITY = 3
"""Of CompressAI's qualities: the smaller of two numbers of channels. Points published for the
higher qualities (from 6 of 8, 5 of 8 with context, 4 of 6 of cheng2020) are of the larger."""
STEP = 64
ARCHITECTURES = {
    "bmshj2018-factorized": "N 128, M 192",
    "bmshj2018-hyperprior": "N 128, M 192",
    "mbt2018-mean": "N 128, M 192",
    "mbt2018": "N 192, M 192",
    "cheng2020-anchor": "N 128",
}
"""With the channels at that quality."""


class CompressAIModel:
    """See `peer_server.Model`."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self._model = image_models[name](quality=QUALITY, pretrained=False)
        self._model.update()
        self._loss = RateDistortionLoss(lmbda=0.013)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-4)
        self.parameters = sum(each.numel() for each in self._model.parameters())

    def encode(self, image: np.ndarray) -> tuple[dict, tuple[int, int]]:
        height, width = image.shape[:2]
        self._model.eval()
        with torch.no_grad():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            x = functional.pad(x, (0, -width % STEP, 0, -height % STEP))
            return self._model.compress(x), (height, width)

    def decode(self, coded: tuple[dict, tuple[int, int]]) -> np.ndarray:
        told, (height, width) = coded
        with torch.no_grad():
            x_hat = self._model.decompress(told["strings"], told["shape"])["x_hat"]
            pixels = (x_hat[0, :, :height, :width] * 255).round().clamp(0, 255)
            return pixels.permute(1, 2, 0).to(torch.uint8).numpy()

    def train_step(self, batch: np.ndarray) -> None:
        self._model.train()
        x = torch.from_numpy(batch).permute(0, 3, 1, 2)
        self._optimizer.zero_grad()
        self._loss(self._model(x), x)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(("compressai", "torch"), ARCHITECTURES, CompressAIModel, torch.set_num_threads)
