# shellcheck shell=bash
# The Python environment that trainer.sh, validator.sh, exporter.sh, test.sh and .ci share.
#
# Sourced, not run. `run_in_environment FILE... -- ARGUMENTS` makes .venv beside this file when it is
# missing, installs the given requirements files into it when they are new or have changed, and
# hands over to its Python.
#
# .venv holds a copy of every requirements file that was installed to the end. So an installation
# that was interrupted, or that an edit has made outdated, is completed by the next command, and an
# up-to-date one costs nothing. An activated virtual environment is left alone: what runs is always
# .venv. CODECSMITH_PYTHON names the Python to make .venv with.
#
# What cannot be installed beside the rest gets an environment of its own: `use_environment` before
# it names another folder and the versions of Python for it.

_ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

# use_environment NAME SUPPORTED VERSION...: what `run_in_environment` makes and runs is the folder
# NAME beside this file, with one of the versions, the one to take first in front; SUPPORTED names
# them in messages.
use_environment() {
  _NAME=$1
  _VENV=$_ROOT/$1
  _SUPPORTED=$2
  _VERSIONS=("${@:3}")
}
use_environment .venv 'Python 3.11, 3.12 or 3.13' 3.13 3.12 3.11

_say() { printf 'codecsmith: %s\n' "$*" >&2; }

_fail() {
  local status=$1
  shift
  _say "$@"
  exit "$status"
}

# Prints "3.12" when the interpreter $1 really runs. A name on the path need not: pyenv leaves shims
# for versions that are not selected.
_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

_supported() {
  local version
  for version in "${_VERSIONS[@]}"; do
    [[ $1 != "$version" ]] || return 0
  done
  return 1
}

# Debian's python3 lacks ensurepip until python3-venv is installed; such a Python makes no
# environment.
_makes_venvs() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# Sets _base to a Python to make the environment with, or to "uv".
_find_base() {
  local name path version incomplete=''
  if [[ -n ${CODECSMITH_PYTHON-} ]]; then
    version=$(_version "$CODECSMITH_PYTHON") ||
      _fail 2 "CODECSMITH_PYTHON=$CODECSMITH_PYTHON does not run; it must be $_SUPPORTED"
    _supported "$version" ||
      _fail 2 "CODECSMITH_PYTHON=$CODECSMITH_PYTHON is Python $version; it must be $_SUPPORTED"
    _makes_venvs "$CODECSMITH_PYTHON" ||
      _fail 2 "CODECSMITH_PYTHON=$CODECSMITH_PYTHON has no venv module: install python$version-venv"
    _base=$CODECSMITH_PYTHON
    return
  fi
  for name in "${_VERSIONS[@]/#/python}" python3 python; do
    # All of that name, since the first may be a shim that fails.
    while IFS= read -r path; do
      version=$(_version "$path") || continue
      _supported "$version" || continue
      if _makes_venvs "$path"; then
        _base=$path
        return
      fi
      incomplete=${incomplete:-$version}
    done < <(type -aP "$name" || true)
  done
  if type -P uv >/dev/null; then
    _base=uv
  elif [[ -n $incomplete ]]; then
    _fail 2 "Python $incomplete has no venv module: install python$incomplete-venv, or uv (https://docs.astral.sh/uv)"
  else
    _fail 2 "$_SUPPORTED was not found: install one, or uv (https://docs.astral.sh/uv)"
  fi
}

_make_venv() {
  local _base range
  _find_base
  # Whatever is there does not run: the rest of an interrupted start, or its Python was removed.
  rm -rf -- "$_VENV"
  if [[ $_base == uv ]]; then
    _say "making $_NAME with uv"
    range=">=${_VERSIONS[-1]},<3.$((${_VERSIONS[0]#3.} + 1))"
    uv venv --quiet --seed --python "$range" "$_VENV" || _fail 1 "uv could not make $_NAME"
  else
    _say "making $_NAME with $_base (Python $(_version "$_base"))"
    "$_base" -m venv "$_VENV" || _fail 1 "$_base could not make $_NAME"
  fi
}

# True when all the given requirements files are installed as they are now.
_installed() {
  local file
  for file in "$@"; do
    cmp -s -- "$_ROOT/$file" "$_VENV/.installed-$file" || return 1
  done
}

# Runs pip with its output in a log; on a terminal one line shows how far it is.
_pip_install() {
  local log=$_VENV/install.log line
  if [[ -t 2 ]]; then
    PIP_USER=0 "$_VENV/bin/python" -m pip install --disable-pip-version-check "$@" 2>&1 |
      while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        [[ $line =~ ^\ *(Collecting|Downloading|Using|Building|Installing) ]] &&
          printf '\r\033[K  %.70s' "$line" >&2
        :
      done || return 1
    printf '\r\033[K' >&2
  else
    PIP_USER=0 "$_VENV/bin/python" -m pip install --disable-pip-version-check "$@" >>"$log" 2>&1
  fi
}

_install() {
  local file flags=()
  for file in "$@"; do
    flags+=(-r "$_ROOT/$file")
  done
  "$_VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$_VENV/bin/python" -m ensurepip --default-pip >/dev/null 2>&1 ||
    _fail 1 "$_NAME has no pip and it could not be installed: remove $_NAME and start again"
  _say "installing $* into $_NAME (the first time this takes minutes; log: $_NAME/install.log)"
  : >"$_VENV/install.log"
  if ! _pip_install "${flags[@]}"; then
    tail -n 15 -- "$_VENV/install.log" >&2
    _fail 1 "the installation failed; the next start goes on with it"
  fi
  for file in "$@"; do
    cp -- "$_ROOT/$file" "$_VENV/.installed-$file"
  done
}

_prepare() {
  local version=''
  [[ -e $_VENV ]] && version=$(_version "$_VENV/bin/python" || true)
  if [[ -n $version ]] && ! _supported "$version"; then
    _fail 2 "$_NAME has Python $version, needed is $_SUPPORTED: remove $_NAME and start again"
  fi
  [[ -n $version ]] || _make_venv
  _installed "$@" || _install "$@"
}

# _ready FILE...: leaves the environment with these requirements files installed.
_ready() {
  local version
  version=$(_version "$_VENV/bin/python" || true)
  if [[ -n $version && -n ${CODECSMITH_PYTHON-} ]] &&
    [[ $(_version "$CODECSMITH_PYTHON" || true) != "$version" ]]; then
    _say "CODECSMITH_PYTHON has no effect on the $_NAME that is there, with Python $version: remove it first"
  fi
  if [[ -n $version ]] && _supported "$version" && _installed "$@"; then
    return
  fi
  if type -P flock >/dev/null; then
    # Two commands started at once: the second waits, then finds everything installed. The lock is
    # on the folder itself, so it needs no file and ends with the process that holds it.
    exec 9<"$_ROOT"
    if ! flock -n 9; then
      _say "waiting for another command that is installing"
      flock 9
    fi
    _prepare "$@"
    exec 9<&-
  else
    _prepare "$@"
  fi
}

# run_in_environment FILE... -- ARGUMENTS: runs the environment's Python with the arguments from the
# repository's root, where the defaults of all commands lie. The exit status is that of Python.
run_in_environment() {
  local files=() from=$PWD
  while [[ $1 != -- ]]; do
    files+=("$1")
    shift
  done
  shift
  _ready "${files[@]}"
  cd -- "$_ROOT" || exit
  if [[ $# -gt 1 && ! $from -ef $_ROOT ]]; then
    _say "relative paths are taken from $_ROOT"
  fi
  exec "$_VENV/bin/python" "$@"
}
