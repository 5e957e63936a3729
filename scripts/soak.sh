#!/usr/bin/env bash
# Kills training runs at random moments and resumes them, again and again, and compares them with unbroken runs.
#   bash scripts/soak.sh                                                  five minutes, sample data
#   bash scripts/soak.sh --minutes 240 --steps 20000 --kills 100          hours; each run is killed up to a hundred times
#   bash scripts/soak.sh --minutes 60 --data_dir data --corpus data/corpus --model kosplinter      real data
# It uses the Python in $PYTHON, else the one in .venv, else python3. Exit code 1 where anything differs or grows.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$root/tests/soak.py" "$@"
