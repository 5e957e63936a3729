#!/usr/bin/env bash
# KLUE's six tasks, one after the other, the row of KLUE's table and a chart; published scores beside them.
# Relative paths start at the repository; --help tells more:
#   bash scripts/run_klue.sh klue-roberta-base --seeds 42 43 44
#   bash scripts/run_klue.sh klue-roberta-base --scale sample
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 scripts/table_study.py klue "$@"
