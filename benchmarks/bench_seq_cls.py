"""Training speed of sequence classification: this project against padding, side by side in one process.

    python3 benchmarks/bench_seq_cls.py                                     # sample data
    python3 benchmarks/bench_seq_cls.py --rows_file data/nsmc/ratings_train.txt --tokenizer koelectra/ --json out.json

KoELECTRA-Small's shape with fresh weights, NSMC rows, batches of 32, the same rows for all; the loop, the optimizer and
the attention (SDPA) are this project's in every arm, so that only padding and precision differ:

- original_fp32: every row padded to max_seq_len, fp32, as KoELECTRA trained
- longest_fp32, longest_bf16: padded to the longest row of the batch, as the examples of transformers train
- ours_fp32, ours_bf16: the encoder unpadded; bf16 is the default where the hardware multiplies it natively

`of_matmul` is the share of the machine's matrix-product rate (measured in the same run, at the arm's precision) that
goes into the products that the unpadded rows need. `peak_mib` is memory above weights and optimizer. Ratios are medians
over interleaved repeats.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import (
    PeakMemory,
    device_name,
    interleaved,
    matrix_product_seconds,
    median_ratio,
    report,
    synchronize,
)
from models import build_tokenizer
from models.unpadding import Packing, unpad_encoder
from processors import TASKS
from processors.features import Features, build_features
from training.checkpoint import CheckpointFolder
from training.config import FineTuningConfig
from training.loop import Job, Plan, Run, batches_from
from training.results import MetricsLog
from training.runtime import Runtime, quiet_libraries

ARMS = {  # padding, precision
    "original_fp32": ("max_seq_len", "fp32"),
    "longest_fp32": ("longest", "fp32"),
    "longest_bf16": ("longest", "bf16"),
    "ours_fp32": ("none", "fp32"),
    "ours_bf16": ("none", "bf16"),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def koelectra_small(vocabulary: int):
    from transformers import ElectraConfig, ElectraForSequenceClassification

    return ElectraForSequenceClassification(
        ElectraConfig(
            vocab_size=vocabulary,
            embedding_size=128,
            hidden_size=256,
            num_hidden_layers=12,
            num_attention_heads=4,
            intermediate_size=1024,
            max_position_embeddings=512,
        )
    )


def training_run(
    arm: str, arguments, features: Features, labels: list[int], tokenizer, folder: Path
) -> tuple[Run, list]:
    """A run of the project's loop for one arm, and its batches, the same rows for every arm."""
    padding, precision = ARMS[arm]
    runtime = Runtime(no_cuda=arguments.no_cuda, precision=precision)
    torch.manual_seed(42)
    model = koelectra_small(len(tokenizer))
    model = runtime.prepare(unpad_encoder(model) if padding == "none" else model)

    def collate(rows: np.ndarray) -> dict:
        length = arguments.max_seq_len if padding == "max_seq_len" else None
        arrays = features.padded(rows, tokenizer.pad_token_id, length)
        mask = arrays["attention_mask"]
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if padding == "none":
            inputs["packing"] = Packing.of_mask(mask)
        return {
            "inputs": inputs,
            "labels": torch.tensor([labels[row] for row in rows]),
            "rows": len(rows),
            "real_tokens": int(mask.sum()),
            "padded_tokens": mask.size,
        }

    def loss_of(model, batch):
        logits = model(**batch["inputs"]).logits.float()
        return torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum"), batch["rows"]

    plan = Plan(len(features), arguments.batch_size, 1, 1, seed=42, max_steps=arguments.steps)
    config = FineTuningConfig(task="nsmc", model_type="bench", save_steps=0, logging_steps=0)
    job = Job(model, plan, collate, loss_of, config, runtime, CheckpointFolder(folder), MetricsLog(folder),
              lambda target: None, {}, {}, None, "accuracy", True)  # fmt: skip
    return Run(job), list(batches_from(plan, collate, 0, runtime))


def useful_operations(run: Run, batches: list) -> int:
    """Operations in matrix products of forward and backward over all batches, unpadded."""
    with FlopCounterMode(display=False) as counter:
        for step in batches:
            for batch in step:
                loss, _ = run.job.loss_of(run.model, run.runtime.place(batch))
                loss.backward()
    run.model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


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
        runs = {arm: training_run(arm, arguments, features, rows.labels, tokenizer, Path(folder)) for arm in ARMS}
        measure(runs, arguments.repeats, arguments.json)


def measure(runs: dict[str, tuple[Run, list]], repeats: int, json_file: str | None) -> None:
    device = runs["ours_fp32"][0].runtime.device
    operations = useful_operations(*runs["ours_fp32"])

    def timed(run: Run, batches: list):
        def arm() -> float:
            synchronize(device)
            started = time.perf_counter()
            for step in batches:
                run.step(step)
            synchronize(device)
            return time.perf_counter() - started

        return arm

    products = {f"matmul_{name}": matrix_product_seconds(device, dtype) for name, dtype in DTYPES.items()}
    seconds = interleaved({arm: timed(*runs[arm]) for arm in runs} | products, repeats)
    peak = {}
    for arm, (run, batches) in runs.items():
        with PeakMemory(device) as memory:
            for step in batches:
                run.step(step)
        peak[arm] = memory.bytes

    rate = {name: 2 * 1536**3 / statistics.median(seconds[f"matmul_{name}"]) for name in DTYPES}
    table = []
    for arm, (_, batches) in runs.items():
        flat = [batch for step in batches for batch in step]
        real, padded = (sum(batch[key] for batch in flat) for key in ("real_tokens", "padded_tokens"))
        padded = real if ARMS[arm][0] == "none" else padded
        median = statistics.median(seconds[arm])
        table.append(
            {
                "arm": arm,
                "rows_per_second": sum(batch["rows"] for batch in flat) / median,
                "real_tokens_per_second": real / median,
                "padding_ratio": 1 - real / padded,
                "of_matmul": operations / median / rate[ARMS[arm][1]],
                "peak_mib": peak[arm] / 2**20,
            }
        )
    default = "ours_" + Runtime(device.type == "cpu", "auto").precision
    ratios = {
        "vs_original_padding_fp32": median_ratio(seconds["original_fp32"], seconds[default]),
        "vs_longest_padding_same_precision": median_ratio(
            seconds[default.replace("ours", "longest")], seconds[default]
        ),
        "vs_longest_padding_fp32": median_ratio(seconds["longest_fp32"], seconds["ours_fp32"]),
        "matmul_fraction": next(row["of_matmul"] for row in table if row["arm"] == default),
    }
    report(f"{device_name(device)}; matrix products: " + ", ".join(
        f"{name} {value / 1e9:,.0f} GFLOP/s" for name, value in rate.items()
    ), table, ratios, json_file)  # fmt: skip


if __name__ == "__main__":
    main()
