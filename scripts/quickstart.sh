#!/usr/bin/env bash
# From nothing to a fine-tuned Korean ELECTRA: environment, sample data, training, score, a few predictions.
#   bash scripts/quickstart.sh
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh requirements.txt
# The sample model is too small for a second thread (1,400 rows/s with one, 1,500 with two), and where other programs
# use the machine two threads that wait for each other fall to 30 rows/s. Training a real model takes all cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
run() {
    echo
    echo "\$ $*"
    PATH="$PWD/.venv/bin:$PATH" "$@"
}
run python3 scripts/make_sample_data.py
run python3 run_seq_cls.py --task nsmc --config_file sample.json --overwrite_output_dir
run python3 run_seq_cls.py --task nsmc --config_file sample.json --do_predict --input_file - <sample_data/texts.txt

echo
echo "That was the sample: made-up reviews and a small model from scratch. For the real thing:"
echo "  source .venv/bin/activate"
echo "  bash scripts/download_data.sh nsmc"
echo "  python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json"
