#!/usr/bin/env bash
# KLUE-RoBERTa on the fake news, with 512 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_fake_news_short.sh --seed 7
#   USE_TPU=1 bash scripts/run_fake_news_short.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_seq_cls.py --task fake-news --config_file klue-roberta-base.json "$@"
