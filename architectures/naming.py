"""Names of classes as names of things; imports nothing, so that any part may use it."""

import re


def snake_case(name: str) -> str:
    """`BitsPerPixel` -> `bits_per_pixel`, `Conv2DTranspose` -> `conv2d_transpose`, `L1` -> `l1`."""
    words = re.sub(r"(?<=[A-Z])([A-Z][a-z])", r"_\1", name)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words)
    return re.sub(r"(?<=[0-9]D)(?=[A-Z][a-z])", "_", words).replace("__", "_").lower()
