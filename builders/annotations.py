"""What type hints and docstrings of our own components say of their arguments."""

import inspect
import types
import typing
from typing import Any, Final, get_args, get_origin

from builders.argument_kinds import Fragment, enum, fragment_for

NAMED_BY_KERAS: Final = ("name", "dtype", "trainable", "layer", "layers", "activation")


def annotation_fragment(name: str, hint: Any, default: Any, required: bool) -> Fragment:
    """JSON Schema fragment of a type hint; pydantic writes what isn't a component."""
    if name in NAMED_BY_KERAS or name.endswith(("_initializer", "_regularizer", "_constraint")):
        return fragment_for("", name, default, required)
    if hint is Any:
        return fragment_for("", name, default, required)
    options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    fragments = [
        {"type": "null"} if option is type(None) else _plain_fragment(option) for option in options
    ]
    return fragments[0] if len(fragments) == 1 else {"anyOf": fragments}


def _plain_fragment(hint: Any) -> Fragment:
    import pydantic

    if get_origin(hint) is typing.Literal:
        return enum(*get_args(hint))
    try:
        schema = pydantic.TypeAdapter(hint).json_schema()
    except pydantic.errors.PydanticUserError:
        return {}  # no type of JSON: the class itself decides what it takes
    if "prefixItems" in schema:
        items = schema.pop("prefixItems")
        schema["items"] = items[0]
    return schema if "type" in schema and "$defs" not in schema else {}


def argument_docs(cls: type) -> dict[str, str]:
    """The `Args:` entries of a Google-style docstring, one string each."""
    docs: dict[str, str] = {}
    current = ""
    in_args = False
    for doc in (inspect.getdoc(cls) or "", inspect.getdoc(vars(cls).get("__init__")) or ""):
        for line in doc.splitlines():
            if line.strip() in ("Args:", "Arguments:"):
                in_args = True
            elif in_args and line and not line.startswith(" "):
                in_args = False
            elif in_args and line.startswith("    ") and line[4:5].strip() and ":" in line:
                current, _, rest = line.strip().partition(":")
                current = current.split(" ")[0].strip("*")
                docs[current] = rest.strip()
            elif in_args and current and line.strip():
                docs[current] += " " + line.strip()
        in_args = False
    return docs
