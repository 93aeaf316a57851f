#!/usr/bin/env bash
# Takes a picture of a TensorBoard page with a headless Chromium.
#
#   docs/screenshot_tensorboard.sh LOGDIR OUT.png [PAGE]
#
# PAGE is what follows the address: #scalars, #images, #histograms, #text, #hparams (default:
# #timeseries). WINDOW=1400x1000 sets the size in pixels, TENSORBOARD and CHROMIUM the programs.
# Exit status: 0 done, 1 the server or the browser failed, 2 bad arguments or a missing program.
set -euo pipefail

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
[[ $# -eq 2 || $# -eq 3 ]] || fail 2 "usage: $0 LOGDIR OUT.png [#scalars|#images|#histograms|#text|#hparams]"
logdir=$1 out=$2 page=${3-#timeseries}
[[ -d $logdir ]] || fail 2 "no such folder: $logdir"
[[ -d $(dirname -- "$out") ]] || fail 2 "no such folder: $(dirname -- "$out")"
window=${WINDOW-1400x1000}
[[ $window =~ ^[0-9]+x[0-9]+$ ]] || fail 2 "WINDOW must be like 1400x1000, found: $window"

first_program() {
  local name
  for name in "$@"; do
    if [[ -n $name ]] && command -v -- "$name" >/dev/null; then
      printf '%s' "$name"
      return
    fi
  done
  return 1
}

tensorboard=$(first_program "${TENSORBOARD-}" "$root/.venv/bin/tensorboard" tensorboard) ||
  fail 2 "tensorboard was not found: run ./trainer.sh once, or pip install tensorboard"
browser=$(first_program "${CHROMIUM-}" chromium chromium-browser google-chrome google-chrome-stable) ||
  fail 2 "no Chromium was found: install it (apt-get install chromium) or set CHROMIUM=/path/to/chrome"

work=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# All images of all steps, where TensorBoard would show a random ten. Port 0: any that is free.
"$tensorboard" --logdir "$logdir" --host 127.0.0.1 --port 0 \
  --samples_per_plugin images=1000 >"$work/server.log" 2>&1 &
server=$!

address=
for _ in $(seq 120); do
  kill -0 "$server" 2>/dev/null || fail 1 "tensorboard ended: $(tail -n 5 "$work/server.log")"
  address=$(sed -n 's/^TensorBoard .* at \(http:[^ ]*\) .*/\1/p' "$work/server.log")
  [[ -n $address ]] && break
  sleep 0.5
done
[[ -n $address ]] || fail 1 "tensorboard did not start within a minute: $(tail -n 5 "$work/server.log")"

get() {
  # No curl needed: bash opens the connection itself. $1: path on the server.
  local port=${address##*:} reply
  exec 3<>"/dev/tcp/127.0.0.1/${port%%/*}" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
  reply=$(cat <&3)
  exec 3>&-
  printf '%s' "${reply##*$'\r\n\r\n'}"
}

# The page shows what is loaded when it opens: wait until runs are there and no more are coming.
runs='[]' before=
for _ in $(seq 60); do
  before=$runs
  runs=$(get /data/runs | tr -d '[:space:]')
  [[ $runs == '['*'"'* && $runs == "$before" ]] && break
  sleep 1
done
[[ $runs == '['*'"'* ]] || fail 1 "tensorboard found no runs in $logdir"

"$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync \
  --user-data-dir="$work/profile" --virtual-time-budget=20000 \
  --window-size="${window/x/,}" --screenshot="$work/page.png" \
  "${address%/}/$page" >"$work/browser.log" 2>&1 ||
  fail 1 "the browser failed: $(tail -n 5 "$work/browser.log")"
[[ -s $work/page.png ]] || fail 1 "the browser made no picture: $(tail -n 5 "$work/browser.log")"
mv -- "$work/page.png" "$out"
echo "$out"
