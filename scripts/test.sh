#!/usr/bin/env bash
# Runs the tests, making the environment first where it is not there.
#   bash scripts/test.sh --quick     while you work: the linter, and the tests of tests/unit that take under a second
#   bash scripts/test.sh             what a change should pass: minutes, no network
#   bash scripts/test.sh --slow      also the long tests, as CI does
#   bash scripts/test.sh tests/unit/test_loop.py -k resume      any other words go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh requirements-dev.txt
# One thread is nearly as fast for models this small, and stays so when other programs use the machine.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
# A file's tests share runs, so they stay in one process. Not reordered, as the longest file would then start last.
# To see prints or to use a debugger, add -n 0.
pytest=(.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder)
case "${1:-}" in
    --quick) exec "${pytest[@]}" -m "not seconds and not slow and not tpu" --durations=5 tests/unit "${@:2}" ;;
    --slow) exec "${pytest[@]}" -m "not tpu" --durations=15 "${@:2}" ;;
    *) exec "${pytest[@]}" --durations=5 "$@" ;;
esac
