"""A trained hyper decoder as a network of whole numbers (see `codec.integer_network`).

Weights get one scale for each output channel, activations one for each channel, both chosen so that
the division between layers is a power of two. Biases are fitted on data: they take up what rounding
does to the mean (Nagel et al. 2019, "Data-free quantization through weight equalization and bias
correction", section 4.2, on the network's own inputs).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from architectures.hyperprior import Hyperprior
from builders.errors import UserError
from builders.integer_layers import Array, Step, steps_of
from codec.errors import NicNetworkError
from codec.integer_network import (
    MAX_SHIFT,
    OPERAND_LIMIT,
    SLOPE_UNIT,
    SUM_LIMIT,
    VALUE_LIMIT,
    IntegerLayer,
    IntegerNetwork,
    convolution_sums,
    run_layer,
)

HEADROOM = 1.1
"""Activations may grow so much beyond the data they were measured on before they are clipped."""
SUM_SHARE = 0.95
"""Share of 2**24 that sums may reach: weights are rounded after the scales are chosen."""
MEAN_BITS = 8
"""Means in units of 2**-8 quantization steps, or coarser where they are large."""
MEAN_HEADROOM = 4.0
INPUT_HEADROOM = 2
LEAST_INPUT_LIMIT = 8


@dataclass(frozen=True)
class Converted:
    """An integer network and the unit of its means.

    Attributes:
        network: h_s.
        mean_bits: means are in units of 2**-mean_bits; None without means.
    """

    network: IntegerNetwork
    mean_bits: int | None


def convert(model: Hyperprior, z: Sequence[NDArray[np.int32]], path: str) -> Converted:
    """Converts the hyper decoder of a trained model.

    Args:
        model: with its weights.
        z: hyper-latents of typical images, each (B, h, w, C).
        path: of the hyper decoder in the spec, for messages.

    Raises:
        UserError: a layer has no form in whole numbers.
    """
    steps = steps_of(model.hyper_decoder.stack, path)
    steps[-1] = _giving_places(steps[-1], model)
    largest = max(int(np.abs(each).max(initial=0)) for each in z)
    limit = int(np.clip(INPUT_HEADROOM * largest, LEAST_INPUT_LIMIT, OPERAND_LIMIT))
    whole = [np.clip(each, -limit, limit).astype(np.float64) for each in z]
    real = whole
    units = np.ones(z[0].shape[-1])  # what 1 stands for, channel by channel
    most = np.full(z[0].shape[-1], float(limit))
    done: list[IntegerLayer] = []
    mean_bits = None
    for index, step in enumerate(steps):
        if step.bias is None:
            real, whole = ([_moved(step.layer, each) for each in side] for side in (real, whole))
            if step.layer.kind == "depth_to_space":
                blocks = step.layer.factor**2
                units = units.reshape(blocks, -1)[0]  # all the same, see below
                most = most.reshape(blocks, -1).max(axis=0)
            done.append(step.layer)
            continue
        before = [convolution_sums(step.layer, each) + step.bias for each in real]
        real = [np.where(each < 0, each * step.slope, each) for each in before]
        last = index == len(steps) - 1
        if last:
            wanted, mean_bits = _output_units(model, before)
        else:
            reach = np.max([np.abs(each).max(axis=(0, 1, 2)) for each in real], axis=0)
            wanted = np.where(reach > 0, reach * HEADROOM, 1.0) / OPERAND_LIMIT
        kernel = step.layer.kernel
        assert kernel is not None
        weights = kernel * units[:, None]
        even = any(each.layer.kind == "depth_to_space" for each in steps[index + 1 :])
        layer, units = _rounded(step, weights, wanted, most, whole, before, last, even)
        if last:
            layer = _with_output_range(layer, model)
        done.append(layer)
        whole = [run_layer(layer, each.astype(np.float32)).astype(np.float64) for each in whole]
        assert layer.low is not None and layer.high is not None
        most = np.maximum(np.abs(layer.low), np.abs(layer.high)).astype(np.float64)
    try:
        network = IntegerNetwork(z[0].shape[-1], limit, tuple(done))
    except NicNetworkError as error:
        raise UserError(f"{path}: has no form in whole numbers: {error}") from None
    return Converted(network, mean_bits)


def _giving_places(step: Step, model: Hyperprior) -> Step:
    """The last layer, giving places in the table of scales instead of logarithms."""
    kernel, bias = step.layer.kernel, step.bias
    assert kernel is not None and bias is not None
    logs = slice(bias.size // model.outputs_per_latent * (model.outputs_per_latent - 1), None)
    kernel, bias = kernel.copy(), bias.copy()
    zero = float(model.place_of(0.0))
    kernel[..., logs] = kernel[..., logs] * (float(model.place_of(1.0)) - zero)
    bias[logs] = model.place_of(bias[logs])
    return replace(step, layer=replace(step.layer, kernel=kernel), bias=bias)


def _output_units(model: Hyperprior, found: Sequence[Array]) -> tuple[Array, int | None]:
    """What 1 stands for in each output: places count 1, means a power of two below."""
    channels = found[0].shape[-1]
    if model.outputs_per_latent == 1:
        return np.ones(channels), None
    means = channels // 2
    reach = max(float(np.abs(each[..., :means]).max()) for each in found) * MEAN_HEADROOM
    bits = MEAN_BITS
    while bits and reach * 2**bits > VALUE_LIMIT:
        bits -= 1
    return np.concatenate([np.full(means, 2.0**-bits), np.ones(means)]), bits


def _with_output_range(layer: IntegerLayer, model: Hyperprior) -> IntegerLayer:
    """Places may leave the table as far as a quality can bring them back; means go anywhere."""
    assert layer.low is not None and layer.high is not None
    low, high = layer.low.copy(), layer.high.copy()
    places = slice(low.size // model.outputs_per_latent * (model.outputs_per_latent - 1), None)
    low[places], high[places] = -model.scale_levels, 2 * model.scale_levels
    return replace(layer, low=low, high=high)


def _rounded(
    step: Step,
    weights: Array,
    wanted: Array,
    most: Array,
    inputs: Sequence[Array],
    targets: Sequence[Array],
    last: bool,
    even: bool,
) -> tuple[IntegerLayer, Array]:
    """A convolution in whole numbers, and what 1 stands for in each of its outputs.

    Args:
        step: in real numbers.
        weights: its kernel for inputs in whole numbers.
        wanted: (outputs,) what 1 should stand for; more where sums would grow too large.
        most: (inputs,) largest magnitude of the inputs.
        inputs: whole numbers that come in.
        targets: what should come out before the activation.
        last: whether the outputs are no operands.
        even: whether 1 must stand for the same in all outputs: DepthToSpace mixes them.
    """
    if even:
        wanted = np.full_like(wanted, wanted.max())
    reach = (np.abs(weights) * most[:, None]).sum(axis=(0, 1, 2))
    assert step.bias is not None
    # With one unit standing for `wanted`, `room` is how much finer the sums may be counted.
    room = np.minimum(
        OPERAND_LIMIT * wanted / np.maximum(np.abs(weights).max(axis=(0, 1, 2)), 1e-30),
        SUM_SHARE * SUM_LIMIT / np.maximum((reach + np.abs(step.bias)) / wanted + 1.0, 1e-30),
    )
    while True:
        shift = np.floor(np.log2(room)).astype(np.int64)
        coarser = np.maximum(-shift, 0)  # where even shift 0 is too fine
        if last and coarser.any():
            raise UserError(
                "the hyper decoder's last layer has weights or inputs too large for whole numbers; "
                "train with a smaller learning rate or a kernel constraint"
            )
        if even:
            coarser = np.full_like(coarser, coarser.max())
        units = wanted * np.exp2(coarser)
        shift = np.clip(shift + coarser, 0, MAX_SHIFT)
        fine = units * np.exp2(-shift)  # what 1 in a sum stands for
        kernel = np.clip(np.round(weights / fine), -OPERAND_LIMIT, OPERAND_LIMIT)
        sums = (np.abs(kernel) * most[:, None]).sum(axis=(0, 1, 2)) + np.exp2(shift) // 2
        room_left = SUM_LIMIT - 1 - sums
        if (room_left >= 0).all():
            break
        room = np.where(room_left < 0, room / 2, room)  # all weights were rounded up
    outputs = kernel.shape[3]
    high = np.full(outputs, VALUE_LIMIT if last else OPERAND_LIMIT, np.int32)
    layer = replace(
        step.layer,
        kernel=kernel.astype(np.int16),
        shift=shift.astype(np.int32),
        low=-high,
        high=high,
        slope=round(step.slope * SLOPE_UNIT),
    )
    missing = [
        (target - convolution_sums(layer, each) * fine).mean(axis=(0, 1, 2)) * each[..., 0].size
        for each, target in zip(inputs, targets, strict=True)
    ]
    bias = np.sum(missing, axis=0) / sum(each[..., 0].size for each in inputs)
    bias = np.clip(np.round(bias / fine), -room_left, room_left)
    return replace(layer, bias=bias.astype(np.int32)), units


def _moved(layer: IntegerLayer, x: Array) -> Array:
    """DepthToSpace or UpSampling2D, on any numbers."""
    moved: Array = run_layer(layer, x)  # type: ignore[arg-type, assignment]
    return moved
