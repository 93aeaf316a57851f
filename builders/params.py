"""`"$name"` anywhere in a spec stands for `params.name`."""

from typing import Any

from builders.problems import ProblemList, join, near_miss, shown


def substitute_params(tree: dict[str, Any], problems: ProblemList) -> list[str]:
    """Replaces every `"$name"` outside `params` in place.

    Args:
        tree: the spec; changed.
        problems: takes unknown names and nested references.

    Returns:
        Warnings: parameters nobody uses.
    """
    params = tree.get("params", {})
    if not isinstance(params, dict):
        return []  # the section's own check reports it
    broken: set[str] = set()
    for name, value in params.items():
        if isinstance(value, dict | list) or (isinstance(value, str) and value.startswith("$")):
            message = f"found {shown(value)}, expected a number, a string, true, false or null"
            problems.add(join("params", name), message)
            broken.add(name)
    used: set[str] = set()

    def replaced(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: replaced(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, join(path, index)) for index, item in enumerate(value)]
        if not (isinstance(value, str) and value.startswith("$")):
            return value
        name = value[1:]
        used.add(name)
        if name in broken:
            problems.settle(path)
            return None
        if name not in params:
            known = near_miss(name, params) or '; "params" has none'
            problems.settle(path, f"found {shown(value)}, but there is no such parameter{known}")
            return None
        return params[name]

    for key, value in tree.items():
        if key not in ("params", "$schema"):
            tree[key] = replaced(value, join("", key))
    return [
        f"{join('params', name)} is used nowhere: no value is {shown('$' + name)}"
        for name in params
        if name not in used
    ]
