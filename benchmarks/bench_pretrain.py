"""Speed of pretraining a SpanBERT or a Splinter: making rows and training steps, compared with the originals' way.

    python3 benchmarks/bench_pretrain.py                                              # sample data
    python3 benchmarks/bench_pretrain.py --corpus data/corpus --parts mix --repeats 5 --json out.json

masking: rows/s on one core, in batches of blocks that fill a row:
- python: row by row, as the original did (benchmarks/span_masking_reference.py)
- ours: the whole batch at once; ours_original: the same with the original's settings

mix, full: real tokens/s of training steps (forward, backward, AdamW), 12 layers of 384 (config/spanbert/half.json), on
the natural mix of all files, and on blocks that fill a row:
- original: padded to the longest row, fp32, the original's SBO head, logits for all masked tokens at once
- longest_bf16: our model in bf16, on rows padded to the longest one
- ours_fp32: our model in fp32, unpadded
- ours: our model at the default precision: the encoder unpadded, the paper's SBO head

clusters: rows/s on one core, in batches of blocks that fill a row:
- python: every pair of positions in a row, as Splinter did (benchmarks/recurring_spans_reference.py)
- ours: the whole batch at once; ours_rows: the same, and drawing the questions

splinter: a training step as above, on the blocks in which a span recurs:
- original: padded to 512 tokens, fp32; the other arms as above

Steps are not captured here; benchmarks/bench_gpu.py measures those.

The vocabulary is SentencePiece BPE with `--vocab_size` pieces, trained on the corpus. `peak_mib` is memory beyond
weights and optimizer. Ratios are medians over interleaved repeats.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertConfig

import pretrain_spanbert
import pretrain_splinter
from benchmarks.measure import PeakMemory, device_name, interleaved, median_ratio, report, run_of, take_steps, timed
from benchmarks.recurring_spans_reference import clusters_of_row
from benchmarks.span_masking_reference import mask_row
from models.collator import Collator
from models.fast_dropout import quicken
from models.positions import positions_among_visible
from models.spanbert import BertForSpanPreTraining
from models.splinter import build_splinter
from models.splinter_tokens import add_question_token, set_token_ids
from models.vocabulary import train_sentencepiece
from processors.pretraining.blocks import Blocks
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import open_corpus
from processors.pretraining.recurring_spans import (
    RecurringSpans,
    SplinterVocabulary,
    find_clusters,
    recurs_in,
    select_spans,
)
from processors.pretraining.span_masking import ORIGINAL, SpanMasking, Vocabulary, mask_spans
from processors.task import DataError
from training.plan import Plan
from training.row_random import RowDraws
from training.runtime import Runtime, quiet_libraries

PARTS = ["masking", "mix", "full", "clusters", "splinter"]
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
    """Computes the logits for all masked tokens at once, and keeps them for the backward pass."""

    def _score(self, hidden_states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.cls.predictions.decoder(hidden_states)
        return cross_entropy(logits.float(), labels, reduction="sum"), (logits.argmax(dim=-1) == labels).sum()


class Setting:
    """Blocks of the corpora, and their vocabulary: as a tokenizer, and as masking and the search for spans see it."""

    def __init__(self, corpora: list[Path], vocab_size: int, folder: Path):
        corpus = open_corpus(corpora, lower_case=True)
        self.tokenizer = train_sentencepiece(corpus.lines(), folder / "vocabulary", vocab_size, lower_case=True)
        self.blocks: Blocks = build_blocks(corpus, self.tokenizer, folder, ROW)
        add_question_token(self.tokenizer)
        tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        special, pad, unk = (
            getattr(self.tokenizer, key) for key in ("all_special_ids", "pad_token_id", "unk_token_id")
        )
        self.vocabulary = Vocabulary.of_tokens(tokens, special, self.tokenizer.mask_token_id, unk)
        self.splinters = SplinterVocabulary.of_tokens(tokens, special, len(tokens) - 1, pad, unk)
        self.full_rows = np.flatnonzero(self.blocks.lengths >= NEARLY_FULL)
        print(
            f"{len(self.blocks)} blocks of {self.blocks.lengths.mean():.1f} tokens, {len(self.full_rows)} of them full"
        )

    @property
    def recurring(self) -> np.ndarray:
        """The blocks in which a span recurs."""
        batches, settings = in_batches(np.arange(len(self.blocks)), 64), RecurringSpans()
        return np.concatenate([rows[recurs_in(*self.padded(rows), self.splinters, settings)] for rows in batches])

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and attention mask, `[B, L]`."""
        arrays = self.blocks.padded(rows, self.tokenizer.pad_token_id)
        return arrays["input_ids"], arrays["attention_mask"]


def in_batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


class SpanBertSteps:
    """SpanBERT's model, batches and loss."""

    loss_of = staticmethod(pretrain_spanbert.loss_of)

    def __init__(self, setting: Setting):
        self.setting = setting

    def model(self, config: dict, arm: str):
        if arm == "original":
            return OriginalSpanBert(BertConfig(sbo="original", **config))
        return quicken(BertForSpanPreTraining(BertConfig(sbo="paper", **config)))

    def batch(self, rows: np.ndarray, draws: RowDraws, collator: Collator, arm: str) -> dict:
        ids, mask = self.setting.padded(rows)
        masked = mask_spans(ids, mask, self.setting.vocabulary, ORIGINAL, draws)
        spans = {key: torch.from_numpy(array) for key, array in vars(masked).items() if key != "input_ids"}
        arrays = {"input_ids": masked.input_ids, "attention_mask": mask}
        return collator.batch(arrays, terms=max(1, len(masked.labels))) | {"spans": spans}


class SplinterSteps:
    """Splinter's model, batches and loss."""

    loss_of = staticmethod(pretrain_splinter.loss_of)

    def __init__(self, setting: Setting):
        self.setting = setting

    def model(self, config: dict, arm: str):
        model = build_splinter(BertConfig(**config))
        set_token_ids(model, self.setting.tokenizer)
        return model

    def batch(self, rows: np.ndarray, draws: RowDraws, collator: Collator, arm: str) -> dict:
        tokenizer = self.setting.tokenizer
        selected = select_spans(*self.setting.padded(rows), self.setting.splinters, RecurringSpans(), draws)
        ids, mask = selected.input_ids, selected.attention_mask
        if arm == "original":
            missing = ((0, 0), (0, ROW - ids.shape[1]))
            ids, mask = np.pad(ids, missing, constant_values=tokenizer.pad_token_id), np.pad(mask, missing)
        arrays = {"input_ids": ids, "attention_mask": mask, "position_ids": positions_among_visible(mask)}
        batch = collator.batch(arrays, terms=2 * len(selected.rows))
        names = ("rows", "columns", "starts", "ends")
        return batch | {"questions": {name: torch.from_numpy(getattr(selected, name)) for name in names}}


def full_batches(setting: Setting, batch_size: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[list]]:
    """Up to twenty batches of blocks that fill a row: as ids and mask, and as lists of ids by row, without padding."""
    arrays = [setting.padded(rows) for rows in in_batches(setting.full_rows, batch_size)[:20]]
    return arrays, [[row[seen == 1].tolist() for row, seen in zip(*batch, strict=True)] for batch in arrays]


def measure_rows(
    name: str, arms: dict[str, Callable[[], None]], rows: int, repeats: int
) -> tuple[list[dict], dict[str, list[float]]]:
    """The rows per second of each arm, as a table, and its seconds."""
    seconds = interleaved({arm: timed(work) for arm, work in arms.items()}, repeats)
    table = [
        {"arm": f"{name}: {arm}", "rows_per_second": rows / statistics.median(taken)} for arm, taken in seconds.items()
    ]
    return table, seconds


def measure_clusters(setting: Setting, batch_size: int, repeats: int) -> tuple[list[dict], dict[str, float]]:
    arrays, rows = full_batches(setting, batch_size)
    vocabulary, settings = setting.splinters, RecurringSpans()
    flags = [getattr(vocabulary, name).tolist() for name in ("starts_word", "usable", "stop_word")]

    def python() -> None:
        for batch in rows:
            for row in batch:
                clusters_of_row(row, *flags, settings.longest)

    def ours() -> None:
        for ids, mask in arrays:
            find_clusters(ids, mask, vocabulary, settings)

    def ours_rows() -> None:
        for number, (ids, mask) in enumerate(arrays):
            select_spans(ids, mask, vocabulary, settings, RowDraws([number], np.arange(len(ids))))

    arms = {"python": python, "ours": ours, "ours_rows": ours_rows}
    table, seconds = measure_rows("clusters", arms, sum(map(len, rows)), repeats)
    return table, {"recurring_spans_vs_python": median_ratio(seconds["python"], seconds["ours"])}


def measure_masking(setting: Setting, batch_size: int, repeats: int) -> tuple[list[dict], dict[str, float]]:
    arrays, rows = full_batches(setting, batch_size)
    vocabulary = setting.vocabulary
    starts, special = vocabulary.starts_word.tolist(), vocabulary.special.tolist()
    ordinary = vocabulary.ordinary_ids.tolist()

    def python() -> None:
        generator = random.Random(0)
        for batch in rows:
            for row in batch:
                mask_row(row, starts, special, vocabulary.mask_id, ordinary, ORIGINAL.budget, generator)

    def ours(settings: SpanMasking) -> None:
        for number, (ids, mask) in enumerate(arrays):
            mask_spans(ids, mask, vocabulary, settings, RowDraws([number], np.arange(len(ids))))

    arms = {"python": python, "ours": lambda: ours(SpanMasking()), "ours_original": lambda: ours(ORIGINAL)}
    table, seconds = measure_rows("masking", arms, sum(map(len, rows)), repeats)
    return table, {
        "masking_vs_python": median_ratio(seconds["python"], seconds["ours"]),
        "masking_vs_python_original_settings": median_ratio(seconds["python"], seconds["ours_original"]),
    }


def measure_steps(
    setting: Setting,
    steps: SpanBertSteps | SplinterSteps,
    name: str,
    rows: np.ndarray,
    arguments: argparse.Namespace,
    folder: Path,
) -> tuple[list[dict], dict[str, float]]:
    """Training steps on the blocks `rows`, in random order; all arms get the same batches and draws."""
    rows = np.random.default_rng(0).permutation(rows)
    plan = Plan(len(rows), arguments.batch_size, arguments.batch_size, 1, seed=42, max_steps=arguments.steps)
    runs = {}
    for arm, (padding, precision) in ARMS.items():
        runtime = Runtime(arguments.no_cuda, precision, capture=False)
        torch.manual_seed(42)
        size = {"vocab_size": len(setting.tokenizer), "pad_token_id": setting.tokenizer.pad_token_id} | HALF
        collator = Collator(steps.model(size, arm), padding != "none", ROW, device=runtime.device)

        def collate(
            row_ids: np.ndarray, draws: RowDraws, size: int | None, collator: Collator = collator, arm: str = arm
        ) -> dict:
            return steps.batch(rows[row_ids], draws, collator, arm)

        runs[arm] = run_of(collator.model, runtime, plan, collate, steps.loss_of, folder)

    device = runs["ours"][0].runtime.device
    seconds = interleaved(
        {arm: timed(functools.partial(take_steps, *run), device) for arm, run in runs.items()}, arguments.repeats
    )
    table = []
    for arm, (run, batches) in runs.items():
        with PeakMemory(device) as memory:
            take_steps(run, batches)
        row_count, real, padded = (
            sum(batch[key] for step in batches for batch in step) for key in ("rows", "real_tokens", "padded_tokens")
        )
        median = statistics.median(seconds[arm])
        table.append(
            {
                "arm": f"step, {name}: {arm}",
                "rows_per_second": row_count / median,
                "real_tokens_per_second": real / median,
                "padding_ratio": 0.0 if ARMS[arm][0] == "none" else 1 - real / padded,
                "peak_mib": memory.bytes / 2**20,
            }
        )
    model, suffix = ("splinter", "") if name == "splinter" else ("spanbert", "" if name == "mix" else f"_{name}")
    return table, {
        f"{model}_step_vs_original{suffix}": median_ratio(seconds["original"], seconds["ours"]),
        f"{model}_step_vs_original_fp32{suffix}": median_ratio(seconds["original"], seconds["ours_fp32"]),
        f"{model}_step_vs_longest_bf16{suffix}": median_ratio(seconds["longest_bf16"], seconds["ours"]),
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
        spanbert = SpanBertSteps(setting)
        for name, blocks in {"mix": np.arange(len(setting.blocks)), "full": setting.full_rows}.items():
            if name in arguments.parts:
                measured.append(measure_steps(setting, spanbert, name, blocks, arguments, folder))
        if "clusters" in arguments.parts:
            measured.append(measure_clusters(setting, arguments.batch_size, arguments.repeats))
        if "splinter" in arguments.parts:
            splinter = SplinterSteps(setting)
            measured.append(measure_steps(setting, splinter, "splinter", setting.recurring, arguments, folder))
        for rows, more in measured:
            table += rows
            ratios |= more
    report(device_name(device), table, ratios, arguments.json)


if __name__ == "__main__":
    main()
