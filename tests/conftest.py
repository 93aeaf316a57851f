"""Specs small enough to train inside a test, and one finished run that many tests read."""

import contextlib
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.tiny_spec import TINY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The default run tries the same examples every time, so that it tells of a change and not of luck;
# HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

OWN_PACKAGES = {"architectures", "builders"}


def _registered() -> dict[str, Any]:
    if "keras" not in sys.modules:
        return {}
    return sys.modules["keras"].saving.get_custom_objects()


@pytest.fixture(autouse=True)
def registered_by_a_test() -> Iterator[None]:
    """Forgets the classes a test registers with Keras: a spec may use all that is registered."""
    before = set(_registered())
    yield
    for key, cls in list(_registered().items()):
        if key not in before and cls.__module__.split(".")[0] not in OWN_PACKAGES:
            del _registered()[key]


@pytest.fixture(scope="session")
def tiny_tree() -> Callable[[], dict[str, Any]]:
    """Makes the JSON tree of a spec that trains an epoch in some hundredths of a second."""
    return lambda: copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def tiny(tiny_tree) -> Callable[..., Any]:
    """Makes that spec; arguments: path in the spec -> value."""
    from builders.spec import parse_spec

    def make(changes: dict[str, Any] | None = None) -> Any:
        return parse_spec(tiny_tree(), "tiny.json", changes)

    return make


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """An empty current folder: commands write `runs/` into it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def jax_python(tmp_path_factory) -> str:
    """The Python of an environment without TensorFlow, for tests marked jax.

    Made from requirements-jax.txt, which takes minutes and the network; CODECSMITH_JAX_PYTHON names
    one that is there already.
    """
    given = os.environ.get("CODECSMITH_JAX_PYTHON")
    if given:
        return given
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = folder / "bin" / "python"
    requirements = Path(__file__).resolve().parent.parent / "requirements-jax.txt"
    subprocess.run([made, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return str(made)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny) -> Iterator[Any]:
    """A run of the tiny spec that was not disturbed. Read only."""
    from builders.session import TrainOptions
    from builders.training import train

    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        options = TrainOptions(run_dir=Path("runs/first"), verbosity=0, argv=("train.py", "--x"))
        run = train(tiny(), options)
    # The folder's path is relative to where the run was made; tests run elsewhere.
    yield FinishedRun(folder / "runs" / "first", run)


@pytest.fixture(scope="session")
def codecs(tmp_path_factory) -> Any:
    """Tiny codecs by kind: `codecs["scale"]`. Read only."""
    from tests.codec_models import Codecs

    return Codecs(tmp_path_factory.mktemp("codecs"))


class FinishedRun:
    """A run and the absolute path of its folder."""

    def __init__(self, path: Path, run: Any) -> None:
        from builders.run_folder import RunFolder

        self.folder = RunFolder(path)
        self.run = run
        self.history = {
            name: list(values)
            for name, values in run.progress.history.items()
            if not name.startswith("time/")
        }
