"""From a spec and its weights to exported files that were seen to compute the same."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from architectures.autoencoder import Generator
from architectures.deployment import (
    SIZE_ERRORS,
    Deployed,
    DeployedAutoencoder,
    deployed_parts,
    with_free_size,
)
from builders.errors import RunError, UserError
from builders.export_check import Difference, compare, expected_outputs, probe_image
from builders.export_formats import (
    FORMATS,
    MODES,
    ExportFormat,
    choose_export_backend,
    installed,
    runs_here,
)
from builders.export_info import ExportInfo, SideRule, info_path
from builders.export_runners import open_runner
from builders.export_sizes import size_rules
from builders.export_targets import planned_paths, written_whole
from builders.export_writers import write_model
from builders.model_builder import nominal_shape
from builders.spec import Spec
from builders.weights_choice import WeightsChoice, load_chosen

Shape = tuple[int | None, ...]
Say = Callable[[str], None]
PROBE_SIDES = (40, 56)
"""Least height and width, in pixels, that models of free size are compared at."""

PACKAGES = ("keras", "tensorflow", "jax", "tf2onnx", "jax2onnx", "onnx")


@dataclass(frozen=True)
class Exported:
    """One part that was written.

    Attributes:
        path: where it is.
        info: what is known about it; also in a file beside it.
        difference: from the Keras model; None where the format's runtime is not installed.
    """

    path: Path
    info: ExportInfo
    difference: Difference | None


def export(
    choice: WeightsChoice,
    mode: str = "encoder-decoder",
    format_name: str = "saved_model",
    save_path: str | None = None,
    size: tuple[int, int] | None = None,
    force: bool = False,
    on_step: Say | None = None,
) -> list[Exported]:
    """Exports a trained model, in float32 whatever it was trained in.

    Args:
        choice: weights and spec.
        mode: `encoder-decoder` or `full`.
        format_name: `saved_model`, `onnx`, `litert` or `keras`.
        save_path: `A` or `A,B`, see `export_targets.target_paths`; None for the run's folder.
        size: (height, width) to fix; None for free ones where all layers allow it, else the spec's.
        force: whether to replace what is there.
        on_step: told what is being done.

    Returns:
        What was written, part by part.

    Raises:
        UserError: the weights or the size don't fit, something is there already, or the format
            can't be written here.
        RunError: the format can't hold the model, or what was written computes something else.
    """
    tell = on_step or _silent
    export_format = FORMATS[format_name]
    needed = choose_export_backend(export_format)
    if needed not in (None, keras.backend.backend()):
        raise UserError(f"{export_format.title} files need KERAS_BACKEND={needed}")
    paths = planned_paths(choice, mode, export_format, save_path, force)
    tell("building the model")
    spec = choice.spec
    served = serve(load_chosen(choice).generator, spec, size)
    parts = dict(zip(("encoder", "decoder", "full"), served.parts, strict=True))
    chosen = {part: parts[part] for part in MODES[mode]}
    inputs = served.probes()
    latents = expected_outputs(parts["encoder"], inputs)
    training = _training_id(choice)
    done = []
    with written_whole(paths, folders=not export_format.suffix) as fresh:
        for (part, model), new, path in zip(chosen.items(), fresh, paths, strict=True):
            tell(f"writing the {part} model")
            write_model(model, export_format.name, new)
            difference = None
            if runs_here(export_format):
                tell(f"comparing the {part} model with Keras")
                probes = latents if part == "decoder" else inputs
                expected = latents if part == "encoder" else expected_outputs(model, probes)
                difference = compare(open_runner(new), probes, expected)
            info = _info(spec, part, model, served, export_format, training, difference)
            target = info_path(new, folder=not export_format.suffix)
            target.write_text(info.to_json(), encoding="utf-8")
            done.append(Exported(path, info, difference))
    return done


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Served:
    """A model and the sizes it is served at.

    Attributes:
        parts: encoder, decoder, and both as one.
        image: (H, W, C) with None where free.
        known: (H, W, C) that the model is known to give back.
        rules: good heights and widths where the size is free.
    """

    parts: tuple[Deployed, Deployed, Deployed]
    image: Shape
    known: tuple[int, int, int]
    rules: tuple[SideRule, SideRule] | None

    def probes(self) -> list[np.ndarray]:
        """Images of different batch sizes and, where free, different sizes."""
        height, width, channels = self.known
        sizes = [(height, width), (height, width)]
        if self.rules is not None:
            rows, columns = self.rules
            first = rows.at_least(PROBE_SIDES[0]), columns.at_least(PROBE_SIDES[1])
            sizes = [first, (rows.at_least(first[0] + 1), columns.at_least(first[1] + 1))]
        batches = (2, 1)
        return [
            probe_image(h, w, channels, batch) for (h, w), batch in zip(sizes, batches, strict=True)
        ]


def serve(generator: Generator, spec: Spec, size: tuple[int, int] | None = None) -> Served:
    """Decides which image sizes a model is served at, and makes it serve them.

    Free height and width where every layer allows them, also for a spec that names a size: its
    weights are the same for all. Otherwise the spec's size.

    Args:
        generator: built, with its weights.
        spec: of the generator.
        size: (height, width) to fix.

    Raises:
        UserError: the model can't give back images of `size`.
        RunError: the spec leaves the size free, but a layer can't be exported that way.
    """
    _, height, width, channels = nominal_shape(spec)
    known = (height, width, channels)
    free = with_free_size(generator, channels)
    if size is not None:
        if free is None and None not in spec.input_shape and size != known[:2]:
            raise UserError(f"{_flag(size)}: a layer of {spec.name} fixes it to {height},{width}")
        return _fixed(free or generator, (*size, channels))
    if free is not None:
        image = (None, None, channels)
        parts = deployed_parts(free, image)
        rules = size_rules(parts[2], known)
        # Without a rule only the spec's own size is known to come back: a spec that names one
        # keeps to it.
        if rules is not None or None in spec.input_shape:
            return Served(parts, image, known, rules)
    try:
        return Served(deployed_parts(generator, spec.input_shape), spec.input_shape, known, None)
    except SIZE_ERRORS as error:
        raise RunError(
            f"{spec.name} can't be exported for free sizes; --size {height},{width} fixes one"
        ) from error


def _fixed(generator: Generator, image: tuple[int, int, int]) -> Served:
    both = DeployedAutoencoder(generator.encoder, generator.decoder)
    try:
        given = tuple(both.result_of((1, *image)).shape[1:3])
        reason = f"they come back as {given[0]},{given[1]}"
    except SIZE_ERRORS:
        given, reason = (), "a layer can't take them"
    if given != image[:2]:
        raise UserError(f"{_flag(image)}: images of this size don't come back whole: {reason}")
    return Served(deployed_parts(generator, image), image, image, None)


def _flag(size: Sequence[int]) -> str:
    return f"--size {size[0]},{size[1]}"


def _info(
    spec: Spec,
    part: str,
    model: Deployed,
    served: Served,
    export_format: ExportFormat,
    training: str,
    difference: Difference | None,
) -> ExportInfo:
    output = model.result_of(model.served_shape)
    rows, columns = served.rules or (None, None)
    return ExportInfo(
        name=spec.name,
        part=part,
        format=export_format.name,
        training=training,
        input_shape=tuple(model.served_shape),
        input_dtype=model.input_dtype,
        output_shape=tuple(output.shape),
        output_dtype=str(output.dtype),
        heights=rows,
        widths=columns,
        difference=None if difference is None else difference.largest,
        versions={name: metadata.version(name) for name in PACKAGES if installed(name)},
    )


def _training_id(choice: WeightsChoice) -> str:
    """SHA-256 over spec and weights: what encoder and decoder must share."""
    digest = hashlib.sha256(choice.spec.architecture_digest().encode())
    with choice.weights.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def report_lines(exported: Sequence[Exported], format_name: str) -> list[str]:
    """What was written, a few lines a part."""
    export_format = FORMATS[format_name]
    lines = []
    for each in exported:
        info = each.info
        size = _bytes(each.path) / 2**20
        found = (
            f"not compared with Keras: {export_format.runtime} is not installed"
            if each.difference is None
            else each.difference.in_words()
        )
        lines += [
            f"{info.part:<10} {each.path} ({export_format.title}, {size:.1f} MiB)",
            f"{'':<10} serve({_tensor(info.input_shape, info.input_dtype)}) -> "
            f"{_tensor(info.output_shape, info.output_dtype)}, {found}",
        ]
    return lines


def _tensor(shape: Shape, dtype: str) -> str:
    # Latents have a height and width of their own.
    names = ["B", "H", "W"] if dtype == "uint8" else ["B", "h", "w"]
    names = [*names, *["?"] * len(shape)][: len(shape)]
    sides = [name if side is None else str(side) for name, side in zip(names, shape, strict=True)]
    return f"{dtype}[{','.join(sides)}]"


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return math.fsum(file.stat().st_size for file in files if file.is_file()).__trunc__()
