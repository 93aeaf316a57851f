#!/usr/bin/env bash
# Trains a model. Flags: those of train.py (see --help).
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
run_in_environment requirements.txt -- train.py "$@"
