"""Name -> class, and a checked component of a spec -> an instance of it."""

from typing import Any

from builders.catalog import Catalog, load_catalog
from builders.signatures import KERAS_KINDS, keras_object, registered_classes


class Registry:
    """Makes instances of what the catalog allows, and of nothing else."""

    def __init__(self) -> None:
        self.catalog: Catalog = load_catalog()
        self._own = {(kind, name): cls for kind, name, cls in registered_classes()}

    def create(self, kind: str, value: Any, **more: Any) -> Any:
        """An instance of a component as it stands in a checked spec.

        Args:
            kind: `layer`, `loss`, `optimizer`, ...
            value: `{"Name": {arguments}}`, or `"name"` where the kind has a short form.
            more: arguments that the builder adds; those in the spec win unless they are null.
        """
        name, arguments = (value, {}) if isinstance(value, str) else next(iter(value.items()))
        if kind == "activation":
            return name
        component = self.catalog.find(kind, name)
        if component is None:
            raise KeyError(f"{kind} {name} is not in the catalog")
        ready = dict(more)
        for key, item in arguments.items():
            if item is not None or key not in more:
                fragment = component.arguments[key].fragment
                # What is inside a layer of a dtype of its own computes in that, too.
                ready[key] = self._argument(item, fragment, {**more, **_dtype(arguments)})
        # Keras tells the layers inside when the attribute changes, not when it is constructed so.
        frozen = kind == "layer" and ready.get("trainable") is False
        if frozen:
            del ready["trainable"]
        made = self._class(kind, component.alias_of or component.name)(**ready)
        if frozen:
            made.trainable = False
        return made

    def _class(self, kind: str, name: str) -> Any:
        if (kind, name) in self._own:
            return self._own[kind, name]
        if kind == "layer" or kind in KERAS_KINDS:
            return keras_object(kind, name)
        raise KeyError(f"{kind} {name} has no class")

    def _argument(self, value: Any, fragment: dict[str, Any], more: dict[str, Any]) -> Any:
        """Makes the components inside an argument; tuples where Keras compares with tuples."""
        kind = _component_kind(value, fragment)
        if kind is not None:
            inherited = {"dtype": more["dtype"]} if kind == "layer" and "dtype" in more else {}
            return self.create(kind, value, **inherited)
        if isinstance(value, list):
            items = fragment.get("items") or {}
            for option in fragment.get("anyOf", []):
                items = option.get("items", items)
            return [self._argument(item, items, more) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and _is_number(fragment):
            return float(value)  # JSON's 1 is 1.0, and Keras' optimizers insist on a float
        return value


def _is_number(fragment: dict[str, Any]) -> bool:
    types = [option.get("type") for option in fragment.get("anyOf", [fragment])]
    return "number" in types and "integer" not in types


def _dtype(arguments: dict[str, Any]) -> dict[str, Any]:
    return {} if arguments.get("dtype") is None else {"dtype": arguments["dtype"]}


def _component_kind(value: Any, fragment: dict[str, Any]) -> str | None:
    if not isinstance(value, str | dict):
        return None
    for option in fragment.get("anyOf", [fragment]):
        if "$ref" in option:
            return str(option["$ref"].rsplit("/", 1)[-1])
    return None
