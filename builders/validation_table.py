"""A validation report as a table for people."""

from typing import Any


def table_lines(report: dict[str, Any]) -> list[str]:
    """The report as a table of two columns."""
    mean, sizes = report["mean"], report["bytes_per_image"]
    ((source, bpp),) = report["bits_per_pixel"].items()
    rows = [
        ("images", f"{report['images']:,} ({report['split']} split of {report['dataset']})"),
        ("loss", f"{mean['loss']:.5f}"),
        *((tag, f"{mean[tag]:.5f}") for tag in mean if tag not in _NAMED),
        ("PSNR", f"{mean['psnr_db']:.2f} dB"),
        ("SSIM", f"{mean['ssim']:.4f}{_window_note(report['ssim_window'])}"),
        ("MS-SSIM", _ms_ssim_text(report)),
        (
            "bits per pixel",
            f"{bpp:.3f} {_SIZE_NOTES[source]}",
        ),
        (
            "ratio",
            f"{report['ratio']:.2f} : 1 ({sizes['pixels']:,.0f} bytes an image, "
            f"{sizes[source]:,.0f} as latents)",
        ),
        ("as files", _files_text(report["files"])),
        ("encode", f"{report['encode_ms']:.2f} ms an image"),
        ("decode", f"{report['decode_ms']:.2f} ms an image"),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def _files_text(files: dict[str, Any]) -> str:
    if "none" in files:
        return f"none: {files['none']}"
    return (
        f"{files['bits_per_pixel']:.3f} bits per pixel, {files['psnr_db']:.2f} dB "
        f"({files['images']} images as .nic, {files['bytes_per_image']:,.0f} bytes each, "
        f"{files['coder']})"
    )


_SIZE_NOTES = {
    "stored": "as stored (latents in float32)",
    "estimated": "as the entropy model estimates them",
}
_NAMED = frozenset({"loss", "psnr_db", "ssim", "ms_ssim"})


def _window_note(window: int) -> str:
    return "" if window == 11 else f" (window {window}: the images are too small for 11)"


def _ms_ssim_text(report: dict[str, Any]) -> str:
    scales = report["ms_ssim_scales"]
    note = "" if scales == 5 else f" ({scales} of 5 scales fit the images)"
    return f"{report['mean']['ms_ssim']:.4f}{note}"
