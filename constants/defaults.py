"""What a spec that says nothing gets (the original pipeline's values, where it had one)."""

from typing import Final

SPEC_VERSION: Final = 1
"""The grammar this code writes; specs without a version are read as the original grammar (0)."""

LATENT_LAYER_NAME: Final = "compressed_representation"
"""The one layer whose `units` or `filters` may be null: it takes `--latent_dims`."""

ALPHA: Final = 0.75
"""Weight of (1 - SSIM) against L1 in the default loss, in [0, 1]."""

LEARNING_RATE: Final = 1e-3
"""Adam's step size, for the generator and for a discriminator without settings of its own."""

BATCH_SIZE: Final = 32
"""Images per training step."""

EPOCHS: Final = 15
"""Passes over the training split."""

LATENT_DIMS: Final = 50
"""Numbers per image (Dense) or channels (Conv2D) in the compressed representation."""

SEED: Final = 0
"""Seeds weights, order and augmentation when the user names none: runs repeat by default."""

EARLY_STOPPING_PATIENCE: Final = 10
"""Epochs without a better validation loss before training stops."""

LOGGED_IMAGES: Final = 8
"""Validation images shown in TensorBoard and `samples.png`."""

LOGGED_ERROR_GAIN: Final = 4.0
"""Factor of the error images in TensorBoard: one for all epochs and runs, so that they compare."""

PIXEL_MAX: Final = 255
"""Largest value of an 8-bit sample; pixels are scaled by its inverse."""

FLOAT_BYTES: Final = 4
"""Bytes of one float32 latent as stored when a spec has no quantizer."""

NOMINAL_SIDE: Final = 256
"""Side in pixels at which costs of a spec with free height and width are stated."""

SPEC_MAX_BYTES: Final = 1_000_000
"""Largest spec file that is read; a spec is a page or two of text."""

SPEC_MAX_DEPTH: Final = 64
"""Deepest nesting of a spec; Python's recursion limit is far above it."""

BFLOAT16_MIN_MACS: Final = 10_000_000
"""Multiply-accumulates per image under which casts cost more than bfloat16 saves."""

MODEL_MAX_PARAMETERS: Final = 2_000_000_000
"""Parameters above which a spec is refused before anything is allocated: 8 GB in float32."""

QUANTIZERS: Final = ("float32", "naive", "min-max", "k-means")
"""How a codec stores the latents of a model without entropy model; see `codec.quantizers`."""

STEP_LOG_SECONDS: Final = 1.0
"""Least time in seconds between two points within an epoch in TensorBoard."""

STEP_LOG_STEPS: Final = 20
"""Least steps between two points within an epoch: short epochs have none."""

SCATTER_TILES: Final = 40
"""Validation images in the rate-distortion picture; each is a point."""

SCATTER_SIDE: Final = 256
"""Pixels a side of those images at most, where the model's height and width are free."""

SCATTER_PICTURES: Final = 100
"""Rate-distortion pictures of a run in TensorBoard at most: a picture is some 110 KB."""
