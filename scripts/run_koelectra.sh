#!/usr/bin/env bash
# KoELECTRA's eight tasks, one after the other, the row of its table and a chart; published scores beside them.
# Relative paths start at the repository; --help tells more:
#   bash scripts/run_koelectra.sh koelectra-base-v3 --seeds 42 43 44
#   bash scripts/run_koelectra.sh koelectra-small-v3 --scale sample
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 scripts/table_study.py koelectra "$@"
