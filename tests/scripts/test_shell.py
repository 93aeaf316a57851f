"""The shell layer, with made-up Pythons on a made-up path: no network, nothing installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    *("environment.sh", "trainer.sh", "validator.sh", "exporter.sh", "test.sh"),
    "benchmarks/tfc.sh",
]
REQUIREMENTS = ["", "-export", "-video", "-benchmark", "-test"]
TOOLS = [
    "bash",
    "cat",
    "cmp",
    "cp",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "rm",
    "sleep",
    "tail",
    "touch",
]

# Answers as an interpreter of the version that its file says; what it is asked to install it logs.
FAKE_PYTHON = """#!/usr/bin/env bash
here=$(dirname -- "$0")
case "$*" in
  "-c import sys; print"*) [[ -n "@version@" ]] && echo "@version@" ;;
  "-c import ensurepip, venv") @has_venv@ ;;
  "-m venv "*)
    echo "venv @name@" >>"$FAKE_LOG"
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pip"
    ;;
  "-m pip --version") [[ -e $here/../pip ]] ;;
  "-m ensurepip "*) echo ensurepip >>"$FAKE_LOG"; touch "$here/../pip" ;;
  "-m pip install "*)
    echo "install $*" >>"$FAKE_LOG"
    sleep "${FAKE_PIP_SECONDS-0}"
    echo "made-up output of pip"
    exit "${FAKE_PIP_STATUS-0}"
    ;;
  *) exec "@real@" "$@" ;;
esac
"""

FAKE_UV = """#!/usr/bin/env bash
echo "uv $*" >>"$FAKE_LOG"
mkdir -p "${!#}/bin" && cp "$(dirname -- "$0")/hidden" "${!#}/bin/python" && touch "${!#}/pip"
"""

ECHO = "import json, os, sys; print(json.dumps([sys.argv, os.getcwd()])); sys.exit({status})\n"


class Machine:
    """A clone in a folder with a space, and a path with nothing but basic tools and fakes."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my clone"
        self.bin = folder / "bin"
        self.log = folder / "log"
        (self.root / "benchmarks").mkdir(parents=True)
        self.bin.mkdir()
        for name in SCRIPTS:
            shutil.copy2(ROOT / name, self.root / name)
        for name in (*REQUIREMENTS, "-tfc"):
            (self.root / f"requirements{name}.txt").write_text(f"package{name}~=1.0\n")
        for name in TOOLS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        for name in ("train.py", "validation.py", "exporter.py"):
            (self.root / name).write_text(ECHO.format(status=0))

    def python(self, name: str, version: str, has_venv: bool = True, folder: Path | None = None):
        """Puts an interpreter on the path; an empty version is a shim that fails."""
        path = (folder or self.bin) / name
        text = FAKE_PYTHON.replace("@version@", version).replace("@name@", name)
        text = text.replace("@has_venv@", "true" if has_venv else "false")
        path.write_text(text.replace("@real@", sys.executable))
        path.chmod(0o755)
        return path

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{self.bin}2",
            "FAKE_LOG": str(self.log),
            "HOME": str(self.root),
            **variables,
        }

    def run(self, script: str = "trainer.sh", *flags: str, cwd: Path | None = None, **variables):
        return subprocess.run(
            [str(self.root / script), *flags],
            cwd=cwd or self.root,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def logged(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def installs(self) -> list[list[str]]:
        """The requirements files of every call of pip."""
        lines = [line for line in self.logged if line.startswith("install")]
        return [re.findall(r"/(requirements[a-z-]*\.txt)", line) for line in lines]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_fresh_machine_gets_an_environment_and_the_command_runs(machine):
    machine.python("python3.12", "3.12")
    done = machine.run("trainer.sh")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["train.py"], str(machine.root)]
    assert machine.logged[0] == "venv python3.12"
    assert machine.installs == [["requirements.txt"]]
    lines = done.stderr.splitlines()
    assert len(lines) == 2, "one line for each thing that is done"
    assert "making .venv" in lines[0] and "Python 3.12" in lines[0]
    assert "installing requirements.txt" in lines[1]


def test_the_second_start_is_quiet_and_installs_nothing(machine):
    machine.python("python3", "3.11")
    machine.run()
    before = machine.logged
    done = machine.run()
    assert done.returncode == 0 and done.stderr == ""
    assert machine.logged == before


@pytest.mark.parametrize(
    ("script", "command"),
    [("trainer.sh", "train.py"), ("validator.sh", "validation.py"), ("exporter.sh", "exporter.py")],
)
def test_flags_and_exit_status_are_passed_through(machine, script, command):
    machine.python("python3.13", "3.13")
    (machine.root / command).write_text(ECHO.format(status=7))
    flags = ["--model", "a b.json", "", "*", "--set", "x=$HOME", "--", "'q\"", "-h"]
    done = machine.run(script, *flags)
    assert json.loads(done.stdout)[0] == [command, *flags]
    assert done.returncode == 7


def test_tests_run_with_their_requirements_and_share_the_environment(machine):
    machine.python("python3.12", "3.12")
    done = machine.run("test.sh", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("pytest ")
    files = [f"requirements{name}.txt" for name in REQUIREMENTS]
    assert machine.installs == [files]
    assert machine.run("trainer.sh").stderr == ""
    assert machine.installs == [files]


def test_the_newest_supported_python_is_taken(machine):
    for version in ("3.10", "3.11", "3.12", "3.14"):
        machine.python(f"python{version}", version)
    machine.python("python3", "3.14")
    machine.run()
    assert machine.logged[0] == "venv python3.12"


def test_a_shim_that_fails_is_passed_over(machine):
    machine.python("python3.13", "")
    machine.python("python3.12", "")
    machine.python("python3", "3.11")
    machine.run()
    assert machine.logged[0] == "venv python3"


def test_a_shim_does_not_hide_the_real_one_behind_it(machine):
    behind = Path(f"{machine.bin}2")
    behind.mkdir()
    machine.python("python3.13", "")
    real = machine.python("python3.13", "3.13", folder=behind)
    machine.python("python3.11", "3.11")
    done = machine.run()
    assert f"making .venv with {real}" in done.stderr


def test_python3_of_another_version_is_not_taken(machine):
    machine.python("python3", "3.10")
    machine.python("python", "3.12")
    machine.run()
    assert machine.logged[0] == "venv python"


def test_no_python_is_one_line_and_status_2(machine):
    machine.python("python3", "3.14")
    machine.python("python3.12", "")
    done = machine.run()
    assert done.returncode == 2
    assert done.stderr == (
        "codecsmith: Python 3.11, 3.12 or 3.13 was not found: "
        "install one, or uv (https://docs.astral.sh/uv)\n"
    )
    assert done.stdout == "" and not (machine.root / ".venv").exists()


def test_a_python_without_venv_is_passed_over_or_named(machine):
    machine.python("python3.13", "3.13", has_venv=False)
    done = machine.run()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "install python3.13-venv" in done.stderr
    machine.python("python3.11", "3.11")
    assert machine.run().returncode == 0
    assert machine.logged[0] == "venv python3.11"


def test_uv_is_used_when_there_is_no_python(machine):
    machine.python("hidden", "3.12")
    (machine.bin / "uv").write_text(FAKE_UV)
    (machine.bin / "uv").chmod(0o755)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.logged[0].startswith("uv venv") and "--python >=3.11,<3.14" in machine.logged[0]
    assert machine.installs == [["requirements.txt"]]


def test_codecsmith_python_is_used(machine, tmp_path):
    machine.python("python3.13", "3.13")
    (tmp_path / "else where").mkdir()
    chosen = machine.python("chosen", "3.11", folder=tmp_path / "else where")
    assert machine.run(CODECSMITH_PYTHON=str(chosen)).returncode == 0
    assert machine.logged[0] == "venv chosen"


def test_codecsmith_python_that_does_not_fit_is_refused(machine):
    machine.python("python3.13", "3.13")
    machine.python("old", "3.9")
    machine.python("bare", "3.12", has_venv=False)
    for name, message in [
        ("missing", "does not run"),
        ("old", "is Python 3.9; it must be Python 3.11, 3.12 or 3.13"),
        ("bare", "install python3.12-venv"),
    ]:
        done = machine.run(CODECSMITH_PYTHON=name)
        assert done.returncode == 2 and message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert machine.logged == []


def test_codecsmith_python_beside_another_environment_is_mentioned(machine):
    machine.python("python3.13", "3.13")
    machine.python("other", "3.11")
    machine.run()
    done = machine.run(CODECSMITH_PYTHON="other")
    assert done.returncode == 0 and "no effect on the .venv" in done.stderr
    assert machine.run(CODECSMITH_PYTHON="python3.13").stderr == ""


def test_changed_requirements_are_installed(machine):
    machine.python("python3.12", "3.12")
    machine.run()
    (machine.root / "requirements.txt").write_text("package~=2.0\n")
    done = machine.run()
    assert "installing requirements.txt" in done.stderr
    assert machine.installs == [["requirements.txt"]] * 2
    assert machine.logged.count("venv python3.12") == 1


def test_a_failed_installation_shows_why_and_is_taken_up_again(machine):
    machine.python("python3.12", "3.12")
    failed = machine.run(FAKE_PIP_STATUS="3")
    assert failed.returncode == 1 and failed.stdout == ""
    assert "made-up output of pip" in failed.stderr
    done = machine.run()
    assert done.returncode == 0
    assert machine.installs == [["requirements.txt"]] * 2
    assert machine.logged.count("venv python3.12") == 1


def test_an_environment_without_pip_gets_it(machine):
    machine.python("python3.12", "3.12")
    machine.run(FAKE_PIP_STATUS="3")
    (machine.root / ".venv" / "pip").unlink()
    assert machine.run().returncode == 0
    assert "ensurepip" in machine.logged


def test_the_reference_has_an_environment_of_its_own(machine):
    machine.python("python3.13", "3.13")
    machine.python("python3.11", "3.11")
    (machine.root / "there.py").write_text(ECHO.format(status=7))
    done = machine.run("benchmarks/tfc.sh", "there.py", "a b")
    assert done.returncode == 7
    assert json.loads(done.stdout) == [["there.py", "a b"], str(machine.root)]
    assert machine.logged[0] == "venv python3.11"
    assert machine.installs == [["requirements-tfc.txt"]]
    assert "making .venv-tfc" in done.stderr and "log: .venv-tfc/install.log" in done.stderr
    assert not (machine.root / ".venv").exists()
    machine.run()
    assert machine.logged[2] == "venv python3.13"
    assert machine.installs == [["requirements-tfc.txt"], ["requirements.txt"]]


def test_the_reference_needs_its_python(machine):
    python = machine.python("python3.12", "3.12")
    for variables, message in (
        ({}, "Python 3.11 was not found: install one, or uv (https://docs.astral.sh/uv)"),
        (
            {"CODECSMITH_PYTHON": str(python)},
            f"CODECSMITH_PYTHON={python} is Python 3.12; it must be Python 3.11",
        ),
    ):
        done = machine.run("benchmarks/tfc.sh", **variables)
        assert done.returncode == 2
        assert done.stderr == f"codecsmith: {message}\n"
    assert machine.logged == []


def test_uv_makes_the_environment_of_the_reference(machine):
    machine.python("hidden", "3.11")
    (machine.bin / "uv").write_text(FAKE_UV)
    (machine.bin / "uv").chmod(0o755)
    assert machine.run("benchmarks/tfc.sh", "-c", "").returncode == 0
    assert "--python >=3.11,<3.12 " in machine.logged[0]
    assert machine.logged[0].endswith("/.venv-tfc")


@pytest.mark.parametrize("rest", ["empty", "python does not run", "dangling"])
def test_the_rest_of_an_environment_is_made_anew(machine, rest):
    machine.python("python3.12", "3.12")
    bin_folder = machine.root / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (machine.root / ".venv" / ".installed-requirements.txt").write_text("package~=1.0\n")
    if rest == "python does not run":
        machine.python("python", "", folder=bin_folder)
    elif rest == "dangling":
        (bin_folder / "python").symlink_to(machine.bin / "gone")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.installs == [["requirements.txt"]]


def test_an_environment_of_another_version_is_left_alone(machine):
    machine.python("python3.12", "3.12")
    bin_folder = machine.root / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    machine.python("python", "3.10", folder=bin_folder)
    (machine.root / ".venv" / "mine").touch()
    done = machine.run()
    assert done.returncode == 2
    assert ".venv has Python 3.10" in done.stderr and "remove .venv" in done.stderr
    assert (machine.root / ".venv" / "mine").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_starts_at_once_install_once(machine):
    machine.python("python3.12", "3.12")
    starts = [
        subprocess.Popen(
            [str(machine.root / "trainer.sh")],
            env=machine.environment(FAKE_PIP_SECONDS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [start.communicate(timeout=60)[1] for start in starts]
    assert [start.returncode for start in starts] == [0, 0]
    assert machine.installs == [["requirements.txt"]]
    assert sum("waiting for another command" in error for error in errors) == 1


def test_the_lock_ends_with_the_installation(machine):
    """A long training must not keep another command from installing."""
    machine.python("python3.12", "3.12")
    (machine.root / "train.py").write_text(
        "import os\ntry:\n    print(os.fstat(9))\nexcept OSError:\n    print('closed')\n"
    )
    assert machine.run().stdout.strip() == "closed"


def test_any_working_directory_will_do(machine, tmp_path):
    machine.python("python3.12", "3.12")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    machine.run()
    plain = machine.run("trainer.sh", cwd=elsewhere, CDPATH=str(tmp_path))
    assert json.loads(plain.stdout) == [["train.py"], str(machine.root)]
    assert plain.stderr == ""
    with_path = machine.run("trainer.sh", "--model", "a.json", cwd=elsewhere)
    assert f"relative paths are taken from {machine.root}" in with_path.stderr


def test_an_activated_environment_changes_nothing(machine, tmp_path):
    machine.python("python3.12", "3.12")
    active = tmp_path / "active"
    (active / "bin").mkdir(parents=True)
    done = machine.run(VIRTUAL_ENV=str(active))
    assert done.returncode == 0
    assert (machine.root / ".venv" / "bin" / "python").exists()
    assert list((active / "bin").iterdir()) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda p: p.name)
def test_requirements_are_bounded_and_name_no_index(path):
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    for line in filter(None, lines):
        assert re.fullmatch(r"[A-Za-z0-9_-]+([~=]=[\d.]+|>=[\d.]+(,<[\d.]+)?)", line), line


@pytest.mark.parametrize("script", [*SCRIPTS[1:], ".ci/run", ".ci/lint"])
def test_scripts_can_be_run(script):
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text().startswith("#!/usr/bin/env bash\n")


def screenshot(*arguments: str, **variables: str):
    return subprocess.run(
        [str(ROOT / "docs" / "screenshot_tensorboard.sh"), *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_screenshot_script_says_what_is_missing(machine, tmp_path):
    assert screenshot().returncode == 2
    done = screenshot(str(tmp_path / "gone"), "out.png")
    assert done.returncode == 2 and "no such folder" in done.stderr
    bare = {"PATH": str(machine.bin), "TENSORBOARD": "", "CHROMIUM": ""}
    (machine.bin / "tensorboard").symlink_to(shutil.which("cat"))
    done = screenshot(str(tmp_path), str(tmp_path / "out.png"), **bare)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "apt-get install chromium" in done.stderr


def test_the_screenshot_script_reports_a_server_that_ends(machine, tmp_path):
    (tmp_path / "tensorboard").write_text("#!/bin/sh\necho no such flag\nexit 1\n")
    (tmp_path / "tensorboard").chmod(0o755)
    done = screenshot(
        str(tmp_path),
        str(tmp_path / "out.png"),
        TENSORBOARD=str(tmp_path / "tensorboard"),
        CHROMIUM=shutil.which("cat"),
    )
    assert done.returncode == 1 and "no such flag" in done.stderr
