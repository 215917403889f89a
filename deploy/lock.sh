#!/usr/bin/env bash
# Pin the dependencies of pyproject.toml with hashes: requirements.txt (the gateway) and requirements-dev.txt (the tests too).
#
# Universal: one file for every supported Python. No address of any index gets into the files.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${1:-python3}"
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check uv

pin() {
  local file="$1"
  shift
  "$place/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@" -o "$file"
  if grep -nE '://|--(index|extra-index|find-links|trusted-host)' "$file"; then
    echo "$file names an address" >&2
    exit 1
  fi
}

pin requirements.txt
pin requirements-dev.txt --extra dev -c requirements.txt
