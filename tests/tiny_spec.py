"""The spec of most tests. Needs no pytest: runs in environments without it import it too."""

from typing import Any

# Everything that draws random numbers while training, statistics that a batch changes, and a
# learning rate that depends on the step: what a resume could lose.
TINY: dict[str, Any] = {
    "model": {
        "name": "Tiny",
        "layers": {
            "inputs": [{"Input": {"shape": [8, 8, 1]}}],
            "generator": {
                "layers": {
                    "encoder": {
                        "layers": [
                            {"Flatten": {}},
                            {"Dense": {"units": 16, "activation": "leaky_relu"}},
                            {"BatchNormalization": {"momentum": 0.5}},
                            {"Dropout": {"rate": 0.2}},
                            {"GaussianLatent": {"units": 4}},
                        ]
                    },
                    "decoder": {
                        "layers": [
                            {"GaussianNoise": {"stddev": 0.05}},
                            {"Dense": {"units": 64, "activation": "sigmoid"}},
                            {"Reshape": {"target_shape": [8, 8, 1]}},
                        ]
                    },
                }
            },
        },
    },
    "loss": [{"MSE": {}}, {"KLDivergence": {"weight": 0.01}}],
    "training": {
        "batch_size": 8,
        "epochs": 3,
        "metrics": [{"PSNR": {}}],
        "optimizer": {
            "Adam": {
                "learning_rate": {"CosineDecay": {"initial_learning_rate": 0.02, "decay_steps": 16}}
            }
        },
    },
    "dataset": {"max_images": 28},  # four steps an epoch, the last one short
}
