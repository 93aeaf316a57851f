"""What TensorFlow Compression makes of given parameters and inputs.

    benchmarks/tfc.sh benchmarks/tfc_reference.py IN.npz OUT.npz

Runs where TensorFlow Compression is installed and Codecsmith is not; benchmarks/tfc_comparison.py
writes IN.npz, starts this and reads OUT.npz. What both files hold:

    in   gaussian/value, gaussian/scale                       (N,) float32
         density/value                                        (N, C) float32
         density/matrix_I, density/bias_I, density/factor_I   (C, after, before) float32
         gdn/x, gdn/beta, gdn/gamma                           (B, H, W, C), (C,), (C, C) float32
         scales                                               (T,) float64
         indexed/CASE/symbols, indexed/CASE/index             (N,) int32
         batched/CASE/symbols                                 (N, C) int32, coded with the density
    out  gaussian/DTYPE, density/DTYPE                        log likelihoods, natural
         gdn/forward/DTYPE, gdn/inverse/DTYPE
         bytes/CASE                                           (S,) int64, one for each of SETTINGS
         settings                                             (S, 2): precision, tail mass
         versions                                             of the packages, text
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc

DTYPES = (tf.float32, tf.float64)
SETTINGS = ((12, 2.0**-8), (16, 2.0**-8), (16, 2.0**-12), (16, 2.0**-16))
"""Precision of the range coder in bits, and mass left to the escape: its defaults, then finer."""
PACKAGES = ("tensorflow-compression", "tensorflow", "tensorflow-probability", "numpy")

Arrays = dict[str, np.ndarray]


def noisy_density(given: Arrays, dtype: tf.DType) -> tfc.NoisyDeepFactorized:
    """The deep factorized density with the given parameters."""
    matrices = sum(name.startswith("density/matrix_") for name in given)
    widths = [given[f"density/matrix_{index}"].shape[1] for index in range(matrices - 1)]
    channels = given["density/matrix_0"].shape[0]
    prior = tfc.NoisyDeepFactorized(batch_shape=(channels,), num_filters=widths, dtype=dtype)
    base = prior.base
    for name, variables in (
        ("matrix", base._matrices),
        ("bias", base._biases),
        ("factor", base._factors),
    ):
        for index, variable in enumerate(variables):
            variable.assign(tf.cast(given[f"density/{name}_{index}"], dtype))
    return prior


def likelihoods(given: Arrays, dtype: tf.DType) -> Arrays:
    """Log likelihoods under the Gaussians and the density."""
    zero, scale = tf.zeros((), dtype), tf.cast(given["gaussian/scale"], dtype)
    gaussian = tfc.NoisyNormal(loc=zero, scale=scale)
    density = noisy_density(given, dtype)
    return {
        "gaussian": gaussian.log_prob(tf.cast(given["gaussian/value"], dtype)).numpy(),
        "density": density.log_prob(tf.cast(given["density/value"], dtype)).numpy(),
    }


def gdn(given: Arrays, dtype: tf.DType) -> Arrays:
    """GDN and its inverse as first published: exponents 2 and 1/2, not TFC's later default of 1."""
    found = {}
    for name, inverse in (("gdn/forward", False), ("gdn/inverse", True)):
        layer = tfc.GDN(
            inverse=inverse,
            alpha_parameter=2,
            epsilon_parameter=0.5,
            beta_parameter=tf.cast(given["gdn/beta"], dtype),
            gamma_parameter=tf.cast(given["gdn/gamma"], dtype),
            dtype=dtype,
        )
        found[name] = layer(tf.cast(given["gdn/x"], dtype)).numpy()
    return found


def cases(given: Arrays, kind: str) -> list[str]:
    """Names of the cases of a kind, in their order."""
    parts = [name.split("/") for name in given]
    return [part[1] for part in parts if part[0] == kind and part[-1] == "symbols"]


def check(decoded: tf.Tensor, symbols: tf.Tensor, case: str) -> None:
    """Raises an error when what came back is not what was coded."""
    if not np.array_equal(decoded.numpy(), symbols.numpy()):
        raise AssertionError(f"{case}: the symbols came back otherwise")


def coded_sizes(given: Arrays, precision: int, tail_mass: float) -> dict[str, int]:
    """Bytes of every case, one string each."""
    scales = tf.constant(given["scales"], tf.float32)
    indexed = tfc.LocationScaleIndexedEntropyModel(
        tfc.NoisyNormal,
        num_scales=len(given["scales"]),
        scale_fn=lambda index: tf.gather(scales, tf.cast(index, tf.int32)),
        coding_rank=1,
        compression=True,
        tail_mass=tail_mass,
        range_coder_precision=precision,
    )
    prior = noisy_density(given, tf.float32)

    @tf.function  # without it the search for the tails takes minutes
    def there_and_back(symbols: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batched = tfc.ContinuousBatchedEntropyModel(
            prior,
            coding_rank=2,
            compression=True,
            stateless=True,
            tail_mass=tail_mass,
            range_coder_precision=precision,
            offset_heuristic=False,  # the symbols are integers, not integers beside a median
        )
        string = batched.compress(symbols)
        return string, batched.decompress(string, tf.shape(symbols)[:1])

    found = {}
    for case in cases(given, "indexed"):
        symbols = tf.cast(given[f"indexed/{case}/symbols"], tf.float32)
        index = tf.constant(given[f"indexed/{case}/index"])
        string = indexed.compress(symbols, index)
        check(indexed.decompress(string, index), symbols, case)
        found[case] = len(string.numpy())
    for case in cases(given, "batched"):
        symbols = tf.cast(given[f"batched/{case}/symbols"], tf.float32)
        string, decoded = there_and_back(symbols)
        check(decoded, symbols, case)
        found[case] = len(string.numpy())
    return found


def main() -> None:
    """Runs the command line."""
    given = dict(np.load(Path(sys.argv[1])))
    out: Arrays = {
        f"{name}/{dtype.name}": values
        for dtype in DTYPES
        for name, values in {**likelihoods(given, dtype), **gdn(given, dtype)}.items()
    }
    sizes = [coded_sizes(given, *setting) for setting in SETTINGS]
    for case in sizes[0]:
        out[f"bytes/{case}"] = np.array([each[case] for each in sizes])
    out["settings"] = np.array(SETTINGS)
    out["versions"] = np.array(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    np.savez(Path(sys.argv[2]), **out)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
