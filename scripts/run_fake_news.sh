#!/usr/bin/env bash
# KoBigBird on the fake news, with 1024 tokens.
# Further flags are passed on; relative paths in them start at the repository:
#   bash scripts/run_fake_news.sh --seed 7
#   USE_TPU=1 bash scripts/run_fake_news.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${USE_TPU:-} == 1 ]]; then set -- --use_tpu "$@"; fi
exec python3 run_seq_cls.py --task fake-news --config_file kobigbird-bert-base.json "$@"
