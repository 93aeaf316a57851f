"""One HTML file with everything in it: tables, figures, and a slider over pictures of equal size.

It asks for nothing from anywhere: images are data URIs, and its policy forbids all else.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from evaluation.benchmark_pictures import SHOWN, Shown, Version, most_different
from evaluation.benchmark_table import (
    anchor_label,
    comparison_rows,
    mean_rows,
    own_rows,
    setting_rows,
    speed_note,
    speed_rows,
    table_notes,
)
from evaluation.codecs import Pixels

Entry = dict[str, Any]

_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 1320px;
  padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 0.87rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
td:last-child { white-space: normal; }
th:first-child, td:first-child { text-align: left; }
tr.ours td { color: #c1272d; font-weight: 600; }
tr.published td { color: #777; font-style: italic; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
.stage { position: relative; overflow: hidden; max-width: 100%; touch-action: none;
  cursor: ew-resize; user-select: none; background: #eee; }
.stage img { display: block; width: 100%; image-rendering: pixelated; }
.stage .over { position: absolute; inset: 0; }
.stage .bar { position: absolute; top: 0; bottom: 0; width: 2px; background: #fff;
  box-shadow: 0 0 3px #000; pointer-events: none; }
.sides { display: flex; justify-content: space-between; flex-wrap: wrap; gap: 0 2rem;
  font-size: 0.87rem; }
details { margin: 1rem 0; }
.controls { display: flex; flex-wrap: wrap; gap: 0.6rem 1.2rem; margin: 0.6rem 0; }
input[type=range] { max-width: 100%; margin: 0.4rem 0; display: block; }
.note { color: #555; font-size: 0.87rem; }
"""

_SCRIPT: Final = """
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const photo = get("photo"), left = get("left"), right = get("right"), at = get("at");
const under = get("under"), over = get("over"), bar = get("bar"), zoom = get("zoom");
const options = (select, names) => {
  select.replaceChildren(...names.map((name, i) => new Option(name, i)));
};
const place = () => {
  over.style.clipPath = `inset(0 ${100 - at.value}% 0 0)`;
  bar.style.left = `calc(${at.value}% - 1px)`;
};
const words = (v) => v.bytes === null ? v.label :
  `${v.label}: ${v.bytes.toLocaleString("en")} bytes, ${v.psnr.toFixed(2)} dB, ` +
  `MS-SSIM ${v.ms_ssim.toFixed(4)}`;
const show = () => {
  const shown = data[photo.value], l = shown.versions[left.value], r = shown.versions[right.value];
  over.src = l.image; under.src = r.image;
  over.alt = l.label; under.alt = r.label;
  get("left-words").textContent = "left: " + words(l);
  get("right-words").textContent = "right: " + words(r);
  for (const each of [get("stage"), at]) each.style.width = shown.width * zoom.value + "px";
  get("why").textContent = shown.note;
  place();
};
const pick = () => {
  const names = data[photo.value].versions.map((v) => v.label);
  const kept = [left.value, right.value];
  options(left, names); options(right, names);
  left.value = kept[0] && kept[0] < names.length ? kept[0] : Math.min(1, names.length - 1);
  right.value = kept[1] && kept[1] < names.length ? kept[1] : Math.min(2, names.length - 1);
  show();
};
options(photo, data.map((shown) => shown.name));
photo.addEventListener("change", pick);
for (const each of [left, right, zoom]) each.addEventListener("change", show);
at.addEventListener("input", place);
const drag = (event) => {
  if (event.type === "pointermove" && event.buttons !== 1) return;
  const box = get("stage").getBoundingClientRect();
  at.value = Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width));
  place();
};
get("stage").addEventListener("pointerdown", drag);
get("stage").addEventListener("pointermove", drag);
pick();
document.body.dataset.ready = "yes";
"""


def page(results: Entry, figures: Mapping[str, bytes], photos: Sequence[Shown]) -> str:
    """The whole file.

    Args:
        results: of the benchmark.
        figures: caption -> PNG.
        photos: to compare with the slider.
    """
    title = f"Benchmark of {len(results['dataset']['pictures'])} pictures"
    machine = results["environment"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="note">{html.escape(results["dataset"]["path"])}, {results["made"]}; '
        f"{html.escape(machine['processor'])}, {machine['cores']} cores used. Bytes are whole "
        "files, headers included; pictures are compared as 8-bit RGB.</p>",
        _slider(photos),
        f"<h2>Against {html.escape(anchor_label(results))}</h2>",
        _table(results, *comparison_rows(results)),
        *(f'<p class="note">{html.escape(note)}</p>' for note in table_notes(results)),
    ]
    for entry in results["codecs"]:
        if entry["family"] == "ours":
            parts.append(f"<h2>{html.escape(entry['label'])} against each</h2>")
            parts.append(_table(results, *own_rows(results, entry)))
    parts += ["<h2>Speed and memory</h2>", _table(results, *speed_rows(results))]
    parts.append(f'<p class="note">{html.escape(speed_note(results))}</p>')
    for caption, png in figures.items():
        uri = _uri(png, "png")
        text = html.escape(caption)
        parts.append(
            f'<figure><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        )
    more = {"Means": mean_rows(results), "Settings and versions": setting_rows(results)}
    for name, rows in more.items():
        parts.append(f"<details><summary>{name}</summary>{_table(results, *rows)}</details>")
    if results["failures"]:
        lines = [f"{f['codec']}, {f['picture']}: {f['error']}" for f in results["failures"]]
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        parts.append(f"<h2>Failures</h2><ul>{items}</ul>")
    if results["published"]:
        lines = [*results["reference"]["provenance"], *results["reference"]["caveats"]]
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        parts.append(f'<h2>Published figures</h2><ul class="note">{items}</ul>')
    if photos:
        # "</" would end the element it stands in.
        content = json.dumps([_photo(each) for each in photos]).replace("</", "<\\/")
        parts.append(f'<script type="application/json" id="data">{content}</script>')
        parts.append(f"<script>{_SCRIPT}</script>")
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _slider(photos: Sequence[Shown]) -> str:
    if not photos:
        return ""
    return """<h2>The same number of bytes</h2>
<p class="note">Pull the line. Each codec has the smallest file it can make that is no smaller than
the first one's; where it has none, its largest.</p>
<div class="controls">
<label>photo <select id="photo"></select></label>
<label>left <select id="left"></select></label>
<label>right <select id="right"></select></label>
<label>size <select id="zoom"><option value="1">1:1</option><option value="2">2:1</option>
<option value="4">4:1</option></select></label></div>
<div class="stage" id="stage"><img id="under" alt="" draggable="false">
<img id="over" class="over" alt="" draggable="false"><div class="bar" id="bar"></div></div>
<input type="range" id="at" min="0" max="100" step="0.1" value="50"
  aria-label="position of the line">
<div class="sides"><span id="left-words"></span><span id="right-words"></span></div>
<p class="note" id="why"></p>"""


def _photo(shown: Shown) -> Entry:
    box = _window(shown)
    left, top, right, bottom = box
    whole = (bottom - top, right - left) == shown.original.shape[:2]
    note = f"{shown.name}: {shown.why}." + ("" if whole else " Shown is a part of it.")
    note += "".join(f" Failed: {each}." for each in shown.failed)
    original: Entry = {"label": "original", "bytes": None, "image": _lossless(shown.original, box)}
    return {
        "name": shown.name,
        "note": note,
        "width": right - left,
        "versions": [original, *(_version(each, box) for each in shown.versions)],
    }


def _version(version: Version, box: tuple[int, int, int, int]) -> Entry:
    return {
        "label": f"{version.label}, {version.setting}",
        "bytes": version.file_bytes,
        "psnr": version.psnr_db,
        "ms_ssim": version.ms_ssim,
        "image": _lossless(version.pixels, box),
    }


def _window(shown: Shown) -> tuple[int, int, int, int]:
    """What to show of a photo: all of it, or the most different part."""
    height, width = shown.original.shape[:2]
    if max(height, width) <= SHOWN:
        return 0, 0, width, height
    return most_different(shown, SHOWN)


def _lossless(pixels: Pixels, box: tuple[int, int, int, int]) -> str:
    left, top, right, bottom = box
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    image.save(file, "WEBP", lossless=True, quality=40, method=2)
    return _uri(file.getvalue(), "webp")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _table(results: Entry, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    own = {entry["label"] for entry in results["codecs"] if entry["family"] == "ours"}
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    for row in rows:
        kind = "ours" if row[0] in own else "published" if "published" in row else ""
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="{kind}">{cells}</tr>')
    return "<table>" + "\n".join(lines) + "</table>"
