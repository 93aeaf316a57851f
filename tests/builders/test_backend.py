"""The start of Keras."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from builders import backend

ROOT = Path(__file__).resolve().parents[2]


def test_what_keras_does_not_need_is_not_imported_and_can_be_later():
    code = """
import sys
from builders.backend import choose_backend
choose_backend()
assert "keras" in sys.modules
assert "sklearn" not in sys.modules and "matplotlib" not in sys.modules
import sklearn, matplotlib
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_modules_are_hidden_for_a_while_even_if_something_fails(monkeypatch, tmp_path):
    (tmp_path / "seldom_used.py").write_text("NUMBER = 3", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "there_already", sys)
    with pytest.raises(ModuleNotFoundError), backend._without("seldom_used", "there_already"):
        assert importlib.import_module("there_already") is sys
        importlib.import_module("seldom_used")
    assert importlib.import_module("seldom_used").NUMBER == 3
    monkeypatch.delitem(sys.modules, "seldom_used")
