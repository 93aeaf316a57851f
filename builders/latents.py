"""The latent layer: where `"units": null` takes `--latent_dims`; a null anywhere else is wrong."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from builders.catalog import Catalog
from builders.places import ENCODER, at, components
from builders.problems import ProblemList, join, shown
from builders.sections import TrainingSection
from constants.defaults import LATENT_LAYER_NAME

Tree = dict[str, Any]
LATENT_ARGUMENTS = ("units", "filters")


def resolve_latents(tree: Tree, catalog: Catalog, explicit: bool, problems: ProblemList) -> None:
    """Fills `training.latent_dims` into the latent layer's null, in place.

    Args:
        tree: the spec.
        catalog: what arguments a layer has.
        explicit: whether the user gave --latent_dims, which then must have an effect.
        problems: takes each null on another layer.
    """
    dims = _latent_dims(tree)
    used, fixed = False, []
    for path, name, arguments in _layers(tree):
        known = catalog.find("layer", name)
        latent = arguments.get("name") == LATENT_LAYER_NAME and path.startswith(ENCODER)
        for key in LATENT_ARGUMENTS:
            if known is None or key not in known.arguments or key not in arguments:
                continue
            if latent and isinstance(arguments[key], int):
                fixed.append(arguments[key])
            if arguments[key] is not None:
                continue
            if latent:
                used = True
            else:
                called = arguments.get("name")
                named = "has no name" if called is None else f"is named {shown(called)}"
                problems.settle(
                    join(path, key),
                    f"found null, expected a number; null is for the encoder's layer named "
                    f'"{LATENT_LAYER_NAME}" alone, and this one {named}',
                )
            arguments[key] = dims
    if explicit and not used and fixed != [dims] and dims == at(tree, "training.latent_dims"):
        has = f"that layer has {fixed[0]}" if fixed else "there is no such layer"
        problems.add(
            "training.latent_dims",
            f'{dims} has no effect: --latent_dims fills "units": null or "filters": null of the '
            f'encoder\'s layer named "{LATENT_LAYER_NAME}", and {has}',
        )


def _latent_dims(tree: Tree) -> int:
    found = at(tree, "training.latent_dims")
    usable = isinstance(found, int) and not isinstance(found, bool) and 0 < found <= 2**24
    # A wrong value is reported by the section's own check; any number serves until then.
    return found if usable else int(TrainingSection.model_fields["latent_dims"].default)


def _layers(tree: Tree) -> Iterator[tuple[str, str, Tree]]:
    """(path, name, arguments) of every well-formed layer, those inside others included."""
    todo = deque((path, value) for kind, path, value in components(tree) if kind == "layer")
    while todo:
        path, value = todo.popleft()
        if not isinstance(value, dict) or len(value) != 1:
            continue
        ((name, arguments),) = value.items()
        if not isinstance(arguments, dict):
            continue
        path = join(path, name)
        yield path, name, arguments
        if isinstance(arguments.get("layers"), list):
            inner = enumerate(arguments["layers"])
            todo.extend((f"{path}.layers[{index}]", item) for index, item in inner)
        todo.append((f"{path}.layer", arguments.get("layer")))
