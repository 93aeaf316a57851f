"""Whether a `.nic` file means the same symbols however the integer network is computed.

    python -m evaluation.determinism BUNDLE FILE... [--engine numpy,exact,keras,onnx]

prints one line for each file and engine: engine, file, SHA-256 of the decoded symbols and of the
index of the table that each was decoded with.
"""

import argparse
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bundle import Bundle
from codec.container import NicFile
from codec.hyperprior_coder import HyperpriorCoder
from codec.image_codec import ImageCodec
from codec.integer_network import IntegerNetwork, convolution_sums, exact_run, run_layer
from codec.picture import Transforms

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("numpy", "exact", "keras", "onnx")
Engine = Callable[[Any], NDArray[np.int32]]


def engine(name: str, network: IntegerNetwork) -> Engine:
    """A way to compute an integer network.

    Args:
        name: `numpy` (what decompress.py takes), `exact` (64-bit integers, straight from the
            definition), `keras` (its backend), or `onnx` (ONNX Runtime; TensorFlow exports to it).
        network: what to compute.
    """
    if name == "numpy":
        return network.run
    if name == "exact":
        return lambda z: exact_run(network, z).astype(np.int32)
    from builders.integer_engine import IntegerModel, KerasEngine

    if name == "keras":
        return KerasEngine(network)
    import keras
    import onnxruntime

    model = IntegerModel(network)
    shape = (None, None, None, network.channels)
    model.build(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        signature = [keras.InputSpec(shape=shape, dtype="float32", name="z")]
        model.export(path, format="onnx", input_signature=signature, verbose=False)
        session = onnxruntime.InferenceSession(path.read_bytes())
    (entry,) = session.get_inputs()

    def run(z: Any) -> NDArray[np.int32]:
        (found,) = session.run(None, {entry.name: np.asarray(z).astype(np.float32)})
        return np.asarray(found).astype(np.int32)

    return run


def symbols_digest(codec: ImageCodec, data: bytes) -> str:
    """SHA-256 of what a file decodes to: all symbols, and the tables they were decoded with."""
    digest = hashlib.sha256()
    file = NicFile.from_bytes(data)
    for tile in codec.decode_latents(file):
        for array in tile.arrays:
            digest.update(np.ascontiguousarray(array).astype("<i4").tobytes())
        if isinstance(codec.coder, HyperpriorCoder):
            _, index = codec.coder.parameters(tile.arrays[0], file.header.quality)
            digest.update(index.astype("<i4").tobytes())
        digest.update(tile.y_hat.astype("<f4").tobytes())
    return digest.hexdigest()


def digests_in_a_process(
    python: str,
    bundle: Path,
    files: Sequence[Path],
    flags: Sequence[str],
    settings: Mapping[str, str],
) -> list[str]:
    """The digests of files, decoded in a process of its own.

    Args:
        python: the interpreter.
        bundle: folder of the codec; like the files, seen from the project's folder.
        files: to decode.
        flags: of this module, as a command; one engine.
        settings: added to the environment.

    Returns:
        One for each file, in their order.

    Raises:
        RuntimeError: the process failed; with its standard error.
    """
    done = subprocess.run(
        [python, "-m", "evaluation.determinism", bundle, *files, *flags],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [line.split() for line in done.stdout.splitlines()]
    return [line[-1] for line in lines if len(line) == 3]


def no_transforms() -> Transforms:
    """Stands in for the networks, which are not needed to decode symbols."""
    raise RuntimeError("symbols are decoded without the networks")


def boundary_latents(
    network: IntegerNetwork, seed: int = 0, rounds: int = 200, side: int = 4
) -> Iterator[tuple[NDArray[np.int32], float]]:
    """Hyper-latents that put sums just on and just below the boundaries that rounding has.

    Draws random ones of many amplitudes, keeps those that reach a boundary of a channel that none
    before has reached, and ends when all were reached.

    Args:
        network: whose boundaries.
        seed: of the draws.
        rounds: most draws.
        side: height and width.

    Yields:
        Hyper-latents (1, side, side, C), and the share of boundaries that they and those before
        reach.
    """
    generator = np.random.default_rng(seed)
    missing = [
        np.ones((2, layer.output_channels(0)), bool) if layer.is_convolution else np.zeros((2, 0))
        for layer in network.layers
    ]
    total = sum(each.size for each in missing)
    for number in range(rounds):
        limit = max(1, int(network.input_limit * 2.0 ** -(number % 6)))
        z = generator.integers(-limit, limit + 1, (1, side, side, network.channels))
        if number % 7 == 6:  # the largest sums there can be
            z = np.where(z > 0, network.input_limit, -network.input_limit)
        whole: NDArray[np.int32] = z.astype(np.int32)
        if _reached(network, whole, missing):
            yield whole, 1.0 - sum(int(each.sum()) for each in missing) / total
        if not any(each.any() for each in missing):
            return


def _reached(network: IntegerNetwork, z: NDArray[np.int32], missing: Sequence[Any]) -> bool:
    """Crosses out the boundaries that some hyper-latents reach; whether there were any."""
    limit = network.input_limit
    x = np.clip(z, -limit, limit).astype(np.float32)
    news = False
    for layer, left in zip(network.layers, missing, strict=True):
        if layer.is_convolution:
            assert layer.bias is not None and layer.shift is not None
            unit = np.left_shift(1, layer.shift.astype(np.int64))
            sums = convolution_sums(layer, x).astype(np.int64) + layer.bias + unit // 2
            rest = sums % unit
            for row, value in enumerate((np.zeros_like(unit), unit - 1)):
                hit = (rest == value).any(axis=(0, 1, 2)) & left[row].astype(bool)
                news = news or bool(hit.any())
                left[row] &= ~hit
        x = run_layer(layer, x)
    return news


def boundary_file(bundle: Bundle, codec: ImageCodec, z: NDArray[np.int32], seed: int) -> bytes:
    """A `.nic` file with given hyper-latents; its latents are drawn as their tables expect."""
    coder = codec.coder
    assert isinstance(coder, HyperpriorCoder)
    generator = np.random.default_rng(seed)
    quality = bundle.manifest.coder.default_quality
    mean, index = coder.parameters(z, quality)
    y = generator.normal(size=index.shape) * np.exp(0.12 * index - 2.2)
    y = (y if mean is None else y + mean).astype(np.float32)
    geometry = bundle.geometry
    height, width = (
        first + (size - shape) // growth * step
        for first, step, size, shape, growth in zip(
            geometry.first,
            geometry.step,
            z.shape[1:3],
            geometry.grids["z"].shape,
            geometry.grids["z"].growth,
            strict=False,
        )
    )
    return codec.file_of_latents({"y": y, "z": z.astype(np.float32)}, height, width)


def main() -> None:
    """Prints the digests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--engine", default="numpy", help=f"some of {','.join(ENGINES)}")
    parser.add_argument("--policy", help="a Keras dtype policy to set first")
    flags = parser.parse_args()
    names = flags.engine.split(",")
    if {"keras", "onnx"} & set(names):
        from builders.backend import choose_backend

        choose_backend()
        if flags.policy:
            import keras

            keras.config.set_dtype_policy(flags.policy)
    bundle = Bundle.read(flags.bundle)
    for name in names:
        codec = ImageCodec(bundle, no_transforms, engine(name, bundle.network))
        for file in flags.files:
            print(name, file, symbols_digest(codec, Path(file).read_bytes()), flush=True)


if __name__ == "__main__":
    main()
