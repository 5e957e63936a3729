"""Training speed of sequence classification: this project against padding, side by side in one process.

    python3 benchmarks/bench_seq_cls.py                                     # sample data
    python3 benchmarks/bench_seq_cls.py --rows_file data/nsmc/ratings_train.txt --tokenizer koelectra/ --json out.json

NSMC rows in batches of 32; the arms and the columns are explained in benchmarks/measure.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import ElectraForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Training, measure_training, report
from models import build_tokenizer
from processors import TASKS
from processors.features import build_features
from training.runtime import quiet_libraries


def loss_of(model, batch):
    logits = model(**batch["inputs"]).logits.float()
    return cross_entropy(logits, batch["labels"], reduction="sum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows_file", default="sample_data/nsmc/ratings_train.txt", help="NSMC rows")
    parser.add_argument("--tokenizer", default="sample_data/tiny-electra", help="folder with a tokenizer")
    parser.add_argument("--max_seq_len", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps a repeat")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no_cuda", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()

    quiet_libraries()
    task = TASKS["nsmc"]
    rows = task.read(task, Path(arguments.rows_file))
    rows = rows.take(range(min(len(rows), 20_000)))
    tokenizer = build_tokenizer(None, Path(arguments.tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        features = build_features(rows, tokenizer, arguments.max_seq_len, Path(folder))
        training = Training(
            model_class=ElectraForSequenceClassification,
            tokenizer=tokenizer,
            rows=len(features),
            padded=features.padded,
            targets=lambda of: {"labels": torch.tensor([rows.labels[row] for row in of])},
            loss_of=loss_of,
            max_length=arguments.max_seq_len,
            batch_size=arguments.batch_size,
            steps=arguments.steps,
            no_cuda=arguments.no_cuda,
        )
        report(*measure_training(training, Path(folder), arguments.repeats), arguments.json)


if __name__ == "__main__":
    main()
