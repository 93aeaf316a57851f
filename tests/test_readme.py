"""What the README says can be done, can be done as it says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import benchmark
import compress
import decompress
import exporter
import inference
import piece
import study
import train
import validation

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS: dict[str, ModuleType] = {
    "./trainer.sh": train,
    "./validator.sh": validation,
    "./exporter.sh": exporter,
    "train.py": train,
    "inference.py": inference,
    "compress.py": compress,
    "decompress.py": decompress,
    "benchmark.py": benchmark,
    "study.py": study,
    "piece.py": piece,
}


def _code(language: str, beginning: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(beginning)]
    return str(found)


def _commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for line in TEXT.splitlines() if line.startswith("    ")]
    return [line for line in lines if any(script in line.split() for script in SCRIPTS)]


def test_there_are_commands_of_every_script() -> None:
    for script in SCRIPTS:
        assert any(script in line.split() for line in _commands()), script


@pytest.mark.parametrize("line", _commands())
def test_flags_of_the_commands_exist(line: str) -> None:
    words = shlex.split(line)
    place = next(index for index, word in enumerate(words) if word in SCRIPTS)
    SCRIPTS[words[place]].build_parser().parse_args(words[place + 1 :])


def test_the_spec_is_the_default_spec() -> None:
    import json

    from builders.spec import load_spec, parse_spec

    shown = parse_spec(json.loads(_code("json", "{"))).resolved()["model"]
    default = load_spec(ROOT / "models" / "model.json").resolved()["model"]
    assert shown == default


def test_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if not target.startswith("http"):
            path, _, heading = target.partition("#")
            text = (ROOT / path).read_text(encoding="utf-8") if heading else ""
            found = {
                re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
                for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            }
            assert (ROOT / path).exists() and (not heading or heading in found), target


def test_the_library_lines_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    (tmp_path / "lines.py").write_text(_code("python", "from pathlib"), encoding="utf-8")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "lines.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+\.\d+ 2\.04\d+$", done.stdout, re.MULTILINE), done.stdout
    assert (tmp_path / "encoder" / "saved_model.pb").exists()


def test_the_loss_of_ones_own_is_a_loss(tmp_path: Path) -> None:
    from architectures.losses import ImageLoss
    from builders.cli import load_extensions

    folder = tmp_path / "extensions"
    folder.mkdir()
    (folder / "charbonnier.py").write_text(_code("python", "# extensions/"), encoding="utf-8")
    assert load_extensions(folder) == ["charbonnier"]
    assert issubclass(sys.modules["extensions.charbonnier"].Charbonnier, ImageLoss)
