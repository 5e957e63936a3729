#!/usr/bin/env bash
# KoBigBird on KorQuAD 2.1, with 4096 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_korquad_2.sh --seed 7
#   USE_TPU=1 bash scripts/run_korquad_2.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_long_qa.py --task korquad-2 --config_file kobigbird-bert-base.json "$@"
