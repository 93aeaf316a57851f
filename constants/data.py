"""Defaults of the data side: what is read, how it is split, kept and handed out."""

from typing import Final

# --- image files -----------------------------------------------------------------------------

IMAGE_SUFFIXES: Final = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".bmp", ".dib",
    ".tif", ".tiff", ".gif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm",
    ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".qoi", ".sgi", ".dds", ".ico", ".psd",
)  # fmt: skip
"""File name endings (lower case) that count as images when a folder is searched."""

IMAGE_FORMATS: Final = (
    "PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "PPM", "TGA", "PCX",
    "QOI", "SGI", "DDS", "ICO", "PSD",
)  # fmt: skip
"""Pillow's names of the decoders that may run on a file, whatever its suffix. A list of what is
allowed, because Pillow also knows formats that start other programs (EPS starts Ghostscript). MPO
(several JPEGs in one file) is opened by Pillow's JPEG reader."""

PIXEL_LIMIT: Final = 178_956_970
"""Pixels of one image. Twice Pillow's MAX_IMAGE_PIXELS, where Pillow itself stops (0.5 GB as RGB):
a header that claims more is refused before anything is decoded."""

ALPHA_BACKGROUND: Final = 255
"""Level, 0..255. Pixels with alpha are laid over white when the model has no alpha channel: most
transparent images are drawings and logos made for white pages."""

DECODE_THREADS_MAX: Final = 8
"""Threads that decode a folder when it is opened (fewer on fewer cores). Pillow frees the
interpreter lock while it decodes; beyond 8 they wait for the disk on common machines."""

# --- videos ----------------------------------------------------------------------------------

VIDEO_SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".ogv", ".3gp", ".y4m",
)  # fmt: skip
"""File name endings (lower case) that count as videos."""

CLIP_FRAMES_MAX: Final = 64
"""Frames of one training clip: training keeps the networks' activations of all of them."""

# --- splits ----------------------------------------------------------------------------------

VALIDATION_FRACTION: Final = 0.1
"""Share of the images, 0..1: enough for a steady PSNR on some hundred images."""

TEST_FRACTION: Final = 0.1
"""Share of the images, 0..1; as for validation."""

SPLIT_FOLDERS: Final = {
    "train": ("train",),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Folder names (any case) that name a split of their own."""

# --- memory and threads ----------------------------------------------------------------------

CACHE_MEBIBYTES: Final = 2048
"""MiB of decoded images kept in memory: 700 Mpixel of RGB, fits machines with 8 GiB."""

WORKERS: Final = 2
"""Threads that put batches together: they keep a training on a CPU fed and leave it its cores."""

PREFETCH_BATCHES: Final = 4
"""Batches made ahead of the trainer: rides out one slow image, takes little memory."""

INLINE_BATCH_BYTES: Final = 1 << 20
"""Bytes. Below this a batch of an array in memory is copied by the consumer itself: handing it
over between threads takes longer (about 0.1 ms) than copying it."""

# --- embedded data ---------------------------------------------------------------------------

DIGITS_SIDE: Final = 32
"""Pixels a side of the digits when the spec leaves the size free: fits four strides of two."""

PHOTO_TILE_SIDE: Final = 128
"""Pixels a side of the tiles of the embedded photos when the spec leaves the size free."""

# --- TensorFlow Datasets ---------------------------------------------------------------------

TFDS_PROBE_SECONDS: Final = 10.0
"""Seconds to wait for the server of a data set that is not prepared. TFDS itself retries for more
than three minutes before it says that there is no network."""

TFDS_SIZE_SAMPLE: Final = 64
"""Records read to estimate the decoded size of a data set whose images differ in size."""
