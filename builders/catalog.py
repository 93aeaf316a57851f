"""The allow-list: every component a spec may name, with its arguments.

`catalog.json` is generated from the signatures of Keras and of our own classes
(`builders/generate.py`; a test holds it to what is installed). Reading it instead of Keras lets a
wrong spec be told so in a fraction of a second. Classes a user registered in this process are added
as they are found.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architectures.naming import snake_case
from builders.argument_check import Fragment, check_value
from builders.problems import join, near_miss, shown

CATALOG_PATH = Path(__file__).with_name("catalog.json")


@dataclass(frozen=True)
class Argument:
    """One keyword argument of a component."""

    fragment: Fragment
    required: bool
    default: Any = None
    doc: str = ""


@dataclass(frozen=True)
class Component:
    """One class a spec may name."""

    name: str
    summary: str
    arguments: Mapping[str, Argument]
    alias_of: str = ""
    origin: str = "keras"


@dataclass
class Catalog:
    """Components by kind (`layer`, `loss`, ...) and name."""

    kinds: dict[str, dict[str, Component]] = field(default_factory=dict)

    def components(self, kind: str) -> dict[str, Component]:
        """All components of a kind, by name."""
        return self.kinds.get(kind, {})

    def find(self, kind: str, name: str) -> Component | None:
        """The component of this name; initializers and the like also answer to snake_case."""
        known = self.components(kind)
        if name in known:
            return known[name]
        if kind in SHORT_FORM_KINDS:
            by_snake = {snake_case(each): component for each, component in known.items()}
            return by_snake.get(name)
        return None

    def check(self, kind: str, value: Any, path: str, report: Any) -> None:
        """Reports everything wrong with one component and the components inside it."""
        inner = _Check(self, report)
        inner.component(kind, value, path)


SHORT_FORM_KINDS = frozenset({"activation", "initializer", "regularizer", "constraint"})
"""Kinds that Keras' own JSON names by a bare string: `"activation": "leaky_relu"`."""


RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Layers of Keras that wrap code or files of any kind: refused by name, not as a misspelling."""


class _Check:
    def __init__(self, catalog: Catalog, report: Any) -> None:
        self.catalog = catalog
        self.report = report

    def component(self, kind: str, value: Any, path: str) -> None:
        arguments: Any
        if isinstance(value, str) and kind in SHORT_FORM_KINDS:
            name, arguments = value, {}
        elif isinstance(value, dict) and len(value) == 1:
            ((name, arguments),) = value.items()
        else:
            self.report(path, f"found {shown(value)}, expected {_form(kind, value)}")
            return
        found = self.catalog.find(kind, name)
        if found is None:
            self._unknown(kind, name, path)
            return
        path = path if isinstance(value, str) else join(path, name)
        if not isinstance(arguments, dict):
            self.report(path, f"found {shown(arguments)}, expected an object of arguments")
            return
        for each, argument in found.arguments.items():
            if argument.required and each not in arguments:
                self.report(path, f"missing argument {shown(each)}")
        for each, item in arguments.items():
            if each not in found.arguments:
                hint = near_miss(each, found.arguments, most=24)
                hint = hint if found.arguments else "; it takes none"
                self.report(path, f"unknown argument {shown(each)}{hint}")
                continue
            fragment = found.arguments[each].fragment
            check_value(item, fragment, join(path, each), self.report, self.component)

    def _unknown(self, kind: str, name: str, path: str) -> None:
        if kind == "layer" and name in RUNS_CODE:
            self.report(path, f"the layer {shown(name)} runs code, and nothing in a spec may")
            return
        elsewhere = [k for k in self.catalog.kinds if k != kind and self.catalog.find(k, name)]
        hint = near_miss(name, self.catalog.components(kind))
        if elsewhere and not hint.startswith("; did"):
            hint = f"; that is {_article(elsewhere[0])}"
        self.report(path, f"unknown {kind} {shown(name)}{hint}")


def _form(kind: str, value: Any) -> str:
    """What a component looks like, for one that doesn't."""
    if kind == "activation":
        return 'the name of an activation, such as "relu"'
    form = f'{{"{kind.capitalize()} name": {{arguments}}}}'
    if isinstance(value, dict) and "class_name" in value:
        return f'{form}; Keras\' "class_name" and "config" are not read'
    return f"a name or {form}" if kind in SHORT_FORM_KINDS else form


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def component_to_json(component: Component) -> dict[str, Any]:
    """One component as `catalog.json` stores it."""
    entry: dict[str, Any] = {"summary": component.summary, "origin": component.origin}
    if component.alias_of:
        return {**entry, "alias_of": component.alias_of}
    arguments: dict[str, Any] = {}
    for name, argument in component.arguments.items():
        stored: dict[str, Any] = {"fragment": argument.fragment}
        if argument.required:
            stored["required"] = True
        else:
            stored["default"] = argument.default
        if argument.doc:
            stored["doc"] = argument.doc
        arguments[name] = stored
    entry["arguments"] = arguments
    return entry


def _component_from_json(
    name: str, entry: dict[str, Any], siblings: dict[str, dict[str, Any]]
) -> Component:
    alias_of = entry.get("alias_of", "")
    arguments = {
        each: Argument(
            stored["fragment"],
            bool(stored.get("required", False)),
            stored.get("default"),
            stored.get("doc", ""),
        )
        for each, stored in siblings[alias_of or name]["arguments"].items()
    }
    return Component(name, entry["summary"], arguments, alias_of, entry["origin"])


def load_catalog() -> Catalog:
    """Reads `catalog.json` and adds what this process has registered with Keras besides."""
    stored = json.loads(CATALOG_PATH.read_text(encoding="utf-8"))
    kinds = {
        kind: {
            name: _component_from_json(name, entry, components)
            for name, entry in components.items()
        }
        for kind, components in stored["kinds"].items()
    }
    catalog = Catalog(kinds)
    if "keras" in sys.modules:
        # Only then can anything be registered; importing Keras here would cost seconds.
        for kind, component in _live_components(catalog):
            catalog.kinds[kind][component.name] = component
    return catalog


def _live_components(known: Catalog) -> Iterator[tuple[str, Component]]:
    from builders.signatures import registered_components

    return registered_components(known)
