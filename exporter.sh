#!/usr/bin/env bash
# Exports a trained model, by default that of the last run. Flags: those of exporter.py (see --help).
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
run_in_environment requirements.txt -- exporter.py "$@"
