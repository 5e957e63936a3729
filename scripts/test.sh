#!/usr/bin/env bash
# Runs the tests, making the environment first where it is not there.
#   bash scripts/test.sh             what a change should pass: minutes, no network
#   bash scripts/test.sh --slow      also the long ones, as CI does
#   bash scripts/test.sh tests/unit/test_loop.py -k resume      any other words go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh requirements-dev.txt
# One thread is nearly as fast for models this small, and does not break down where others use the machine too.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
# Each file to one process, as its tests share runs. Not reordered: the longest file would be the last. To see prints or
# use a debugger: -n 0.
pytest=(.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder)
if [ "${1:-}" = "--slow" ]; then
    shift
    exec "${pytest[@]}" -m "not tpu" --durations=15 "$@"
fi
exec "${pytest[@]}" --durations=5 "$@"
