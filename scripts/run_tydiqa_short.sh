#!/usr/bin/env bash
# KLUE-RoBERTa on TyDi QA, with 512 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_tydiqa_short.sh --seed 7
#   USE_TPU=1 bash scripts/run_tydiqa_short.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_long_qa.py --task tydiqa --config_file klue-roberta-base.json "$@"
