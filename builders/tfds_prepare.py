"""A TFDS data set by name, downloaded and prepared if it has to be.

TensorFlow and TensorFlow Datasets are imported here (and in `builders.tfds_source`) and only
inside functions: everything else works without them.
"""

import difflib
import importlib.util
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builders.errors import RunError, UserError
from constants.data import TFDS_PROBE_SECONDS

_LINES_OF_TFDS = 4  # of a message that may list hundreds of versions and configurations


def prepared_builder(name: str) -> Any:
    """Finds a TFDS data set and makes sure its files are there.

    Files are looked for in TFDS_DATA_DIR, by default ~/tensorflow_datasets. New data sets are
    prepared as array_record, which can be read at random places, where that library is installed.

    Args:
        name: as `tfds.builder` takes it: "mnist", "mnist:3.0.1", "imagenet_resized/32x32".

    Returns:
        A prepared `tfds.core.DatasetBuilder`.

    Raises:
        UserError: a library is missing, there is no such data set, or it has to be downloaded
            and its server cannot be reached.
        RunError: downloading or preparing failed on the way.
    """
    tfds = _import_tfds()
    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(_unknown(name, tfds)) from error
    except ImportError as error:
        raise UserError(f"{name}: this TFDS data set needs a package: {error}") from error
    except (ValueError, RuntimeError, AssertionError) as error:  # version or configuration
        raise UserError(f"{name}: {_said(error)}") from error
    if not builder.data_path.exists():
        _prepare(builder, tfds)
    return builder


def _import_tfds() -> Any:
    try:
        import tensorflow  # noqa: F401 - TFDS without it fails with a traceback
    except ImportError as error:
        raise UserError(
            "TensorFlow Datasets (tfds) needs TensorFlow, which is not installed here. Install it, "
            "or use a folder of images, a video, digits or photos: these work without"
        ) from error
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"TensorFlow Datasets cannot be imported ({error}): pip install tensorflow-datasets "
            "importlib_resources"
        ) from error
    return tfds


def _unknown(name: str, tfds: Any) -> str:
    plain = re.split("[/:]", name, maxsplit=1)[0]
    # Takes some milliseconds: the list is made from what is imported already.
    known = tfds.list_builders(with_community_datasets=False)
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return (
        f"{name}: TFDS has no such data set among its {len(known)}, and none is prepared in "
        f"{_data_dir_text()}{hint}"
    )


def _data_dir_text() -> str:
    return os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets (TFDS_DATA_DIR is not set)"


def _prepare(builder: Any, tfds: Any) -> None:
    import tensorflow as tf

    _check_network(builder)
    leftovers = _Leftovers(builder)
    has_array_record = importlib.util.find_spec("array_record") is not None
    try:
        builder.download_and_prepare(file_format="array_record" if has_array_record else None)
    except ImportError as error:
        raise UserError(f"{builder.name}: preparing it needs a package: {error}") from error
    except AssertionError as error:  # what TFDS raises for files that must be fetched by hand
        raise UserError(f"{builder.name}: {error}") from error
    except (
        OSError,  # also what `requests` raises
        ValueError,
        RuntimeError,
        tf.errors.OpError,
        tfds.download.DownloadError,
        tfds.core.download.download_manager.NonMatchingChecksumError,
        tfds.core.download.extractor.ExtractError,
        tfds.core.download.extractor.UnsafeArchiveError,
    ) as error:
        raise RunError(
            f"{builder.name}: preparing it in {_data_dir_text()} failed: {_said(error)}"
        ) from error
    finally:
        if not builder.data_path.exists():
            leftovers.remove()


def _check_network(builder: Any) -> None:
    """Raises a UserError at once where TFDS would try for minutes to reach a server."""
    import requests  # TFDS downloads with it, so it is there

    urls = [url for url in builder.url_infos or () if urlsplit(url).scheme in {"http", "https"}]
    if not urls:
        return  # nothing to ask: generated, or by other means
    try:
        requests.head(urls[0], timeout=TFDS_PROBE_SECONDS, allow_redirects=False).close()
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise UserError(
            f"{builder.name}: not prepared in {_data_dir_text()}, and {urlsplit(urls[0]).hostname} "
            "cannot be reached to download it. Set TFDS_DATA_DIR to a folder where it is prepared, "
            "or run again with a network (HTTPS_PROXY where there is a proxy)"
        ) from error


class _Leftovers:
    """Removes what a failed preparation left: empty folders and half downloads, nothing older."""

    def __init__(self, builder: Any) -> None:
        target = Path(builder.data_dir)
        root = Path(builder.data_dir_root)
        self._downloads = root / "downloads" / builder.name
        folders = [self._downloads, root / "downloads" / "extracted", root / "downloads" / "manual"]
        folders += [root / "downloads", target, *target.parents]
        above_root = set(root.parents)
        self._new = [one for one in folders if one not in above_root and not one.exists()]
        self._old_downloads = set(self._downloads.glob("*"))

    def remove(self) -> None:
        for path in set(self._downloads.glob("*.tmp.*")) - self._old_downloads:
            path.unlink()
        for folder in sorted(self._new, key=lambda path: len(path.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _said(error: BaseException) -> str:
    """TFDS's own words on one line, without the arguments that it repeats."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:_LINES_OF_TFDS]) or type(error).__name__
    return re.sub(r"^Failed to construct dataset .*?}\": ", "", text)
