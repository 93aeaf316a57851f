"""From a spec and its weights to exported files that were seen to compute the same."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras

from architectures.deployment import Deployed
from builders.errors import UserError
from builders.export_check import (
    Difference,
    WrongExportError,
    check_finite,
    compare,
    expected_outputs,
)
from builders.export_formats import (
    FORMATS,
    MODES,
    ExportFormat,
    choose_export_backend,
    installed,
    runs_here,
)
from builders.export_info import ExportInfo, info_path
from builders.export_runners import Runner, open_runner
from builders.export_sizes import Served, serve
from builders.export_targets import planned_paths, written_whole
from builders.export_writers import write_model
from builders.spec import Spec
from builders.weights_choice import WeightsChoice, load_chosen

Shape = tuple[int | None, ...]
Say = Callable[[str], None]
ROUNDED_TRIES = 5
"""Sets of images that are tried for a model that rounds: about 1 in 20 holds a number in doubt."""

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
        UserError: the weights or the size don't fit, something is there already, the format can't
            be written here, or the spec has prediction.
        RunError: the format can't hold the model, or what was written computes something else.
    """
    tell = on_step or _silent
    if choice.spec.sections.model.layers.generator.prediction is not None:
        raise UserError(
            f"--mode {mode}: {choice.spec.name} predicts frames from decoded ones, which takes a "
            "codec: use --mode codec"
        )
    export_format = FORMATS[format_name]
    needed = choose_export_backend(export_format)
    if needed not in (None, keras.backend.backend()):
        raise UserError(f"{export_format.title} files need KERAS_BACKEND={needed}")
    paths = planned_paths(choice, mode, export_format, save_path, force)
    tell("building the model")
    spec = choice.spec
    generator = load_chosen(choice).generator
    served = serve(generator, spec, size)
    parts = dict(zip(("encoder", "decoder", "full"), served.parts, strict=True))
    chosen = {part: parts[part] for part in MODES[mode]}
    check_finite(chosen.values())
    rounds = generator.entropy_model is not None
    training = _training_id(choice)
    done = []
    with written_whole(paths, folders=not export_format.suffix) as fresh:
        for (part, model), new, path in zip(chosen.items(), fresh, paths, strict=True):
            tell(f"writing the {part} model")
            write_model(model, export_format.name, new)
            difference = None
            if runs_here(export_format):
                tell(f"comparing the {part} model with Keras")
                difference = _compared(open_runner(new), model, parts["encoder"], served, rounds)
            info = _info(spec, part, model, served, export_format, training, difference)
            target = info_path(new, folder=not export_format.suffix)
            target.write_text(info.to_json(), encoding="utf-8")
            done.append(Exported(path, info, difference))
    return done


def _compared(
    runner: Runner, model: Deployed, encoder: Deployed, served: Served, rounds: bool
) -> Difference:
    """Compares with Keras on images, or on their latents for a decoder.

    Where the model rounds its latents, a number that lies between two symbols to float32's accuracy
    may become either, and then whole blocks of pixels differ. That is rare: of a few sets of
    images, one must agree.
    """
    for seed in range(ROUNDED_TRIES if rounds else 1):
        inputs = served.probes(seed)
        if model.input_name == "latents":
            inputs = expected_outputs(encoder, inputs)
        try:
            return compare(runner, inputs, expected_outputs(model, inputs))
        except WrongExportError as error:
            failure = error
    raise failure


def _silent(_: str) -> None:
    pass


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
