#!/usr/bin/env bash
# KoSplinter's study: Splinter and another encoder on few questions of KorQuAD, the table and its figure.
# Relative paths start at the repository; --help tells more:
#   bash scripts/run_korquad_few_shot.sh --splinter kosplinter/
#   bash scripts/run_korquad_few_shot.sh --scale sample
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 scripts/few_shot_study.py "$@"
