"""Signatures of Keras' and our own classes, as catalog components."""

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any, Final

import keras

from builders.annotations import annotation_fragment, argument_docs
from builders.argument_kinds import BY_NAME, fragment_for
from builders.catalog import Argument, Catalog, Component
from builders.errors import UserError

KERAS_LAYERS: Final = (
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "ELU",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Identity",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling2D",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Resizing",
    "SeparableConv2D",
    "Softmax",
    "SpatialDropout2D",
    "SpectralNormalization",
    "UnitNormalization",
    "UpSampling2D",
    "ZeroPadding2D",
)
"""Layers of one tensor in and one out that mean something for images. No Lambda, no TFSMLayer."""

KERAS_ALIASES: Final = {
    "MaxPool2D": "MaxPooling2D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "Convolution2D": "Conv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "SeparableConvolution2D": "SeparableConv2D",
}
KERAS_KINDS: Final = {
    "optimizer": (
        "optimizers",
        "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam RMSprop SGD "
        "ScheduleFreeAdamW",
    ),
    "schedule": (
        "optimizers.schedules",
        "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay "
        "PolynomialDecay",
    ),
    "initializer": (
        "initializers",
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones "
        "Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros",
    ),
    "regularizer": ("regularizers", "L1 L2 L1L2 OrthogonalRegularizer"),
    "constraint": ("constraints", "MaxNorm MinMaxNorm NonNeg UnitNorm"),
}
"""Kind -> (module of Keras, names of its classes)."""

KERAS_ACTIVATIONS: Final = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "tanh_shrink",
]
"""Not `glu`, which halves the channels and which Keras' layers do not reckon with."""
LAYER_BASE: Final = ("name", "dtype", "trainable")
"""What every Keras layer takes through **kwargs."""

OPTIMIZER_REFUSED: Final = frozenset({"kwargs", "name", "loss_scale_factor"})


def keras_object(kind: str, name: str) -> Any:
    """The Keras class of an allow-listed name."""
    module = "layers" if kind == "layer" else KERAS_KINDS[kind][0]
    return getattr(importlib.import_module(f"keras.{module}"), name)


def keras_components() -> dict[str, dict[str, Component]]:
    """Every allow-listed Keras component, read off the installed Keras."""
    kinds: dict[str, dict[str, Component]] = {"layer": {}}
    for name in KERAS_LAYERS:
        kinds["layer"][name] = _keras_component("layer", name)
    for alias, name in KERAS_ALIASES.items():
        found = kinds["layer"][name]
        kinds["layer"][alias] = Component(
            alias, f"Another name of {name}.", found.arguments, alias_of=name
        )
    for kind, (_, names) in KERAS_KINDS.items():
        kinds[kind] = {name: _keras_component(kind, name) for name in names.split()}
    kinds["activation"] = {
        name: Component(name, first_line(getattr(keras.activations, name)), {})
        for name in KERAS_ACTIVATIONS
    }
    return kinds


def _keras_component(kind: str, name: str) -> Component:
    cls = keras_object(kind, name)
    arguments: dict[str, Argument] = {}
    takes_more = False
    for each, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and not (
            kind in ("optimizer", "schedule") and each in OPTIMIZER_REFUSED
        ):
            required = parameter.default is parameter.empty
            default = None if required else json_default(parameter.default)
            arguments[each] = Argument(
                fragment_for(name, each, default, required), required, default
            )
    if kind == "layer" and takes_more:
        for each in LAYER_BASE:
            arguments.setdefault(each, _base_argument(each))
    return Component(name, first_line(cls), arguments)


def _base_argument(name: str) -> Argument:
    return Argument(BY_NAME[name], False, True if name == "trainable" else None)


def json_default(value: Any) -> Any:
    """A default as JSON; tuples become lists."""
    if isinstance(value, tuple):
        return [json_default(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"default {value!r} has no JSON form")


def first_line(documented: Any) -> str:
    """The one-line summary of a docstring."""
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split())


def registered_kinds() -> dict[str, type]:
    """Base class of each kind that a user or this project may register."""
    from architectures.factorized_prior import EntropyModel
    from architectures.losses import LossTerm
    from architectures.metrics import ImageMetric
    from architectures.prediction import Prediction
    from architectures.preprocessing import Preprocessing

    return {
        "entropy_model": EntropyModel,
        "prediction": Prediction,
        "preprocessing": Preprocessing,
        "loss": LossTerm,
        "metric": ImageMetric,
        "layer": keras.layers.Layer,
    }


def registered_classes() -> Iterator[tuple[str, str, type]]:
    """(kind, name, class) of all that is registered with Keras and may stand in a spec.

    Raises:
        UserError: a user's class has the name of another, and a spec could not say which it means.
    """
    import architectures

    architectures.register_all()
    kinds = registered_kinds()
    taken = {("layer", name) for name in (*KERAS_LAYERS, *KERAS_ALIASES)}
    for key, cls in sorted(keras.saving.get_custom_objects().items()):
        if not inspect.isclass(cls) or getattr(cls, "in_spec", True) is False:
            continue
        if issubclass(cls, keras.Model):
            continue
        name = key.rsplit(">", 1)[-1]
        for kind, base in kinds.items():
            if issubclass(cls, base):
                if cls is base:
                    break
                ours = cls.__module__.startswith("architectures.")  # may improve on Keras' own
                if (kind, name) in taken and not ours:
                    raise UserError(
                        f'{cls.__module__}.{cls.__name__}: there is another {kind} "{name}"; '
                        "register one of them under another name"
                    )
                taken.add((kind, name))
                yield kind, name, cls
                break


def registered_components(known: Catalog | None = None) -> Iterator[tuple[str, Component]]:
    """Catalog components of the registered classes, but for those that are known already.

    Raises:
        UserError: the default of an argument has no JSON form.
    """
    for kind, name, cls in registered_classes():
        if known is not None and name in known.components(kind):
            continue
        try:
            yield kind, _own_component(kind, name, cls)
        except TypeError as error:
            raise UserError(f"{cls.__module__}.{cls.__name__}: {error}") from None


def _own_component(kind: str, name: str, cls: type) -> Component:
    arguments: dict[str, Argument] = {}
    try:
        hints = typing.get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    except NameError:  # names imported for type checkers alone: the defaults tell what they can
        hints = {}
    docs = argument_docs(cls)
    takes_more = False
    for each, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
            continue
        if each in getattr(cls, "built_arguments", ()):
            continue  # the builder gives these, not the spec
        required = parameter.default is parameter.empty
        default = None if required else json_default(parameter.default)
        fragment = annotation_fragment(each, hints.get(each, Any), default, required)
        arguments[each] = Argument(fragment, required, default, docs.get(each, ""))
    if kind == "layer" and takes_more:
        for each in LAYER_BASE:
            arguments.setdefault(each, _base_argument(each))
    return Component(name, first_line(cls), arguments, origin=cls.__module__.split(".")[0])
