#!/usr/bin/env bash
# Runs the tests. Flags: those of pytest, such as -k NAME, -m slow or tests/builders.
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
run_in_environment requirements.txt requirements-export.txt requirements-video.txt \
  requirements-benchmark.txt requirements-test.txt -- -m pytest "$@"
