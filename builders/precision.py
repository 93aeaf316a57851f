"""Which number format a run computes in, and why."""

from dataclasses import dataclass
from pathlib import Path

import keras

from constants.defaults import BFLOAT16_MIN_MACS

CPU_FLAGS = ("amx_bf16", "avx512_bf16")
"""Processor features that multiply bfloat16 faster than float32 (Linux names)."""


@dataclass(frozen=True)
class Precision:
    """A Keras dtype policy and the reason it was taken, in words for the summary."""

    policy: str
    reason: str


def choose_precision(asked: str, macs_per_image: int) -> Precision:
    """The policy for a run; `auto` takes mixed_bfloat16 where it pays.

    It pays where the device has bfloat16 units and the model is large enough that its matrix
    products outweigh the casts around them.

    Args:
        asked: `auto`, `float32` or `mixed_bfloat16`.
        macs_per_image: multiply-accumulates of one image through the generator.
    """
    if asked != "auto":
        return Precision(asked, "as asked")
    has_units, device = bfloat16_units()
    if not has_units:
        return Precision("float32", f"{device} has no bfloat16 units")
    if macs_per_image < BFLOAT16_MIN_MACS:
        small = f"{macs_per_image / 1e6:.1f} M multiply-accumulates an image are too few to gain"
        return Precision("float32", small)
    return Precision("mixed_bfloat16", f"{device} has bfloat16 units; last layers stay float32")


def bfloat16_units() -> tuple[bool, str]:
    """Whether the device the backend computes on has bfloat16 units, and the device in words."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            capability = float(getattr(device, "compute_capability", "0") or 0)
            return capability >= 8.0, f"the GPU ({device.device_kind})"
        if device.platform != "cpu":
            return True, f"the {device.platform.upper()}"
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            capability = details.get("compute_capability", (0, 0))
            return capability >= (8, 0), f"the GPU ({details.get('device_name', 'unknown')})"
    cpu_info = Path("/proc/cpuinfo")
    words = cpu_info.read_text(errors="replace").split() if cpu_info.exists() else []
    return any(flag in words for flag in CPU_FLAGS), "this processor"
