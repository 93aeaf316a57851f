"""One row for each codec and setting: what a study found of models and of classical codecs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.benchmark_table import NONE, mebibytes, table
from evaluation.measures import CAP_DB

Entry = dict[str, Any]


def model_rows(results: Entry, models: Mapping[str, Entry], channels: int) -> list[Entry]:
    """Rows of `models.json`.

    Args:
        results: of a benchmark.
        models: name of one of our codecs -> what is known of its model: `model`, `quantization`,
            `qualities`, `epochs`, `best_epoch`, `training_minutes`, `parameters`.
        channels: of the pictures as they are stored before they are compressed, 1 or 3.

    Returns:
        A row for each codec and each of its settings, which is None where there is just one. Bytes,
        bits per pixel and measures are means over pictures, times medians over pictures and
        repeats; MSE is of pixels in [0, 1]; what is not known or not measured is None.
    """
    rows = []
    for entry in results["codecs"]:
        known = models.get(entry["name"], {})
        for place, mean in enumerate(entry["points"]):
            points = [each["points"][place] for each in entry["pictures"].values()]
            pixels = sum(each["width"] * each["height"] for each in entry["pictures"].values())
            sizes = [point["bytes"] for point in points]
            setting = mean["setting"]
            only = known.get("qualities") == 1
            rows.append(
                {
                    "codec": entry["name"],
                    "model": known.get("model"),
                    "label": entry["label"],
                    "quantization": known.get("quantization"),
                    "parameter": entry["parameter"],
                    "setting": None if only else setting,
                    "epochs": known.get("epochs"),
                    "best_epoch": known.get("best_epoch"),
                    "training_minutes": known.get("training_minutes"),
                    "parameters": known.get("parameters"),
                    "model_bytes": entry["model_bytes"],
                    "pictures": len(points),
                    "bytes": statistics.fmean(sizes),
                    "ratio": channels * pixels / sum(sizes),
                    "bpp": mean["bpp"],
                    "mse": statistics.fmean(mean_squared_error(p["psnr_rgb_db"]) for p in points),
                    "psnr_db": mean["psnr_rgb_db"],
                    "ssim": mean["ssim"],
                    "ms_ssim": mean["ms_ssim"],
                    "encode_ms": _median_ms(entry["speed"], setting, "encode_s"),
                    "decode_ms": _median_ms(entry["speed"], setting, "decode_s"),
                }
            )
    return rows


def mean_squared_error(psnr_db: float) -> float:
    """Of pixels in [0, 1]: `10^(-PSNR / 10)`; 0 for what has no error at all."""
    return 0.0 if psnr_db >= CAP_DB else float(10 ** (-psnr_db / 10))


def _median_ms(speed: Entry | None, setting: float, way: str) -> float | None:
    """Milliseconds of one picture; None where this setting was not timed."""
    seconds = [
        each
        for record in (speed or {}).get("pictures", {}).values()
        for timing in record["timings"]
        if timing["setting"] == setting
        for each in timing[way]
    ]
    return 1e3 * statistics.median(seconds) if seconds else None


def models_markdown(study: Entry) -> str:
    """models.md.

    Args:
        study: content of models.json.
    """
    images = study["test_images"]
    sizes = sorted({f"{each['height']}x{each['width']}" for each in images["pictures"]})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} sizes more" if len(sizes) > 3 else "")
    count = len(images["pictures"])
    split = "" if images["split"] is None else f"the {images['split']} split of "
    parts = [
        "# Models",
        f"{count} picture{'s' if count > 1 else ''} of {split}`{images['from']}`, {shown} pixels "
        f"(height x width), {images['channels']} channel{'s' if images['channels'] > 1 else ''} "
        "of 8 bits. Bytes are whole files, headers included; ratio: bytes of all pixels over bytes "
        "of all files; MSE: of pixels in [0, 1]; encode and decode: one whole picture, medians of "
        "warm calls.",
        table(_HEADER, [_cells(row) for row in study["rows"]]),
    ]
    if study["failed"]:
        parts += [
            "## Failures",
            "\n".join(f"- {e['model']}: {e['error']}" for e in study["failed"]),
        ]
    return "\n\n".join(parts) + "\n"


_HEADER = [
    "model",
    "setting",
    "quantization",
    "epochs",
    "training, min",
    "parameters",
    "model, MiB",
    "file, bytes",
    "ratio",
    "bpp",
    "MSE",
    "PSNR, dB",
    "SSIM",
    "MS-SSIM",
    "encode, ms",
    "decode, ms",
]


def _cells(row: Entry) -> list[str]:
    return [
        row["model"] or row["label"],
        _setting(row),
        row["quantization"] or NONE,
        _text(row["epochs"], "{}"),
        _text(row["training_minutes"], "{:.1f}"),
        _text(row["parameters"], "{:,}"),
        mebibytes(row["model_bytes"]),
        _text(row["bytes"], "{:,.0f}"),
        _text(row["ratio"], "{:.2f}"),
        _text(row["bpp"], "{:.4f}"),
        _text(row["mse"], "{:.3g}"),
        _text(row["psnr_db"], "{:.2f}"),
        _text(row["ssim"], "{:.4f}"),
        _text(row["ms_ssim"], "{:.4f}"),
        _milliseconds(row["encode_ms"]),
        _milliseconds(row["decode_ms"]),
    ]


def _setting(row: Entry) -> str:
    """A model that has one quality has no setting to name."""
    return NONE if row["setting"] is None else f"{row['parameter']} {row['setting']:.4g}"


def _milliseconds(value: float | None) -> str:
    """Three digits, and as many more as there are before the point."""
    return _text(value, "{:.3g}" if value is None or value < 100 else "{:,.0f}")


def _text(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def picture_sizes(results: Entry) -> Sequence[Entry]:
    """Name, height and width of each picture that some codec coded."""
    found: dict[str, Entry] = {}
    for codec in results["codecs"]:
        for name, record in codec["pictures"].items():
            size = {"name": name, "height": record["height"], "width": record["width"]}
            found.setdefault(name, size)
    order = {each["name"]: place for place, each in enumerate(results["dataset"]["pictures"])}
    return sorted(found.values(), key=lambda each: order[each["name"]])
