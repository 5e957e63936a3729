"""Pretraining a SpanBERT: masking, and a training step, against how the Korean original did them, in one process.

    python3 benchmarks/bench_pretrain.py                                              # sample data
    python3 benchmarks/bench_pretrain.py --corpus data/corpus --parts mix --repeats 5 --json out.json

masking, batches of blocks that fill a row, one core, rows/s:
- python: row by row, as the original did (benchmarks/span_masking_reference.py)
- ours: the whole batch at once; ours_original: with the original's settings

mix, full: a training step, forward, backward and AdamW, 12 layers of 384 (config/spanbert/half.json), real tokens/s, on
the natural mix of all files, and on blocks that fill a row:
- original: padded to the longest row, fp32, the original's SBO head, logits of all masked tokens at once
- longest_bf16, ours_fp32: the same model as ours, padded to the longest row, or in fp32, where that is another
- ours: the encoder unpadded, the paper's SBO head, the default precision

The vocabulary is SentencePiece BPE of `--vocab_size` pieces, made of the corpus. `peak_mib` is memory above weights and
optimizer. Ratios are medians over interleaved repeats.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertConfig

from benchmarks.measure import PeakMemory, device_name, interleaved, median_ratio, report, run_of, take_steps, timed
from benchmarks.span_masking_reference import mask_row
from models.collator import Collator
from models.quick_modules import quicken
from models.spanbert import BertForSpanPreTraining
from models.vocabulary import train_sentencepiece
from processors.blocks import Blocks
from processors.corpus import build_blocks
from processors.corpus_readers import open_corpus
from processors.span_masking import ORIGINAL, SpanMasking, Vocabulary, mask_spans
from processors.task import DataError
from training.loop import Plan
from training.runtime import Runtime, quiet_libraries

PARTS = ["masking", "mix", "full"]
ROW = 512
NEARLY_FULL = 480  # tokens of a block that counts as filling its row
HALF = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
ARMS = {  # padding, precision; None: the default
    "original": ("longest", "fp32"),
    "longest_bf16": ("longest", "bf16"),
    "ours_fp32": ("none", "fp32"),
    "ours": ("none", "auto"),
}


class OriginalSpanBert(BertForSpanPreTraining):
    """Logits of all masked tokens at once, kept for going backward."""

    def _score(self, hidden_states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.cls.predictions.decoder(hidden_states)
        return cross_entropy(logits.float(), labels, reduction="sum"), (logits.argmax(dim=-1) == labels).sum()


def loss_of(model, batch):
    outputs = model(**batch["inputs"], **batch["spans"])
    return outputs.mlm_loss + outputs.sbo_loss, max(1, outputs.masked)


class Setting:
    """Blocks of the corpora, and their vocabulary, as tokenizer and as masking sees it."""

    def __init__(self, corpora: list[Path], vocab_size: int, folder: Path):
        corpus = open_corpus(corpora, lower_case=True)
        self.tokenizer = train_sentencepiece(corpus.lines(), folder / "vocabulary", vocab_size, lower_case=True)
        self.blocks: Blocks = build_blocks(corpus, self.tokenizer, folder, ROW)
        tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        special = self.tokenizer.all_special_ids
        self.vocabulary = Vocabulary.of_tokens(
            tokens, special, self.tokenizer.mask_token_id, self.tokenizer.unk_token_id
        )
        self.full_rows = np.flatnonzero(self.blocks.lengths >= NEARLY_FULL)
        print(
            f"{len(self.blocks)} blocks of {self.blocks.lengths.mean():.1f} tokens, {len(self.full_rows)} of them full"
        )

    def masked(self, rows: np.ndarray, settings: SpanMasking, draws: np.random.Generator):
        arrays = self.blocks.padded(rows, self.tokenizer.pad_token_id)
        return arrays, mask_spans(arrays["input_ids"], arrays["attention_mask"], self.vocabulary, settings, draws)


def measure_masking(setting: Setting, batch_size: int, repeats: int) -> tuple[list[dict], dict[str, float]]:
    batches = [setting.full_rows[at : at + batch_size] for at in range(0, len(setting.full_rows), batch_size)][:20]
    arrays = [setting.blocks.padded(rows, setting.tokenizer.pad_token_id) for rows in batches]
    rows = [[ids[mask == 1].tolist() for ids, mask in zip(*batch.values(), strict=True)] for batch in arrays]
    vocabulary = setting.vocabulary
    starts, special = vocabulary.starts_word.tolist(), vocabulary.special.tolist()
    ordinary = vocabulary.ordinary_ids.tolist()

    def python() -> None:
        generator = random.Random(0)
        for batch in rows:
            for row in batch:
                mask_row(row, starts, special, vocabulary.mask_id, ordinary, ORIGINAL.budget, generator)

    def ours(settings: SpanMasking) -> None:
        draws = np.random.default_rng(0)
        for batch in arrays:
            mask_spans(batch["input_ids"], batch["attention_mask"], vocabulary, settings, draws)

    arms = {"python": python, "ours": lambda: ours(SpanMasking()), "ours_original": lambda: ours(ORIGINAL)}
    seconds = interleaved({name: timed(work) for name, work in arms.items()}, repeats)
    count = sum(map(len, batches))
    table = [
        {"arm": f"masking: {name}", "rows_per_second": count / statistics.median(taken)}
        for name, taken in seconds.items()
    ]
    return table, {
        "masking_vs_python": median_ratio(seconds["python"], seconds["ours"]),
        "masking_vs_python_original_settings": median_ratio(seconds["python"], seconds["ours_original"]),
    }


def measure_steps(
    setting: Setting, name: str, rows: np.ndarray, arguments: argparse.Namespace, folder: Path
) -> tuple[list[dict], dict[str, float]]:
    """Of the blocks `rows`, in an order of their own; the same batches and masks for all arms."""
    rows = np.random.default_rng(0).permutation(rows)
    plan = Plan(len(rows), arguments.batch_size, 1, 1, seed=42, max_steps=arguments.steps)
    runs = {}
    for arm, (padding, precision) in ARMS.items():
        runtime = Runtime(arguments.no_cuda, precision)
        torch.manual_seed(42)
        size = {"vocab_size": len(setting.tokenizer), "pad_token_id": setting.tokenizer.pad_token_id} | HALF
        if arm == "original":
            model = OriginalSpanBert(BertConfig(sbo="original", **size))
        else:
            model = quicken(BertForSpanPreTraining(BertConfig(sbo="paper", **size)))
        collator = Collator(model, padding != "none", ROW)

        def collate(row_ids: np.ndarray, draws: np.random.Generator, collator: Collator = collator) -> dict:
            arrays, masked = setting.masked(rows[row_ids], ORIGINAL, draws)
            spans = {key: torch.from_numpy(array) for key, array in vars(masked).items() if key != "input_ids"}
            return collator.batch(arrays | {"input_ids": masked.input_ids}) | {"spans": spans}

        runs[arm] = run_of(collator.model, runtime, plan, collate, loss_of, folder)

    device = runs["ours"][0].runtime.device
    seconds = interleaved(
        {arm: timed(functools.partial(take_steps, *run), device) for arm, run in runs.items()}, arguments.repeats
    )
    table = []
    for arm, (run, batches) in runs.items():
        with PeakMemory(device) as memory:
            take_steps(run, batches)
        real, padded = (
            sum(batch[key] for step in batches for batch in step) for key in ("real_tokens", "padded_tokens")
        )
        table.append(
            {
                "arm": f"step, {name}: {arm}",
                "real_tokens_per_second": real / statistics.median(seconds[arm]),
                "padding_ratio": 0.0 if ARMS[arm][0] == "none" else 1 - real / padded,
                "peak_mib": memory.bytes / 2**20,
            }
        )
    suffix = "" if name == "mix" else f"_{name}"
    return table, {
        f"spanbert_step_vs_original{suffix}": median_ratio(seconds["original"], seconds["ours"]),
        f"spanbert_step_vs_original_fp32{suffix}": median_ratio(seconds["original"], seconds["ours_fp32"]),
        f"spanbert_step_vs_longest_bf16{suffix}": median_ratio(seconds["longest_bf16"], seconds["ours"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", default=["sample_data/corpus.jsonl"], help="files or folders")
    parser.add_argument("--vocab_size", type=int, default=8000, help="pieces beside the special ones")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no_cuda", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    if min(arguments.batch_size, arguments.steps, arguments.repeats) < 1:
        parser.error("batch_size, steps and repeats must be at least 1")

    quiet_libraries()
    device = Runtime(arguments.no_cuda, "auto").device
    table: list[dict] = []
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            setting = Setting([Path(path) for path in arguments.corpus], arguments.vocab_size, folder)
        except DataError as error:
            parser.error(str(error))
        if not len(setting.full_rows):
            parser.error(f"no block of the corpus has {NEARLY_FULL} tokens: give longer documents")
        measured = []
        if "masking" in arguments.parts:
            measured.append(measure_masking(setting, arguments.batch_size, arguments.repeats))
        for name, blocks in {"mix": np.arange(len(setting.blocks)), "full": setting.full_rows}.items():
            if name in arguments.parts:
                measured.append(measure_steps(setting, name, blocks, arguments, folder))
        for rows, more in measured:
            table += rows
            ratios |= more
    report(device_name(device), table, ratios, arguments.json)


if __name__ == "__main__":
    main()
