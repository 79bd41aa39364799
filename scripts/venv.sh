#!/usr/bin/env bash
# Prints the bin directory of a Python environment that holds what a requirements file names, made once per content of
# that file: venv.sh REQUIREMENTS. With CI=true a missing python3 is an error (1); otherwise the caller skips (exit 3).
set -euo pipefail
requirements=$1
if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  echo "python3 with its venv module is missing (Debian: apt-get install python3 python3-venv)" >&2
  [ "${CI:-}" = true ] && exit 1 || exit 3
fi
key=$( (python3 --version; cat "$requirements") | sha256sum | cut -c1-12)
env=${STONETOWN_CACHE:-$HOME/.cache/stonetown}/venv-$key
if [ ! -f "$env/complete" ]; then
  rm -rf "$env"
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
  touch "$env/complete"
fi
echo "$env/bin"
