"""Prints the seconds from the end of the imports of torch and transformers to the end of a first training step: the
device opened, a model of KoELECTRA-Small's shape made, a batch collated, a step taken with the defaults.

    python3 benchmarks/first_step.py [--rehearse]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import ElectraForSequenceClassification

STARTED = time.perf_counter()
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(is_rehearsal: bool) -> float:
    """The seconds."""
    import numpy as np
    from torch.nn.functional import cross_entropy

    from benchmarks.measure import koelectra, run_of, synchronize
    from benchmarks.random_rows import PAD, RandomRows, random_lengths
    from models.collator import Collator
    from models.fast_dropout import quicken
    from training.plan import Plan
    from training.runtime import Runtime

    runtime = Runtime(capture=True, no_cuda=True) if is_rehearsal else Runtime()
    shape, batch_size, vocabulary = ("tiny", 4, 500) if is_rehearsal else ("small", 32, 35_000)
    torch.manual_seed(42)
    model = quicken(koelectra(shape, ElectraForSequenceClassification, vocabulary))
    collator = Collator(model, False, 128, shapes=runtime.shapes, device=runtime.device)
    rng = np.random.default_rng(0)
    rows = RandomRows(random_lengths("nsmc", batch_size, rng), vocabulary, rng)

    def collate(row_ids, draws: object, size: int | None) -> dict:
        arrays = rows.padded(row_ids, PAD, collator.width(rows.lengths[row_ids]))
        arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        return collator.batch(arrays, size, labels=row_ids % 2)

    def loss_of(model, batch: dict) -> torch.Tensor:
        return cross_entropy(model(**batch["inputs"]).logits.float(), batch["labels"], reduction="sum")

    plan = Plan(batch_size, batch_size, batch_size, epochs=1, seed=42)
    with tempfile.TemporaryDirectory() as folder:
        run, batches = run_of(collator.model, runtime, plan, collate, loss_of, Path(folder))
        run.step(batches[0])
    synchronize(runtime.device)
    return time.perf_counter() - STARTED


if __name__ == "__main__":
    print(main("--rehearse" in sys.argv[1:]))
