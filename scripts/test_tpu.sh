#!/usr/bin/env bash
# Runs the tests of --use_tpu through torch_xla, which uses this machine's CPU in place of a TPU.
# Makes both environments first; .venv-tpu takes 8 GB.
#   bash scripts/test_tpu.sh [words for pytest]
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh requirements-dev.txt
bash scripts/setup.sh requirements-tpu.txt
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist load -m tpu --durations=10 \
    tests/scripts/test_tpu.py tests/unit/test_requirements.py "$@"
