"""From results of single pictures to means and mean differences: what results.json holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from evaluation.bd_rate import NoComparisonError, bd_quality, bd_rate
from evaluation.benchmark_run import Outcome, Photo, Timed
from evaluation.break_even import break_even
from evaluation.codecs import Codec
from evaluation.measures import in_db
from evaluation.more_measures import MORE_MEASURES

MEASURES: Final = ("bpp", "psnr_rgb_db", "psnr_luma_db", "ssim", "ms_ssim")
QUALITIES: Final = {"psnr_rgb_db": "PSNR", "ms_ssim_db": "MS-SSIM"}
"""What curves are compared by, with names for people."""

OTHER_PICTURES: Final = "published of other pictures"
NOT_PUBLISHED: Final = "not published"

Entry = dict[str, Any]


def codec_entry(codec: Codec, photos: Sequence[Photo], quality: Outcome, time: Outcome) -> Entry:
    """All of one codec: what it is, each picture, means, times.

    Args:
        codec: which.
        photos: the data set.
        quality: of `measure_quality`.
        time: of `measure_time`.
    """
    records = {
        photo.name: quality.records[codec.name, photo.name]
        for photo in photos
        if (codec.name, photo.name) in quality.records
    }
    pictures = {name: _without_print(record) for name, record in records.items()}
    return {
        "name": codec.name,
        "label": codec.label,
        "family": codec.family,
        "origin": "measured",
        "parameter": codec.parameter,
        "about": dict(codec.about),
        "model_bytes": codec.model_bytes,
        "threads": codec.threads,
        "pictures": pictures,
        "points": mean_points(pictures, list(pictures)),
        "speed": speed_of(codec, photos, time),
        "failures": {
            photo: message
            for outcome in (quality, time)
            for name, photo, message in outcome.failures
            if name == codec.name
        },
    }


def _without_print(record: Entry) -> Entry:
    return {name: value for name, value in record.items() if name != "fingerprint"}


def mean_points(pictures: dict[str, Entry], names: Sequence[str]) -> list[Entry]:
    """Means over pictures, setting by setting.

    Every picture counts the same, whatever its size, as in the literature; `bpp_of_all_pixels` is
    all bits over all pixels. `ms_ssim_db` is that of the mean MS-SSIM. Measures of `MORE_MEASURES`
    are means over the pictures that are large enough for them.

    Args:
        pictures: name -> result.
        names: over which to take the mean.
    """
    chosen = [pictures[name] for name in names]
    if not chosen:
        return []
    pixels = sum(each["width"] * each["height"] for each in chosen)
    means = []
    for points in zip(*(each["points"] for each in chosen), strict=True):
        entry: Entry = {"setting": points[0]["setting"], "pictures": len(points)}
        entry |= {name: statistics.fmean(point[name] for point in points) for name in MEASURES}
        entry["ms_ssim_db"] = in_db(entry["ms_ssim"])
        for name in MORE_MEASURES.keys() & points[0].keys():
            known = [point[name] for point in points if point[name] is not None]
            entry[name] = statistics.fmean(known) if known else None
        entry["bpp_of_all_pixels"] = 8 * sum(point["bytes"] for point in points) / pixels
        means.append(entry)
    return means


def speed_of(codec: Timed, photos: Sequence[Photo], time: Outcome) -> Entry | None:
    """Medians over pictures, settings and calls; None where nothing was timed.

    Args:
        codec: which.
        photos: the data set.
        time: results with `megapixels` and `timings`.
    """
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    peaks: dict[str, list[int]] = {"encode": [], "decode": []}
    pictures = {}
    for photo in photos:
        record = time.records.get((codec.name, photo.name))
        if record is None:
            continue
        pictures[photo.name] = _without_print(record)
        for entry in record["timings"]:
            for way in seconds:
                seconds[way] += [each / record["megapixels"] for each in entry[f"{way}_s"]]
                if entry[f"{way}_peak_bytes"] is not None:
                    peaks[way].append(entry[f"{way}_peak_bytes"])
    if not pictures:
        return None
    found: Entry = {"threads": codec.threads, "pictures": pictures}
    for way, values in seconds.items():
        found[f"{way}_s_per_megapixel"] = statistics.median(values)
        found[f"{way}_peak_bytes"] = max(peaks[way], default=None)
    return found


def compare(anchor: Entry, entry: Entry, same_pictures: bool = True) -> Entry:
    """Mean differences of a codec from an anchor, or why there are none.

    Where both are measured, the means are over the pictures that both have.

    Args:
        anchor: of `codec_entry`, or published.
        entry: the same.
        same_pictures: whether what is published of one is of the pictures of the other.

    Returns:
        For each of `QUALITIES`: `bd_rate_percent`, `bd_quality_db`, the common range of quality
        and of bits per pixel, or `refused`.
    """
    first, second = anchor["points"], entry["points"]
    if "pictures" in anchor and "pictures" in entry and anchor["pictures"] != entry["pictures"]:
        common = [name for name in anchor["pictures"] if name in entry["pictures"]]
        first = mean_points(anchor["pictures"], common)
        second = mean_points(entry["pictures"], common)
    found: Entry = {"anchor": anchor["name"], "codec": entry["name"]}
    for quality in QUALITIES:
        found[quality] = (
            _difference(first, second, quality) if same_pictures else {"refused": OTHER_PICTURES}
        )
    return found


def _difference(first: Sequence[Entry], second: Sequence[Entry], quality: str) -> Entry:
    if any(quality not in point for point in (*first, *second)):
        return {"refused": NOT_PUBLISHED}
    curves = [
        [point[name] for point in points] for points in (first, second) for name in ("bpp", quality)
    ]
    entry: Entry = {}
    try:
        rate = bd_rate(*curves)
        entry["bd_rate_percent"] = rate.value
        entry["common_quality_db"] = [rate.low, rate.high]
        entry["overlap"] = rate.overlap
        gain = bd_quality(*curves)
        entry["bd_quality_db"] = gain.value
        entry["common_bpp"] = [gain.low, gain.high]
    except NoComparisonError as error:
        entry["refused"] = str(error)
    return entry


def break_evens(anchor: Entry, entry: Entry) -> list[Entry]:
    """From which picture size on each point of a codec pays for its model, against an anchor.

    Args:
        anchor: of `codec_entry`.
        entry: the same, with a model.

    Returns:
        For each point of the entry that the anchor has the quality of: setting, `bpp`,
        `psnr_rgb_db`, `anchor_bpp` and `pixels` (None where it never pays).
    """
    parts = entry.get("about", {}).get("joined")
    sizes = [entry["model_bytes"]] * len(entry["points"])
    if parts is not None:  # each point is another model's
        sizes = [part["model_bytes"] for part in parts]
    rates, qualities = ([point[n] for point in anchor["points"]] for n in ("bpp", "psnr_rgb_db"))
    rows = []
    for point, size in zip(entry["points"], sizes, strict=True):
        found = break_even(point["bpp"], point["psnr_rgb_db"], size, rates, qualities)
        if found is not None:
            rows.append(
                {
                    "setting": point["setting"],
                    "bpp": found.bpp,
                    "psnr_rgb_db": found.quality,
                    "anchor_bpp": found.other_bpp,
                    "pixels": found.pixels,
                }
            )
    return rows


def published_entries(reference: Entry) -> list[Entry]:
    """Published curves in the form of `codec_entry`, as far as they have what it has."""
    return [
        {
            "name": f"published-{codec['name']}",
            "label": codec["label"],
            "family": "published",
            "origin": "published",
            "source": codec["source"],
            "points": codec["points"],
        }
        for codec in reference["codecs"]
    ]


def choose_anchor(entries: Sequence[Entry], wanted: str | None) -> Entry:
    """What the others are compared with.

    Args:
        entries: measured, at least one.
        wanted: name of one of them; None for JPEG 4:2:0 if it was measured, else the first.

    Raises:
        KeyError: there is none of that name.
    """
    by_name = {entry["name"]: entry for entry in entries}
    if wanted is not None:
        return by_name[wanted]
    return by_name.get("jpeg-420", entries[0])
