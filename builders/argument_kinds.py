"""What each argument of a layer, optimizer, ... may be: JSON Schema fragments by argument name.

Keras signatures carry names and defaults but no types; this table adds them, so that a wrong type
is found before Keras is imported, and an editor can complete and check. An argument without an
entry gets a fragment from its default value; our own components get theirs from their type hints.
"""

from typing import Any, Final

Fragment = dict[str, Any]

POSITIVE: Final[Fragment] = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
NATURAL: Final[Fragment] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
INTEGER: Final[Fragment] = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
NUMBER: Final[Fragment] = {"type": "number"}
POSITIVE_NUMBER: Final[Fragment] = {"type": "number", "exclusiveMinimum": 0}
NATURAL_NUMBER: Final[Fragment] = {"type": "number", "minimum": 0}
UNIT_INTERVAL: Final[Fragment] = {"type": "number", "minimum": 0, "maximum": 1}
FRACTION: Final[Fragment] = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
BOOLEAN: Final[Fragment] = {"type": "boolean"}
STRING: Final[Fragment] = {"type": "string"}
NAME: Final[Fragment] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.\\-]{0,127}$"}
NOTHING: Final[Fragment] = {"type": "null"}


def enum(*values: Any) -> Fragment:
    """One of the given values."""
    return {"enum": list(values)}


def either(*options: Fragment) -> Fragment:
    """Any of the given fragments."""
    return {"anyOf": list(options)}


def optional(fragment: Fragment) -> Fragment:
    """The fragment, or null."""
    return either(*fragment.get("anyOf", [fragment]), NOTHING)


def array(items: Fragment, low: int = 0, high: int | None = None) -> Fragment:
    """A list of `low` to `high` items."""
    fragment: Fragment = {"type": "array", "items": items, "minItems": low}
    if high is not None:
        fragment["maxItems"] = high
    return fragment


def pair(items: Fragment) -> Fragment:
    """One value for both axes, or [vertical, horizontal]."""
    return either(items, array(items, 2, 2))


def component(kind: str) -> Fragment:
    """A component of a catalog kind: `{"Name": {arguments}}`, or `"Name"` where that is all."""
    return {"$ref": f"#/$defs/{kind}"}


MARGINS: Final[Fragment] = either(NATURAL, array(pair(NATURAL), 2, 2))
DTYPE: Final[Fragment] = optional(enum("float32", "mixed_bfloat16", "bfloat16"))

BY_NAME: Final[dict[str, Fragment]] = {
    "name": optional(NAME),
    "dtype": DTYPE,
    "trainable": BOOLEAN,
    "filters": POSITIVE,
    "units": POSITIVE,
    "kernel_size": pair(POSITIVE),
    "strides": pair(POSITIVE),
    "pool_size": pair(POSITIVE),
    "size": pair(POSITIVE),
    "dilation_rate": pair(POSITIVE),
    "output_padding": optional(pair(NATURAL)),
    "output_size": pair(POSITIVE),
    "depth_multiplier": POSITIVE,
    "groups": INTEGER,
    "padding": enum("valid", "same"),
    "cropping": MARGINS,
    "data_format": optional(enum("channels_last")),
    "activation": optional(component("activation")),
    "use_bias": BOOLEAN,
    "target_shape": array(INTEGER, 1, 4),
    "dims": array(POSITIVE, 1, 4),
    "interpolation": enum("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"),
    "axis": either(INTEGER, array(INTEGER, 1, 4)),
    "shared_axes": optional(array(POSITIVE, 1, 4)),
    "momentum": UNIT_INTERVAL,
    "epsilon": POSITIVE_NUMBER,
    "center": BOOLEAN,
    "scale": BOOLEAN,
    "rms_scaling": BOOLEAN,
    "synchronized": BOOLEAN,
    "renorm": BOOLEAN,
    "rate": FRACTION,
    "noise_shape": optional(array(INTEGER, 1, 4)),
    "seed": optional(NATURAL),
    "stddev": NATURAL_NUMBER,
    "negative_slope": NUMBER,
    "max_value": optional(NUMBER),
    "threshold": NUMBER,
    "keepdims": BOOLEAN,
    "lora_rank": NOTHING,
    "lora_alpha": NOTHING,
    "quantization_config": NOTHING,
    "layer": component("layer"),
    "layers": array(component("layer"), 1),
    "power_iterations": POSITIVE,
    # optimizers
    "learning_rate": either(POSITIVE_NUMBER, component("schedule")),
    "beta_1": FRACTION,
    "beta_2": FRACTION,
    "amsgrad": BOOLEAN,
    "weight_decay": optional(NATURAL_NUMBER),
    "clipnorm": optional(POSITIVE_NUMBER),
    "clipvalue": optional(POSITIVE_NUMBER),
    "global_clipnorm": optional(POSITIVE_NUMBER),
    "use_ema": BOOLEAN,
    "ema_momentum": UNIT_INTERVAL,
    "ema_overwrite_frequency": optional(POSITIVE),
    "loss_scale_factor": NOTHING,
    "gradient_accumulation_steps": optional({"type": "integer", "minimum": 2}),
    "nesterov": BOOLEAN,
    "rho": NUMBER,
    "centered": BOOLEAN,
    "relative_step": BOOLEAN,
    "clip_threshold": NUMBER,
    "initial_accumulator_value": NUMBER,
    "adam_lr_ratio": POSITIVE_NUMBER,  # Muon; its default is a whole number
    "adam_weight_decay": NATURAL_NUMBER,
    "rms_rate": POSITIVE_NUMBER,
    "exclude_layers": optional(array(STRING)),
    "exclude_embeddings": BOOLEAN,
    # schedules
    "initial_learning_rate": NATURAL_NUMBER,
    "decay_steps": POSITIVE,
    "decay_rate": POSITIVE_NUMBER,
    "staircase": BOOLEAN,
    "end_learning_rate": NATURAL_NUMBER,
    "power": NUMBER,
    "cycle": BOOLEAN,
    "alpha": NUMBER,
    "warmup_target": optional(NATURAL_NUMBER),
    "warmup_steps": NATURAL,
    "boundaries": array(POSITIVE, 1),
    "values": array(NATURAL_NUMBER, 2),
    "first_decay_steps": POSITIVE,
    "t_mul": POSITIVE_NUMBER,
    "m_mul": POSITIVE_NUMBER,
    # initializers, regularizers, constraints
    "value": NUMBER,
    "mean": NUMBER,
    "minval": NUMBER,
    "maxval": NUMBER,
    "mode": enum("fan_in", "fan_out", "fan_avg"),
    "distribution": enum("truncated_normal", "untruncated_normal", "uniform"),
    "gain": NUMBER,
    "input_axes": optional(either(INTEGER, array(INTEGER, 1, 4))),
    "output_axes": optional(either(INTEGER, array(INTEGER, 1, 4))),
    "l1": NATURAL_NUMBER,
    "l2": NATURAL_NUMBER,
    "factor": NATURAL_NUMBER,
    "min_value": NUMBER,
    # activations
    "approximate": BOOLEAN,
}

BY_COMPONENT: Final[dict[tuple[str, str], Fragment]] = {
    ("ZeroPadding2D", "padding"): MARGINS,
    ("Conv2D", "groups"): POSITIVE,
    ("GroupNormalization", "groups"): either(POSITIVE, enum(-1)),
    ("GroupNormalization", "axis"): INTEGER,
    ("BatchNormalization", "axis"): INTEGER,
    ("BatchNormalization", "renorm"): enum(False),
    ("BatchNormalization", "renorm_clipping"): NOTHING,
    ("Resizing", "height"): POSITIVE,
    ("Resizing", "width"): POSITIVE,
    ("Resizing", "fill_mode"): enum("constant"),
    ("MaxPooling2D", "strides"): optional(pair(POSITIVE)),
    ("AveragePooling2D", "strides"): optional(pair(POSITIVE)),
    ("Rescaling", "scale"): NUMBER,
    ("Rescaling", "offset"): NUMBER,
    ("VarianceScaling", "scale"): POSITIVE_NUMBER,
    ("Adafactor", "beta_2_decay"): NUMBER,
    ("MaxNorm", "max_value"): POSITIVE_NUMBER,
    ("MinMaxNorm", "max_value"): POSITIVE_NUMBER,
    ("OrthogonalRegularizer", "mode"): enum("rows", "columns"),
    ("MinMaxNorm", "rate"): UNIT_INTERVAL,
    ("relu", "max_value"): optional(NUMBER),
}


def fragment_for(component_name: str, argument: str, default: Any, required: bool) -> Fragment:
    """The fragment of one Keras argument: by component, by name, then by the default's type."""
    if (component_name, argument) in BY_COMPONENT:
        return BY_COMPONENT[component_name, argument]
    for kind in ("initializer", "regularizer", "constraint"):
        if argument.endswith(f"_{kind}"):
            return optional(component(kind))
    if argument in BY_NAME:
        return BY_NAME[argument]
    if not required:
        by_type = ((bool, BOOLEAN), (int, INTEGER), (float, NUMBER), (str, STRING))
        for plain_type, fragment in by_type:
            if isinstance(default, plain_type):
                return fragment
    return either(NUMBER, BOOLEAN, STRING, NOTHING, array(NUMBER))
