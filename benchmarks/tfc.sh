#!/usr/bin/env bash
# Runs Python where TensorFlow Compression is installed: .venv-tfc, made when it is missing (Python
# 3.11, some minutes, 2 GB). Arguments: those of Python, such as a script and its flags.
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../environment.sh"
use_environment .venv-tfc 'Python 3.11' 3.11
run_in_environment requirements-tfc.txt -- "$@"
