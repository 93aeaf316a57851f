"""Writes what is derived from the code: catalog.json, models/schema.json, docs/spec.md.

Run `python -m builders.generate` after a change to a layer, loss, metric or section, or to the
Keras version; a test holds the three files to what this would write.
"""

import json
import sys
from pathlib import Path
from typing import Any

from architectures.naming import snake_case
from builders.argument_kinds import NAME, POSITIVE, array, enum, optional
from builders.catalog import (
    CATALOG_PATH,
    SHORT_FORM_KINDS,
    Argument,
    Component,
    component_to_json,
)
from builders.sections import SpecSections
from builders.spec_page import spec_page

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_PATH = ROOT / "models" / "schema.json"
PAGE_PATH = ROOT / "docs" / "spec.md"
PARAMETER = {"type": "string", "pattern": "^\\$", "description": 'A parameter: "$name".'}

NO_PARAMETER = frozenset({"$schema", "params", "spec_version"})

INPUT = Component(
    "Input",
    "The images: 8-bit pixels, height x width x channels.",
    {
        "shape": Argument(
            array(optional(POSITIVE), 3, 3),
            True,
            doc="[height, width, channels]; null for a free height or width.",
        ),
        "name": Argument(optional(NAME), False, "Input_Layer", "Name of the input."),
        "dtype": Argument(enum("uint8"), False, "uint8", "What the images are stored as."),
    },
    origin="builders",
)


def all_components() -> dict[str, dict[str, Component]]:
    """Every kind and component of the allow-list, from the installed code."""
    from builders.signatures import keras_components, registered_components

    kinds = {"input": {"Input": INPUT}, **keras_components()}
    for kind in ("entropy_model", "prediction", "preprocessing", "loss", "metric"):
        kinds[kind] = {}
    for kind, component in registered_components():
        kinds[kind][component.name] = component
    return {kind: dict(sorted(kinds[kind].items())) for kind in sorted(kinds)}


def catalog_text(kinds: dict[str, dict[str, Component]]) -> str:
    """`catalog.json`."""
    stored = {
        kind: {name: component_to_json(component) for name, component in components.items()}
        for kind, components in kinds.items()
    }
    return json.dumps({"kinds": stored}, indent=1, ensure_ascii=False) + "\n"


def schema_text(kinds: dict[str, dict[str, Component]]) -> str:
    """`models/schema.json`: JSON Schema of a whole spec, for editors."""
    schema = SpecSections.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema.pop("$defs")
    for section in (schema, *definitions.values()):
        for key, field in section["properties"].items():
            if key not in NO_PARAMETER:
                section["properties"][key] = _or_parameter(field)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Codecsmith model spec",
        **{key: value for key, value in schema.items() if key != "title"},
    }
    for kind, components in kinds.items():
        definitions[kind] = _kind_schema(kind, components)
    definitions["parameter"] = PARAMETER
    schema["$defs"] = definitions
    # A discriminator may also stand at the top, as the older grammar had it.
    schema["properties"]["discriminator"] = {"$ref": "#/$defs/DiscriminatorSection"}
    return json.dumps(_with_references(schema), indent=1, ensure_ascii=False) + "\n"


def _kind_schema(kind: str, components: dict[str, Component]) -> dict[str, Any]:
    if kind == "activation":
        return {"enum": list(components)}
    properties: dict[str, Any] = {}
    for name, component in components.items():
        if component.alias_of:
            properties[name] = {"$ref": f"#/$defs/{kind}/properties/{component.alias_of}"}
            continue
        arguments = {
            key: {
                **_or_parameter(_nullable_latent(key, argument.fragment)),
                **({"description": argument.doc} if argument.doc else {}),
                **({} if argument.required else {"default": argument.default}),
            }
            for key, argument in component.arguments.items()
        }
        required = [key for key, argument in component.arguments.items() if argument.required]
        properties[name] = {
            "type": "object",
            "description": component.summary,
            "properties": arguments,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }
    named = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    if kind not in SHORT_FORM_KINDS:
        return named
    return {"anyOf": [{"enum": [*components, *map(snake_case, components)]}, named]}


def _or_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """Lets `"$name"` stand for a value, and for the items of a list of values."""
    options = [
        {**option, "items": _or_parameter(option["items"])} if _holds_values(option) else option
        for option in schema.get("anyOf", [schema])
    ]
    if all("$ref" in option or "x-component" in option or "items" in option for option in options):
        return {**schema, **options[0]} if len(options) == 1 else {**schema, "anyOf": options}
    notes: dict[str, Any] = {
        key: schema[key] for key in ("description", "default") if key in schema
    }
    plain = [{key: item for key, item in each.items() if key not in notes} for each in options]
    return {"anyOf": [*plain, {"$ref": "#/$defs/parameter"}], **notes}


def _holds_values(schema: dict[str, Any]) -> bool:
    items = schema.get("items", {})
    return bool(items) and "$ref" not in items and "x-component" not in items


def _nullable_latent(name: str, fragment: dict[str, Any]) -> dict[str, Any]:
    # Null is allowed on one layer only; a schema can't say which without tripling its size.
    return optional(fragment) if name in ("units", "filters") else fragment


def _with_references(value: Any) -> Any:
    """Turns the sections' component markers into references."""
    if isinstance(value, dict):
        if "x-component" in value:
            rest = {key: item for key, item in value.items() if key not in ("x-component", "title")}
            return {"$ref": f"#/$defs/{value['x-component']}", **rest}
        return {
            key: _with_references(item)
            for key, item in value.items()
            if not (key == "title" and isinstance(item, str))
        }
    if isinstance(value, list):
        return [_with_references(item) for item in value]
    return value


def generated_files() -> dict[Path, str]:
    """Path -> text of every generated file."""
    kinds = all_components()
    return {
        CATALOG_PATH: catalog_text(kinds),
        SCHEMA_PATH: schema_text(kinds),
        PAGE_PATH: spec_page(kinds),
    }


def main() -> int:
    """Writes the files that changed, and names them."""
    for path, text in generated_files().items():
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
