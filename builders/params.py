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
    for name, value in params.items():
        if isinstance(value, dict | list) or (isinstance(value, str) and value.startswith("$")):
            message = f"found {shown(value)}, expected a number, a string, a boolean or null"
            problems.add(join("params", name), message)
    used: set[str] = set()

    def replaced(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: replaced(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, join(path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and value.startswith("$"):
            name = value[1:]
            if name not in params:
                problems.add(
                    path, f'"{shown(value)[1:-1]}": no such parameter' + near_miss(name, params)
                )
                return None
            used.add(name)
            return params[name]
        return value

    for key in tree:
        if key not in ("params", "$schema"):
            tree[key] = replaced(tree[key], key)
    return [f'params.{name} is used nowhere ("${name}")' for name in params if name not in used]
