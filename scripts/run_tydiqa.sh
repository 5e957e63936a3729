#!/usr/bin/env bash
# KoBigBird on TyDi QA, with 4096 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_tydiqa.sh --seed 7
#   USE_TPU=1 bash scripts/run_tydiqa.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_long_qa.py --task tydiqa --config_file kobigbird-bert-base.json "$@"
