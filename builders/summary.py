"""What a spec makes, in a table: layers, shapes, parameters, cost, latent size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from architectures.cost import multiply_accumulates, parameters
from architectures.factorized_prior import EntropyModel
from architectures.image_compressor import ImageCompressor
from builders.model_builder import nominal_shape
from builders.size_guard import output_shapes
from builders.spec import Spec
from constants.defaults import FLOAT_BYTES


@dataclass(frozen=True)
class LayerRow:
    """One layer of one stack.

    Attributes:
        stack: `Encoder`, ...
        name: the layer's.
        kind: its class.
        output: (H, W, C) or so, None where free.
        parameters: numbers in its weights.
        macs: multiply-accumulates of one nominal image.
    """

    stack: str
    name: str
    kind: str
    output: tuple[int | None, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class ModelSummary:
    """Costs of a whole model.

    Attributes:
        rows: one a layer.
        image: (H, W, C) the costs are stated at.
        latents: shape of the latents of such an image.
        image_bytes: bytes of the image as 8-bit pixels.
        latent_bytes: bytes its latents take as stored (float32).
        warnings: what is likely not meant.
        entropy_coded: whether an entropy model decides what the latents take.
    """

    rows: tuple[LayerRow, ...]
    image: tuple[int, ...]
    latents: tuple[int, ...]
    image_bytes: int
    latent_bytes: int
    warnings: tuple[str, ...]
    entropy_coded: bool = False

    @property
    def ratio(self) -> float:
        """Image bytes over latent bytes."""
        return self.image_bytes / self.latent_bytes

    @property
    def bits_per_pixel(self) -> float:
        """Bits of stored latents a pixel (all channels of a place count as one pixel)."""
        return 8 * self.latent_bytes / math.prod(self.image[:2])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one nominal image through encoder and decoder."""
        return sum(row.macs for row in self.rows if row.stack != "discriminator")

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(row.parameters for row in self.rows)


def summarize(spec: Spec, compressor: ImageCompressor) -> ModelSummary:
    """Costs of a built model, at its input size or, where that is free, at a nominal one."""
    image = nominal_shape(spec)
    entropy_model = compressor.generator.entropy_model
    rows: list[LayerRow] = []
    shape: Any = image
    latents: tuple[int, ...] = ()
    for stack_name, stack, start in (
        ("encoder", compressor.encoder, compressor.encoder.prepared(image)),
        ("hyper_encoder", getattr(entropy_model, "hyper_encoder", None), None),
        ("hyper_decoder", getattr(entropy_model, "hyper_decoder", None), None),
        ("decoder", compressor.decoder, None),
        ("discriminator", compressor.discriminator, image),
    ):
        if stack is None:
            continue
        shape = (1, *latents) if stack_name == "decoder" else start or shape
        rows.extend(_rows(stack_name, stack, shape))
        shape = output_shapes(stack.stack, shape)[-1]
        if stack_name == "encoder":
            latents = tuple(int(side) for side in shape[1:])
    image_bytes = math.prod(image)
    if entropy_model is not None:
        rows.extend(_entropy_row(entropy_model))
    latent_bytes = math.prod(latents) * FLOAT_BYTES
    warnings = list(spec.warnings)
    if entropy_model is None and latent_bytes >= image_bytes:
        warnings.append(
            f"the latents take {latent_bytes:,} bytes as stored, the image {image_bytes:,}: "
            "nothing is compressed"
        )
    return ModelSummary(
        tuple(rows),
        tuple(image[1:]),
        latents,
        image_bytes,
        latent_bytes,
        tuple(warnings),
        entropy_model is not None,
    )


def _entropy_row(model: EntropyModel) -> Iterator[LayerRow]:
    """The densities of an entropy model; its hyper coders have rows of their own."""
    name = type(model).__name__
    yield LayerRow("entropy", model.density.name, name, (), parameters(model.density), 0)


def _rows(stack_name: str, stack: Any, shape: Any) -> Sequence[LayerRow]:
    rows = []
    built_shapes = stack.output_shapes
    for layer, free, after in zip(
        stack.stack, built_shapes, output_shapes(stack.stack, shape), strict=True
    ):
        rows.append(
            LayerRow(
                stack_name,
                layer.name,
                type(layer).__name__,
                tuple(free[1:]),
                parameters(layer),
                multiply_accumulates(layer, shape, after),
            )
        )
        shape = after
    return rows


def summary_lines(spec: Spec, summary: ModelSummary) -> list[str]:
    """The summary as text: a table and a few sentences."""
    header = ("", "layer", "class", "output", "parameters", "MACs")
    table: list[tuple[str, ...]] = [header]
    before = ""
    for row in summary.rows:
        side = "x".join("?" if each is None else str(each) for each in row.output)
        label = row.stack if row.stack != before else ""
        table.append((label, row.name, row.kind, side, f"{row.parameters:,}", f"{row.macs:,}"))
        before = row.stack
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = []
    for cells in table:
        left = [cell.ljust(width) for cell, width in zip(cells[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[4:], widths[4:], strict=True)]
        lines.append("  ".join([*left, *right]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    height, width, channels = summary.image
    pixels = height * width
    free = " (height and width are free; stated at this size)" if None in spec.input_shape else ""
    latents = "x".join(str(side) for side in summary.latents)
    stored = [
        f"latents      {latents}, {summary.latent_bytes:,} bytes as stored (float32), "
        f"{summary.bits_per_pixel:.3f} bits per pixel",
        f"ratio        {summary.ratio:.2f} : 1",
    ]
    if summary.entropy_coded:
        stored = [f"latents      {latents}; their size is learned, and measured in training"]
    lines += [
        "",
        f"image        {height}x{width}x{channels}, {summary.image_bytes:,} bytes{free}",
        *stored,
        f"parameters   {summary.parameters:,} ({summary.parameters * FLOAT_BYTES / 2**20:.2f} MiB)",
        f"MACs         {summary.macs:,} an image through encoder and decoder, "
        f"{summary.macs / pixels:,.0f} a pixel",
    ]
    lines += [f"warning      {warning}" for warning in summary.warnings]
    return lines
