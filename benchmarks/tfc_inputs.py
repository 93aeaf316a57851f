"""The parameters and inputs that our layers and TensorFlow Compression are compared on.

What the arrays are called is written down in benchmarks/tfc_reference.py.
"""

import numpy as np
from keras import ops
from numpy.typing import NDArray

from architectures.factorized_prior import DeepFactorized
from architectures.gdn import GDN
from benchmarks.coder_speed import MIXES, SCALES, latents
from builders.codec_tables import density_tables
from codec import SymbolCoder, TableSet, gaussian_tables

CHANNELS = 32
POSITIONS = 10_000
SYMBOLS = 300_000
OUTLIERS = 1e-3
"""Share of the symbols that lie anywhere within +-OUTLIER_REACH in the cases with outliers."""
OUTLIER_REACH = 2000

Arrays = dict[str, np.ndarray]


def made_density() -> DeepFactorized:
    """A density as after training, with channels from a fiftieth to ten times their first width."""
    rng = np.random.default_rng(0)
    density = DeepFactorized()
    density.build((None, CHANNELS))
    for each in density.matrices:
        each.assign(as_array(each) + rng.normal(0.0, 0.3, each.shape))
    for variables, deviation in ((density.biases, 0.5), (density.factors, 0.7)):
        for each in variables:
            each.assign(rng.normal(0.0, deviation, each.shape))
    slopes = np.logaddexp(0.0, as_array(density.matrices[0])) / _spreads()[:, None, None]
    density.matrices[0].assign(np.log(np.expm1(slopes)))
    return density


def _spreads() -> NDArray[np.float64]:
    return np.exp(np.linspace(np.log(0.02), np.log(10.0), CHANNELS))


def as_array(tensor: object) -> np.ndarray:
    """A tensor of any backend as NumPy's."""
    return np.asarray(ops.convert_to_numpy(tensor))


def _half_rounded(values: np.ndarray) -> np.ndarray:
    """Rounds every other value: training sees reals, coding integers."""
    values[::2] = np.round(values[::2])
    return values.astype(np.float32)


def gaussian_inputs() -> Arrays:
    """Values up to nine scales and one step from the mean, scales as in a table of scales."""
    rng = np.random.default_rng(1)
    scale = np.exp(rng.uniform(np.log(SCALES[0]), np.log(SCALES[-1]), SYMBOLS))
    value = rng.uniform(-1.0, 1.0, SYMBOLS) * (9.0 * scale + 1.0)
    return {"gaussian/value": _half_rounded(value), "gaussian/scale": scale.astype(np.float32)}


def density_inputs(density: DeepFactorized) -> Arrays:
    """Values from tail to tail of every channel, and the parameters."""
    rng = np.random.default_rng(2)
    value = rng.uniform(-1.0, 1.0, (POSITIONS, CHANNELS)) * 200.0 * _spreads()
    given = {"density/value": _half_rounded(value)}
    for name, variables in (
        ("matrix", density.matrices),
        ("bias", density.biases),
        ("factor", density.factors),
    ):
        for index, variable in enumerate(variables):
            given[f"density/{name}_{index}"] = as_array(variable)
    return given


def made_gdn(inverse: bool) -> GDN:
    """GDN whose channels mix, as after training."""
    rng = np.random.default_rng(3)
    layer = GDN(inverse=inverse)
    layer.build((None, None, None, 96))
    layer.beta_root.assign(rng.uniform(0.1, 1.5, 96))
    layer.gamma_root.assign(np.sqrt(rng.exponential(0.02, (96, 96)) + 0.1 * np.eye(96)))
    return layer


def gdn_inputs() -> Arrays:
    """Features of magnitudes from 0.01 to 100, and the parameters."""
    rng = np.random.default_rng(4)
    shape = (2, 24, 32, 96)
    x = (
        rng.normal(size=shape)
        * np.exp(rng.uniform(np.log(0.01), np.log(100.0), shape[:3]))[..., None]
    )
    layer = made_gdn(False)
    return {
        "gdn/x": x.astype(np.float32),
        "gdn/beta": as_array(layer.beta),
        "gdn/gamma": as_array(layer.gamma),
    }


def _with_outliers(symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    rng = np.random.default_rng(5)
    far = rng.integers(-OUTLIER_REACH, OUTLIER_REACH + 1, symbols.shape, np.int32)
    return np.where(rng.random(symbols.shape) < OUTLIERS, far, symbols)


def _drawn(tables: TableSet) -> NDArray[np.int32]:
    """Symbols of each table, (POSITIONS, T), as often as its frequencies say; no escapes."""
    rng = np.random.default_rng(6)
    columns = []
    for index, low in enumerate(tables.lows):
        frequencies = tables.table(index)[:-1].astype(np.float64)
        chances = frequencies / frequencies.sum()
        columns.append(rng.choice(np.arange(low, low + chances.size), POSITIONS, p=chances))
    return np.stack(columns, axis=1).astype(np.int32)


def coded(tables: TableSet, symbols: np.ndarray, index: np.ndarray) -> int:
    """Bytes that our coder makes of symbols; checks that they come back."""
    coder = SymbolCoder(tables)
    data = coder.encode(symbols, index)
    if not np.array_equal(coder.decode(data, index), symbols):
        raise AssertionError("the symbols came back otherwise")
    return len(data)


def coding_inputs(density: DeepFactorized) -> tuple[Arrays, dict[str, tuple[int, int]]]:
    """Symbols to code, and for each case how many they are and how many bytes they take us."""
    gaussians, channels = gaussian_tables(SCALES), density_tables(density)
    given: Arrays = {"scales": SCALES}
    ours = {}
    for name, mix in MIXES.items():
        symbols, index = latents(SYMBOLS, *mix)
        for case, values in ((name, symbols), (f"{name}, outliers", _with_outliers(symbols))):
            given[f"indexed/{case}/symbols"], given[f"indexed/{case}/index"] = values, index
            ours[case] = values.size, coded(gaussians, values, index)
    symbols = _drawn(channels)
    index = np.broadcast_to(np.arange(CHANNELS, dtype=np.int32), symbols.shape)
    for case, values in (("density", symbols), ("density, outliers", _with_outliers(symbols))):
        given[f"batched/{case}/symbols"] = values
        ours[case] = values.size, coded(channels, values, index)
    return given, ours
