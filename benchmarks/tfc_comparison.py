"""Compares the entropy models, GDN and coded sizes with TensorFlow Compression's.

    python -m benchmarks.tfc_comparison

The same parameters and inputs go to our layers and to benchmarks/tfc_reference.py, which runs in an
environment of its own: benchmarks/tfc.sh makes it (Python 3.11, some minutes, 2 GB).
CODECSMITH_TFC_PYTHON names the Python of one that is there already.

Our layers compute in float32. TensorFlow Compression computes in float32 and in float64; its
float64 is what is true here, and its float32 says what can be expected of that precision.
docs/benchmarks.md has the figures.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from architectures.likelihoods import gaussian_bits
from benchmarks.tfc_inputs import (
    Arrays,
    as_array,
    coding_inputs,
    density_inputs,
    gaussian_inputs,
    gdn_inputs,
    made_density,
    made_gdn,
)

ROOT = Path(__file__).resolve().parents[1]
LIKELIEST = (1e-3, 1e-6, 1e-9, 1e-15)
"""Errors of likelihoods are told for those from these on; all of them reach to about 1e-20."""


@dataclass(frozen=True)
class Likelihoods:
    """Natural log likelihoods of the same values, float64 arrays of one shape.

    Attributes:
        ours: of our float32 layer.
        float32: TensorFlow Compression's.
        float64: likewise; the reference.
    """

    ours: NDArray[np.float64]
    float32: NDArray[np.float64]
    float64: NDArray[np.float64]

    def at_least(self, likelihood: float) -> NDArray[np.bool_]:
        """Which values have at least this likelihood."""
        return self.float64 >= np.log(likelihood)

    def error(self, likelihood: float) -> float:
        """Largest relative error of our likelihoods among those of at least this size."""
        return _largest(self.ours, self.float64, self.at_least(likelihood))

    def reference_error(self, likelihood: float) -> float:
        """The same of TensorFlow Compression's float32."""
        return _largest(self.float32, self.float64, self.at_least(likelihood))

    def distance(self, likelihood: float) -> float:
        """Largest relative difference of our likelihoods and TensorFlow Compression's float32."""
        return _largest(self.ours, self.float32, self.at_least(likelihood))


def _largest(
    found: NDArray[np.float64], expected: NDArray[np.float64], used: NDArray[np.bool_]
) -> float:
    return float(np.abs(np.expm1(found - expected))[used].max())


@dataclass(frozen=True)
class Size:
    """Bytes of the same symbols under the same distributions.

    Attributes:
        symbols: how many.
        ours: bytes.
        theirs: bytes, one for each of `Comparison.settings`.
    """

    symbols: int
    ours: int
    theirs: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared.

    Attributes:
        likelihoods: for "gaussian" and "density".
        gdn: largest relative difference of outputs: (direction, dtype of theirs) -> difference.
        sizes: by case.
        settings: precision in bits and tail mass of TensorFlow Compression's coder.
        versions: of what ran in the other environment.
    """

    likelihoods: dict[str, Likelihoods]
    gdn: dict[tuple[str, str], float]
    sizes: dict[str, Size]
    settings: tuple[tuple[int, float], ...]
    versions: str


def made_python() -> str:
    """The Python of the other environment, which is made when it is missing.

    Raises:
        RuntimeError: it could not be made; what said why is on standard error.
    """
    script = ROOT / "benchmarks" / "tfc.sh"
    if subprocess.run([script, "-c", ""], check=False).returncode:
        raise RuntimeError(f"{script.relative_to(ROOT)} could not make the environment")
    return str(ROOT / ".venv-tfc" / "bin" / "python")


def reference(given: Arrays, folder: Path) -> Arrays:
    """Runs benchmarks/tfc_reference.py; see there for what goes in and comes out.

    Args:
        given: what goes in.
        folder: for the files.

    Raises:
        RuntimeError: the other environment could not be made, or failed.
    """
    before, after = folder / "in.npz", folder / "out.npz"
    np.savez(before, **given)  # type: ignore[arg-type]
    python = os.environ.get("CODECSMITH_TFC_PYTHON") or made_python()
    command = [python, str(ROOT / "benchmarks" / "tfc_reference.py"), str(before), str(after)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    try:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stderr=subprocess.PIPE)
    except OSError as error:
        raise RuntimeError(f"{python} does not run: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"{python} failed: {last}") from None
    return dict(np.load(after))


def compare() -> Comparison:
    """Computes everything on both sides.

    Raises:
        RuntimeError: the other environment could not be made, or failed.
    """
    density = made_density()
    coding, sizes = coding_inputs(density)
    given = {**gaussian_inputs(), **density_inputs(density), **gdn_inputs(), **coding}
    with tempfile.TemporaryDirectory() as folder:
        found = reference(given, Path(folder))
    bits = {
        "gaussian": gaussian_bits(given["gaussian/value"], given["gaussian/scale"]),
        "density": density(given["density/value"]),
    }
    outputs = {
        "forward": as_array(made_gdn(False)(given["gdn/x"])),
        "inverse": as_array(made_gdn(True)(given["gdn/x"])),
    }

    def difference(direction: str, dtype: str) -> float:
        expected = found[f"gdn/{direction}/{dtype}"].astype(np.float64)
        return float(np.abs(outputs[direction] / expected - 1.0).max())

    return Comparison(
        likelihoods={
            name: Likelihoods(
                -np.log(2.0) * as_array(value).astype(np.float64),
                found[f"{name}/float32"].astype(np.float64),
                found[f"{name}/float64"],
            )
            for name, value in bits.items()
        },
        gdn={
            (direction, dtype): difference(direction, dtype)
            for direction in outputs
            for dtype in ("float32", "float64")
        },
        sizes={
            case: Size(*each, tuple(found[f"bytes/{case}"].tolist()))
            for case, each in sizes.items()
        },
        settings=tuple((int(precision), float(mass)) for precision, mass in found["settings"]),
        versions=str(found["versions"]),
    )


def show(result: Comparison, line: Callable[[str], None] = print) -> None:
    """Prints what was found, as in docs/benchmarks.md."""
    line(result.versions)
    line("\nlargest relative difference of likelihoods from this one on")
    line(f"{'':10}{'from':>8}{'values':>9}{'ours':>10}{'TFC f32':>10}{'ours - TFC f32':>16}")
    for name, each in result.likelihoods.items():
        for likelihood in LIKELIEST:
            line(
                f"{name:10}{likelihood:8.0e}{each.at_least(likelihood).sum():9d}"
                f"{each.error(likelihood):10.1e}{each.reference_error(likelihood):10.1e}"
                f"{each.distance(likelihood):16.1e}"
            )
    line("\nlargest relative difference of GDN's outputs")
    for (direction, dtype), difference in result.gdn.items():
        line(f"{direction:10}{dtype:>8}{difference:10.1e}")
    line("\nbytes, and ours against TFC's (precision in bits, tail mass)")
    heads = [f"{bits}, 2^{np.log2(mass):.0f}" for bits, mass in result.settings]
    line(f"{'':24}{'bits/symbol':>11}{'ours':>9}" + "".join(f"{each:>18}" for each in heads))
    for case, size in result.sizes.items():
        others = "".join(f"{each:9d} {size.ours / each - 1:+8.2%}" for each in size.theirs)
        line(f"{case:24}{8 * size.ours / size.symbols:11.3f}{size.ours:9d}{others}")


def main() -> None:
    """Runs the command line."""
    print("comparing with TensorFlow Compression: half a minute", file=sys.stderr)
    try:
        show(compare())
    except RuntimeError as error:
        sys.exit(f"tfc_comparison: {error}")


if __name__ == "__main__":
    main()
