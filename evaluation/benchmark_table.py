"""The results of a benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluation.benchmark_results import NOT_PUBLISHED, OTHER_PICTURES, QUALITIES
from evaluation.more_measures import MORE_MEASURES

Entry = dict[str, Any]
NONE = "-"
BITS_RGB = 24
"""Of a pixel of 8-bit RGB."""
MEANS_NOTE = f"factor: {BITS_RGB} / bpp, the size of 8-bit RGB pixels over that of the files."


def markdown(results: Entry) -> str:
    """results.md: differences, speed, all means, settings, what failed."""
    parts = [
        "# Benchmark",
        _preamble(results),
        f"## Against {anchor_label(results)}",
        table(*comparison_rows(results)),
        "\n".join(f"- {note}" for note in table_notes(results)),
    ]
    for entry in results["codecs"]:
        if entry["family"] == "ours":
            parts += [f"## {entry['label']} against each", table(*own_rows(results, entry))]
    parts += ["## Speed and memory", table(*speed_rows(results)), speed_note(results)]
    parts += ["## Means", table(*mean_rows(results)), MEANS_NOTE]
    if any(results["break_even"].values()):
        parts += ["## Models that pay for themselves", table(*break_even_rows(results))]
        parts += [break_even_note(results)]
    parts += ["## Settings and versions", table(*setting_rows(results))]
    if results["published"]:
        lines = [*results["reference"]["provenance"], *results["reference"]["caveats"]]
        parts += ["## Published figures", "\n".join(f"- {line}" for line in lines)]
    if results["failures"]:
        lines = [
            f"- {each['codec']}, {each['picture']}: {each['error']}" for each in results["failures"]
        ]
        parts += ["## Failures", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown of a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def comparison_rows(results: Entry) -> tuple[list[str], list[list[str]]]:
    """Every codec against the anchor, the best BD-rate first."""
    header = ["codec", "origin"]
    for name in QUALITIES.values():
        header += [f"BD-rate ({name})", f"BD-{name}"]
    header += ["pictures"]
    return header, [
        [entry["label"], entry["origin"], *_differences(found), _pictures(results, entry)]
        for entry, found in ranked(results)
    ]


def ranked(results: Entry) -> list[tuple[Entry, Entry]]:
    """Codecs and their comparisons with the anchor, the best BD-rate by PSNR first."""
    by_name = {
        each["codec"]: each
        for each in results["comparisons"]
        if each["anchor"] == results["anchor"]
    }
    pairs = [(entry, by_name[entry["name"]]) for entry in _all(results)]
    return sorted(pairs, key=lambda pair: pair[1]["psnr_rgb_db"].get("bd_rate_percent", 1e9))


def own_rows(results: Entry, own: Entry) -> tuple[list[str], list[list[str]]]:
    """One of our models against each other codec as the anchor."""
    header = ["instead of", "origin"]
    for name in QUALITIES.values():
        header += [f"BD-rate ({name})", f"BD-{name}"]
    header += ["not compared because"]
    rows = []
    for each in results["comparisons"]:
        if each["codec"] == own["name"] and each["anchor"] != own["name"]:
            anchor = next(e for e in _all(results) if e["name"] == each["anchor"])
            reasons = [
                f"{name}: {each[quality]['refused']}"
                for quality, name in QUALITIES.items()
                if "refused" in each[quality]
            ]
            cells = [anchor["label"], anchor["origin"], *_differences(each), "; ".join(reasons)]
            rows.append(cells)
    return header, rows


def speed_rows(results: Entry) -> tuple[list[str], list[list[str]]]:
    """Times and memory of what was measured."""
    header = ["codec", "encode, s per megapixel", "decode, s per megapixel", "threads"]
    header += ["encode, peak MiB", "decode, peak MiB", "model, MiB"]
    rows = []
    for entry in (*results["codecs"], *results["peers"]):
        speed = entry["speed"] or {}
        rows.append(
            [
                entry["label"],
                *(_number(speed.get(f"{way}_s_per_megapixel"), "{:.4g}") for way in WAYS),
                f"up to {entry['threads']}" if entry["threads"] > 1 else "1",
                *(mebibytes(speed.get(f"{way}_peak_bytes")) for way in WAYS),
                mebibytes(entry["model_bytes"]),
            ]
        )
    return header, rows


WAYS = ("encode", "decode")


def mean_rows(results: Entry) -> tuple[list[str], list[list[str]]]:
    """All points of all curves."""
    header = [
        "codec",
        "setting",
        "bpp",
        "factor",
        "PSNR RGB, dB",
        "PSNR luma, dB",
        "SSIM",
        "MS-SSIM",
    ]
    more = [MORE_MEASURES[name] for name in results["metrics"]]
    header += ["MS-SSIM, dB", *(each.label for each in more), "model, MiB"]
    shown = ("psnr_rgb_db", "psnr_luma_db", "ssim", "ms_ssim", "ms_ssim_db", *results["metrics"])
    forms = ["{:.2f}", "{:.2f}", "{:.4f}", "{:.4f}", "{:.2f}", *(each.form for each in more)]
    rows = []
    for entry in _all(results):
        origin = " (published)" if entry["origin"] == "published" else ""
        for point in entry["points"]:
            setting = f"{entry['parameter']} {point['setting']:.4g}" if "setting" in point else NONE
            values = [_number(point.get(n), f) for n, f in zip(shown, forms, strict=True)]
            rate = [f"{point['bpp']:.4f}", f"{BITS_RGB / point['bpp']:.1f}"]
            size = mebibytes(entry.get("model_bytes"))
            rows.append([f"{entry['label']}{origin}", setting, *rate, *values, size])
    return header, rows


def setting_rows(results: Entry) -> tuple[list[str], list[list[str]]]:
    """What every measured codec was told, and who did the work."""
    header = ["codec", "name", "options", "versions"]
    rows = []
    for entry in (*results["codecs"], *results["peers"]):
        about = entry["about"]
        options = ", ".join(f"{k}={v}" for k, v in about.get("options", {}).items())
        versions = ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())
        rows.append([entry["label"], f"`{entry['name']}`", options or NONE, versions or NONE])
    return header, rows


def break_even_rows(results: Entry) -> tuple[list[str], list[list[str]]]:
    """From how many pixels on a model of ours and its files are smaller than the anchor's."""
    label = anchor_label(results)
    header = ["codec", "setting", "model, MiB", "bpp", "PSNR RGB, dB", f"{label} at this PSNR, bpp"]
    header += ["pays from, megapixels"]
    rows = []
    for entry in results["codecs"]:
        for found in results["break_even"].get(entry["name"], []):
            pixels = found["pixels"]
            rows.append(
                [
                    entry["label"],
                    f"{entry['parameter']} {found['setting']:.4g}",
                    mebibytes(entry["model_bytes"]),
                    f"{found['bpp']:.4f}",
                    f"{found['psnr_rgb_db']:.2f}",
                    f"{found['anchor_bpp']:.4f}",
                    "never" if pixels is None else f"{pixels / 1e6:.3g}",
                ]
            )
    return header, rows


def break_even_note(results: Entry) -> str:
    """What the sizes mean."""
    return (
        "A codec with a model of its own pays where pixels * bpp / 8 + model is less than what "
        f"{anchor_label(results)} takes at the same PSNR (between its points, log-linear). A model "
        "that many pictures share pays when their pixels together reach the number."
    )


def percent(value: float | None) -> str:
    """With its sign; a dash where there is none."""
    return _number(value, "{:+.1f} %")


def mebibytes(value: int | None) -> str:
    """Bytes in MiB; with three digits more for what is less than one."""
    if value is None:
        return NONE
    return f"{value / 2**20:.{1 if value >= 2**20 else 3}f}"


def _differences(found: Entry) -> list[str]:
    cells = []
    for quality in QUALITIES:
        entry = found[quality]
        cells += [percent(entry.get("bd_rate_percent"))]
        cells += [_number(entry.get("bd_quality_db"), "{:+.2f} dB")]
    return cells


def _pictures(results: Entry, entry: Entry) -> str:
    if entry["origin"] == "published":
        return "24"
    return f"{len(entry['pictures'])} of {len(results['dataset']['pictures'])}"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _all(results: Entry) -> list[Entry]:
    return [*results["codecs"], *results["published"]]


def anchor_label(results: Entry) -> str:
    """What the anchor is called."""
    return str(next(e["label"] for e in results["codecs"] if e["name"] == results["anchor"]))


def _preamble(results: Entry) -> str:
    machine = results["environment"]
    return (
        f"{len(results['dataset']['pictures'])} pictures of `{results['dataset']['path']}`, "
        f"{results['made']}. {machine['processor']}, {machine['cores']} cores used; "
        f"Python {machine['python']}. Bytes are whole files, headers included; pictures are "
        "compared as 8-bit RGB; means are over pictures."
    )


def table_notes(results: Entry) -> list[str]:
    """What the table of differences means, what it leaves out, and why."""
    notes = [
        "BD-rate: mean difference in bytes at equal quality, negative is better; BD-PSNR and "
        "BD-MS-SSIM: mean difference in dB at equal bytes. PCHIP, over the common range."
    ]
    if results["published"]:
        notes.append("Published: figures of others, not measured here; sources below.")
    if results["published_note"]:
        notes.append(results["published_note"])
    for entry, found in ranked(results):
        for quality, name in QUALITIES.items():
            refused = found[quality].get("refused")
            if refused and refused not in (NOT_PUBLISHED, OTHER_PICTURES):
                notes.append(f"{entry['label']}, {name}: not compared, {refused}.")
    return notes + list(results["left_out"])


def speed_note(results: Entry) -> str:
    """How times and memory were taken."""
    timing = results["timing"]
    if timing is None:
        return "Nothing was timed."
    every = timing.get("every_setting", False)
    where = "every setting" if every else "the smallest, the middle and the largest setting"
    note = (
        f"Medians of {timing['repeats']} warm calls for each of {len(timing['pictures'])} pictures "
        f"at {where}, in memory, one call at a time. Peak: "
        "what the process grew by during a call, at most; what a model holds between calls is not "
        "in it."
    )
    if results["peers"]:
        note += (
            " Those with random weights are architectures of other projects with the channels that "
            "they have at lower rates, run in environments of their own: their speed is measured, "
            "and nothing else of them. Random weights take less of entropy coding than trained "
            "ones."
        )
    return note
