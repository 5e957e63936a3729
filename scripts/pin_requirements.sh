#!/usr/bin/env bash
# Writes constraints.txt and constraints-tpu.txt: one version for each package that the requirements files bring along.
#   bash scripts/pin_requirements.sh                 after a change of a requirements file; what need not move stays
#   bash scripts/pin_requirements.sh --upgrade       moves what the requirements files do not name to its newest version
# Other words go to uv, too. uv does not read pip's settings: UV_DEFAULT_INDEX names an index to use instead of PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9

# pin REQUIREMENTS CONSTRAINTS [words for uv]
# The pins hold for every system and every Python from 3.11 on; a package has two versions only where one cannot serve all.
pin() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --annotation-style line --custom-compile-command "bash scripts/pin_requirements.sh" \
        --output-file "$2" "${@:3}" "$1"
}
pin requirements-dev.txt constraints.txt "$@"
pin requirements-tpu.txt constraints-tpu.txt "$@"
