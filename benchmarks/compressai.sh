#!/usr/bin/env bash
# Runs Python where CompressAI is installed: .venv-compressai, made when it is missing (Python 3.11,
# some minutes; PyTorch's usual build for Linux has several GB of CUDA). Arguments: those of Python.
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../environment.sh"
use_environment .venv-compressai 'Python 3.11' 3.11
run_in_environment requirements-compressai.txt -- "$@"
