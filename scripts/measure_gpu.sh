#!/usr/bin/env bash
# Tests and measures the GPU of this machine within the given time, the most important parts first.
#   bash scripts/measure_gpu.sh --minutes 9 --output measured     writes measured/gpu.json and measured/gpu.md
#   bash scripts/measure_gpu.sh --rehearse                        everything on a CPU, with tiny models
# It uses the Python in $PYTHON, else the one in .venv, else python3, with torch 2.11 or newer. It installs nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
fi
exec "$python" "$root/benchmarks/measure_gpu.py" "$@"
