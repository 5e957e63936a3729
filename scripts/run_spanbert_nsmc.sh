#!/usr/bin/env bash
# The Korean SpanBERT's study on NSMC: pretraining, fine-tuning with three poolings, the table and its figures.
# Relative paths start at the repository; --help tells more:
#   bash scripts/run_spanbert_nsmc.sh --scale sample
#   bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt
#   bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt --as_published     # as the original ran it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec python3 scripts/spanbert_study.py "$@"
