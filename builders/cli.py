"""What all commands share: flags' types, exit statuses, the choice of backend. No heavy imports."""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from builders.allocator import keep_freed_memory
from builders.config_file import JsonKind, config_values
from builders.errors import RunError, UserError
from builders.problems import near_miss
from builders.threads import let_idle_threads_sleep

EXTENSIONS = Path("extensions")
"""A folder for a user's own layers, losses and metrics; every command imports its modules."""

_TRUE = ("true", "1", "yes", "y", "on")
_FALSE = ("false", "0", "no", "n", "off")


def boolean(text: str) -> bool:
    """A flag's yes or no: true/false, 1/0, yes/no."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f'found "{text}", expected true or false')


def positive(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'found "{text}", expected a whole number >= 1')
    return value


def natural(text: str) -> int:
    """A whole number of at least 0."""
    if text.strip("0") == "" and text:
        return 0
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f'found "{text}", expected a whole number >= 0') from None


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'found "{text}", expected a number') from None


_JSON_KINDS: dict[Any, JsonKind] = {
    boolean: "true or false",
    positive: "a number",
    natural: "a number",
    number: "a number",
    int: "a number",
    float: "a number",
}
CONFIG = "--config"


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """States a default where it is a value; "None" and "[]" stand for what the help's words say."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default == []:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that names the flag an unknown one is closest to, and prints no usage wall."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)
        self._switches: set[str] = set()

    def add_switch(self, name: str, text: str) -> None:
        """Adds a flag that may stand alone, for true, or before a boolean.

        Args:
            name: with its dashes.
            text: help.
        """
        self.add_argument(name, type=boolean, nargs="?", const=True, default=False, help=text)
        self._switches.add(name)

    def add_config(self) -> None:
        """Adds `--config FILE.json`: values of flags that the command line does not give."""
        self.add_argument(
            CONFIG,
            metavar="FILE.json",
            help="flags as a JSON object, lists for those that take several; the command line wins",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but a switch takes the next word only if that is a boolean.

        Raises:
            UserError: the file of `--config` can't be used.
        """
        words = list(sys.argv[1:] if args is None else args)
        told: list[str] = []
        for word, following in zip(words, [*words[1:], ""], strict=False):
            told.append(word)
            if "--" in told:
                continue  # from here on all words are names
            if word in self._switches and following.lower() not in (*_TRUE, *_FALSE):
                told[-1] = f"{word}=true"
        namespace = argparse.Namespace() if namespace is None else namespace
        in_file = self._take_config(told, namespace)
        needed = [action for action in in_file if action.required]
        try:
            for action in needed:
                action.required = False
            return super().parse_known_args(told, namespace)
        finally:
            for action in needed:
                action.required = True

    def _take_config(
        self, words: Sequence[str], namespace: argparse.Namespace
    ) -> list[argparse.Action]:
        """Puts what the file says of flags that are not among the words into the namespace.

        Returns:
            Those flags.
        """
        path = None
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == CONFIG:
                path = following
            elif word.startswith(f"{CONFIG}="):
                path = word.removeprefix(f"{CONFIG}=")
        if not path or CONFIG not in self._option_string_actions:
            return []
        given = {word.split("=")[0] for word in words}
        values = config_values(Path(path), self._actions, _JSON_KINDS)
        taken = [
            action
            for action in self._actions
            if action.dest in values and not given.intersection(action.option_strings)
        ]
        for action in taken:
            setattr(namespace, action.dest, values[action.dest])
        return taken

    def parse_with_names(self, argv: Sequence[str]) -> argparse.Namespace:
        """As `parse_args`, for a command that takes names: they may stand between flags."""
        # argparse's own way for that loses the "--" before names that look like flags.
        return self.parse_args(argv) if "--" in argv else self.parse_intermixed_args(argv)

    def error(self, message: str) -> NoReturn:
        known = [flag for action in self._actions for flag in action.option_strings]
        unknown = "unrecognized arguments: "
        if message.startswith(unknown):
            flag = message.removeprefix(unknown).split()[0].split("=")[0]
            message = f"unknown argument {flag}{near_miss(flag, known)}"
        self.exit(2, f"{self.prog}: {message}\n")


def run_command(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Runs a command: its status on success, 2 on a user's mistake, 1 on a failure on the way.

    To be called before NumPy is imported and other threads start; see `let_idle_threads_sleep`
    and `keep_freed_memory`.
    """
    let_idle_threads_sleep()
    keep_freed_memory()
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        status = _told(error, 2)
    except RunError as error:
        status = _told(error, 1)
    except KeyboardInterrupt:
        status = _told("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _told(what: object, status: int) -> int:
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {what}", file=sys.stderr)
    return status


def load_extensions(folder: Path = EXTENSIONS) -> list[str]:
    """Imports the user's modules, which register their classes with Keras.

    Returns:
        The names of the modules.

    Raises:
        UserError: one of them fails; its own error is named.
    """
    names = []
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else []:
        if path.name.startswith("_"):
            continue
        name = f"{EXTENSIONS.name}.{path.stem}"
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        try:
            specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise UserError(f"{path}: {type(error).__name__}: {error}") from error
        names.append(path.stem)
    return names


def has_extensions(folder: Path = EXTENSIONS) -> bool:
    """Whether there is a module of the user's own to import."""
    return folder.is_dir() and any(not p.name.startswith("_") for p in folder.glob("*.py"))
