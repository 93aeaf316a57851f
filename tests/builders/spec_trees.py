"""Specs to test with: small ones, those that come with the project, and what fuzzing makes of them."""

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from builders.catalog import load_catalog

Tree = dict[str, Any]

MODELS = Path(__file__).resolve().parents[2] / "models"
SAMPLES = sorted(path for path in MODELS.glob("*.json") if path.name != "schema.json")
ENCODER = "model.layers.generator.layers.encoder.layers"
DECODER = "model.layers.generator.layers.decoder.layers"


def sample(path: Path) -> Tree:
    """A spec that comes with the project."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def stacked(shape: list[Any], encoder: list[Any], decoder: list[Any], **sections: Any) -> Tree:
    """A spec of the given layers."""
    return {
        "model": {
            "layers": {
                "inputs": [{"Input": {"shape": shape}}],
                "generator": {
                    "layers": {"encoder": {"layers": encoder}, "decoder": {"layers": decoder}}
                },
            }
        },
        **sections,
    }


def tiny(**sections: Any) -> Tree:
    """8x8 gray pixels to a vector and back."""
    return stacked(
        [8, 8, 1],
        [
            {"Conv2D": {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}},
            {"Flatten": {}},
            {"Dense": {"units": None, "name": "compressed_representation"}},
        ],
        [
            {"Dense": {"units": 32, "activation": "relu"}},
            {"Reshape": {"target_shape": [4, 4, 2]}},
            {
                "Conv2DTranspose": {
                    "filters": 1,
                    "kernel_size": 3,
                    "strides": 2,
                    "padding": "same",
                    "activation": "sigmoid",
                }
            },
        ],
        **{"loss": [{"L1": {}}], "training": {"latent_dims": 3, "metrics": []}, **sections},
    )


def rich() -> Tree:
    """Every section, nested components, parameters, an adversary; 8x8 colour pixels."""
    return {
        "$schema": "schema.json",
        "spec_version": 1,
        "params": {"width": 4, "rate": 0.002, "act": "leaky_relu"},
        "preprocessing": [{"ColorSpace": {"space": "YCbCr"}}, {"Rescale": {"scale": 2.0}}],
        **stacked(
            [8, 8, 3],
            [
                {"SpaceToDepth": {"block_size": 2}},
                {"Conv2D": {"filters": "$width", "kernel_size": 3, "padding": "same"}},
                {
                    "Residual": {
                        "layers": [
                            {"BatchNormalization": {}},
                            {
                                "Conv2D": {
                                    "filters": "$width",
                                    "kernel_size": [3, 3],
                                    "padding": "same",
                                    "activation": "$act",
                                    "kernel_initializer": {"HeNormal": {"seed": 3}},
                                    "kernel_regularizer": "l2",
                                }
                            },
                        ]
                    }
                },
                {"Flatten": {}},
                {"GaussianLatent": {"units": None, "name": "compressed_representation"}},
            ],
            [
                {"Dense": {"units": 192, "trainable": True}},
                {"Reshape": {"target_shape": [4, 4, 12]}},
                {"DepthToSpace": {}},
                {"PReLU": {"shared_axes": [1, 2]}},
                {"Conv2D": {"filters": 3, "kernel_size": 1}},
            ],
        ),
        "discriminator": {
            "layers": [
                {
                    "SpectralNormalization": {
                        "layer": {"Conv2D": {"filters": 2, "kernel_size": 3, "strides": 2}}
                    }
                },
                {"GlobalAvgPool2D": {}},
                {"Dense": {"units": 1}},
            ]
        },
        "loss": [
            {"L1": {"weight": 2}},
            {"MSE": {"scale": 255.0}},
            {"KLDivergence": {"weight": 1e-4}},
            {"Adversarial": {"weight": 0.01, "kind": "hinge"}},
        ],
        "training": {
            "optimizer": {
                "AdamW": {
                    "learning_rate": {
                        "CosineDecay": {"initial_learning_rate": "$rate", "decay_steps": 1000}
                    }
                }
            },
            "discriminator_optimizer": {"SGD": {"learning_rate": "$rate"}},
            "latent_dims": 3,
            "metrics": [{"PSNR": {}}, {"L1": {"name": "mae"}}],
        },
        "dataset": {"name": "photos", "resize": [8, 8], "flip": True},
    }


def entropic() -> Tree:
    """A hyperprior on free sides; three downsamplings by two in all."""
    same = {"kernel_size": 3, "padding": "same"}
    half = {**same, "strides": 2}
    tree = stacked(
        [None, None, 3],
        [{"Conv2D": {"filters": "$M", **half}}, {"GDN": {}}, {"Conv2D": {"filters": "$M", **half}}],
        [
            {"Conv2DTranspose": {"filters": 4, **half}},
            {"GDN": {"inverse": True}},
            {"Conv2DTranspose": {"filters": 3, **half}},
        ],
        params={"M": 3},
        loss=[{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}],
        training={"metrics": [{"Rate": {}}]},
        dataset={"crop": [16, 16]},
    )
    generator = tree["model"]["layers"]["generator"]
    generator["entropy_model"] = {"MeanScaleHyperprior": {"quantization": "mixed"}}
    generator["layers"]["hyper_encoder"] = {"layers": [{"Conv2D": {"filters": 2, **half}}]}
    generator["layers"]["hyper_decoder"] = {"layers": [{"Conv2DTranspose": {"filters": 6, **half}}]}
    return tree


def bases() -> list[Tree]:
    """What fuzzing starts from."""
    return [tiny(), rich(), entropic(), *(sample(path) for path in SAMPLES)]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a tree."""
    found = [path]
    if isinstance(tree, dict):
        for key, item in tree.items():
            found += places(item, (*path, key))
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            found += places(item, (*path, index))
    return found


def deep(levels: int) -> Any:
    """Lists and objects inside each other."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"layers": value}
    return value


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 5, 8, -1, 255, 65536, 2**31 - 1, 2**31, 2**63, 10**19, 10**25, 10**400]
) | st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, -1.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")]
)
STRINGS = st.text(max_size=6) | st.sampled_from(
    [
        "",
        "$",
        "$width",
        "$nothing",
        "$$",
        "�",
        "\x1b[31m",
        "a\n",
        "x" * 5000,
        "Conv2D",
        "relu",
        "compressed_representation",
        "same",
        "__class__",
        "keras.layers>Lambda",
        "../../etc/passwd",
        "lambda x: x",
        "os.system",
        "he_normal",
        "L2",
        "float64",
        "Discriminator",
        "loss",
    ]
)
KEYS = st.sampled_from(
    [
        "__class__",
        "class_name",
        "config",
        "module",
        "registered_name",
        "$schema",
        "$name",
        "a.b",
        "[0]",
        "",
        "�",
        "\n",
        "x" * 3000,
        "name",
        "layers",
        "layer",
        "units",
        "Lambda",
        "model",
        "training",
        "loss",
        "discriminator",
        "weight",
        "dtype",
        "activation",
        "Residual",
        "params",
    ]
) | st.text(max_size=4)
TRICKS = st.sampled_from(
    [
        {"Lambda": {"function": "lambda x: x"}},
        {"TFSMLayer": {"filepath": "/tmp"}},
        {"class_name": "Lambda", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "eA=="}},
        {"module": "os", "class_name": "system", "config": {}, "registered_name": None},
        {"Residual": {"layers": [{"Lambda": {}}]}},
        {"SpectralNormalization": {"layer": {"class_name": "Lambda", "config": {}}}},
        {"__class__": {"__init__": {}}},
        {"Residual": {"layers": []}},
    ]
).map(copy.deepcopy) | st.sampled_from([20, 100]).map(deep)
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS
MILD = (
    st.integers(-1, 9)
    | st.sampled_from(
        [None, True, False, 0.5, 1e6, 70_000, "same", "valid", "relu", "a", "he_normal"]
    )
    | st.lists(st.integers(0, 4), max_size=4)
)
"""Values that often are in order."""

VALUES = st.recursive(
    SCALARS | TRICKS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def changed(tree: Any, path: tuple[Any, ...], action: str, value: Any, key: str) -> Any:
    """The tree with one value deleted, replaced or added; itself where that can't be."""
    if not path:
        return value if action == "replace" else tree
    here = tree
    for step in path[:-1]:
        here = here[step]
    step = path[-1]
    if action == "delete":
        del here[step]
    elif action == "replace":
        here[step] = value
    elif isinstance(here, list):
        here.insert(step, value)
    else:
        here[key] = value
    return tree


@st.composite
def mutants(
    draw: Any, starts: list[Tree], values: Any = VALUES, most: int = 4, inside: str = ""
) -> Any:
    """A valid spec with a few values changed at random; those beneath a key alone, if one is named."""
    tree = copy.deepcopy(draw(st.sampled_from(starts)))
    for _ in range(draw(st.integers(1, most))):
        within = [path for path in places(tree) if not inside or inside in path[:-2]]
        path = draw(st.sampled_from(within or [()]))
        action = draw(st.sampled_from(["delete", "replace", "replace", "insert"]))
        tree = changed(tree, path, action, draw(values), draw(KEYS))
        if not isinstance(tree, dict):
            break
    return tree


class FromCatalog:
    """Components whose arguments all fit the catalog: what passes the parser, sense or not."""

    def __init__(self) -> None:
        self._catalog = load_catalog()

    def component(self, kind: str, depth: int = 2) -> st.SearchStrategy[Any]:
        """`{"Name": {arguments}}` of a kind."""
        known = [each for each in self._catalog.components(kind).values() if not each.alias_of]
        if depth == 0:
            known = [each for each in known if not {"layer", "layers"} & set(each.arguments)]
        if kind == "activation":
            return st.sampled_from([each.name for each in known])
        return st.sampled_from(known).flatmap(lambda each: self._one(each, depth))

    def _one(self, component: Any, depth: int) -> st.SearchStrategy[Any]:
        required, optional = {}, {}
        for name, argument in component.arguments.items():
            values = self.value(argument.fragment, depth - 1)
            (required if argument.required else optional)[name] = values
        few = st.lists(st.sampled_from(sorted(optional) or [""]), max_size=3, unique=True)
        given = few.flatmap(
            lambda names: st.fixed_dictionaries(
                {**required, **{name: optional[name] for name in names if name}}
            )
        )
        return given.map(lambda arguments: {component.name: arguments})

    def value(self, fragment: Tree, depth: int) -> st.SearchStrategy[Any]:
        """A value that fits a fragment, small more often than not."""
        if "anyOf" in fragment:
            return st.one_of([self.value(each, depth) for each in fragment["anyOf"]])
        if "enum" in fragment:
            return st.sampled_from(fragment["enum"])
        if "$ref" in fragment:
            kind = fragment["$ref"].rsplit("/", 1)[-1]
            return st.deferred(lambda: self.component(kind, max(depth, 0)))
        match fragment.get("type"):
            case "integer":
                low = max(fragment.get("minimum", -3), -3)
                high = fragment.get("maximum", 2**31 - 1)
                return st.integers(low, min(low + 9, high)) | st.sampled_from([low, high])
            case "number":
                low = fragment.get("minimum", fragment.get("exclusiveMinimum", -3.0))
                high = fragment.get("maximum", fragment.get("exclusiveMaximum", 1e6))
                return st.floats(
                    low,
                    high,
                    exclude_min="exclusiveMinimum" in fragment,
                    exclude_max="exclusiveMaximum" in fragment,
                )
            case "boolean":
                return st.booleans()
            case "string":
                return st.sampled_from(["a", "b1", "x.y-z"])
            case "null":
                return st.none()
            case "array":
                items = self.value(fragment["items"], depth)
                low = fragment.get("minItems", 0)
                return st.lists(items, min_size=low, max_size=fragment.get("maxItems", low + 2))
        raise AssertionError(f"no values for {fragment}")


@st.composite
def plausible(draw: Any, source: FromCatalog) -> Tree:
    """A small spec with some of its components replaced by others that pass the parser."""
    tree = copy.deepcopy(draw(st.sampled_from([tiny(), tiny(), rich(), entropic()])))
    generator = tree["model"]["layers"]["generator"]
    kinds = ["layer"] * 6 + ["preprocessing", "loss", "metric", "optimizer", "entropy_model"]
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(kinds))
        made = draw(source.component(kind))
        if kind == "layer":
            stacks = [coder["layers"] for coder in generator["layers"].values()]
            if "discriminator" in tree:
                stacks.append(tree["discriminator"]["layers"])
            stack = draw(st.sampled_from(stacks))
            index = draw(st.integers(0, len(stack) - 1))
            stack[index : index + draw(st.integers(0, 1))] = [made]
        elif kind == "entropy_model":
            generator["entropy_model"] = made
        elif kind == "optimizer":
            tree["training"]["optimizer"] = made
        elif kind == "metric":
            tree["training"]["metrics"] = [made]
        else:
            tree[kind] = [*tree.get(kind, []), made]
    return tree
