#!/usr/bin/env bash
# KoBigBird on the Modu sentiment corpus, with 1024 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_modu_sentiment.sh --seed 7
#   USE_TPU=1 bash scripts/run_modu_sentiment.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_seq_cls.py --task modu-sentiment --config_file kobigbird-bert-base.json "$@"
