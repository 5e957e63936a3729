"""Long documents: features of TyDi QA, and BigBird's attention, against how others do it, side by side in one process.

    python3 benchmarks/bench_long.py                                                     # sample data
    python3 benchmarks/bench_long.py --data_file data/tydiqa/tydiqa-v1.0-train.jsonl --tokenizer kobigbird/ \\
        --json out.json
    python3 benchmarks/bench_long.py --parts attention step --lengths 4096 --repeats 3 --no_cuda

features, from the file to windows of 4,096 tokens with the positions of their answers, one core, questions/s:
- original: a plain reference that works as KoBigBird did: a dictionary of every byte of every document, every word
  tokenized by itself, once for every question (benchmarks/squad_reference.py)
- ours: into an empty cache folder, its writing counted

attention of a layer of BigBird-base, forward and backward, from queries, keys and values on, batch of one row:
- hf: transformers' block_sparse in training, which has no dropout of attention weights and makes `[B, heads, L, L]`
- full: SDPA over all keys, without dropout
- ours: without dropout, as hf; ours_dropout: with the published 0.1
Each in fp32 and in bf16.

step: forward, backward and AdamW of the whole model with its head for answers, batch of one row, dropout as published.
bf16 is autocast; hf's attention fails under it, and gets a model with bf16 weights. full is `--attention full`.

peak_mib is memory above what was in use before, weights and their gradients included. Ratios are medians over
interleaved repeats; `attention_memory_of_hf_fp32_4096` is ours divided by transformers'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from transformers import BigBirdConfig, BigBirdForQuestionAnswering, BigBirdModel
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention

from benchmarks.measure import PeakMemory, device_name, interleaved, median_ratio, report, timed
from benchmarks.squad_reference import Featurizer, Window, WordPiece, check_answers, check_rows
from models import build_tokenizer
from models.bigbird import BlockSparseAttention, block_sparse_attention, full_attention, put_attention
from models.fast_dropout import quicken
from processors import TASKS
from processors.qa.windows import GoldSpans, Lengths, QuestionFeatures, build_question_features
from training.runtime import Runtime, quiet_libraries

PARTS = ("features", "attention", "step")
LENGTHS = Lengths(4096, 3072, 64)


def original_features(file: Path, featurizer: Featurizer) -> list[list[Window]]:
    """The windows of each question, as KoBigBird made them."""
    windows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        if sample["language"] != "korean":
            continue
        text = sample["document_plaintext"]
        character_at = {}
        byte = 0
        for number, character in enumerate(text):
            for _ in range(len(character.encode())):
                character_at[byte] = number
                byte += 1
        character_at[byte] = len(text)
        annotations = sample["annotations"]
        if any(annotation["yes_no_answer"] != "NONE" for annotation in annotations):
            continue
        answer, start = None, 0
        for annotation in annotations:
            place = annotation["minimal_answer"]
            if place["plaintext_start_byte"] >= 0 and answer is None:
                start = character_at[place["plaintext_start_byte"]]
                answer = text[start : character_at[place["plaintext_end_byte"]]]
        windows.append(featurizer.windows(sample["question_text"], text, answer, start))
    return windows


def our_features(file: Path, tokenizer) -> tuple[QuestionFeatures, np.ndarray]:
    """The features, and the positions of the answers, `[W, 2]`."""
    task = TASKS["tydiqa"]
    with tempfile.TemporaryDirectory() as folder:
        features = build_question_features(task.read(task, file), tokenizer, LENGTHS, Path(folder))
        return features, GoldSpans.of(features).positions(features, np.arange(len(features)))


def measure_features(file: Path, tokenizer, repeats: int) -> tuple[list[dict], dict[str, float]]:
    wordpiece = WordPiece(tokenizer.get_vocab())
    featurizer = Featurizer(wordpiece, LENGTHS.max_seq_length, LENGTHS.doc_stride, LENGTHS.max_query_length)
    features, positions = our_features(file, tokenizer)
    same = check_rows("original", original_features(file, featurizer), features, positions, tokenizer.pad_token_id)
    check_answers("original", same)
    characters = statistics.mean(len(features.questions.contexts[i]) for i in features.questions.context_of)
    print(f"features: {len(features.questions)} questions about documents of {characters:,.0f} characters")

    arms = {
        "original": timed(lambda: original_features(file, featurizer)),
        "ours": timed(lambda: our_features(file, tokenizer)),
    }
    seconds = interleaved(arms, repeats)
    rows = [
        {"arm": f"features: {arm}", "questions_per_second": len(features.questions) / statistics.median(taken)}
        for arm, taken in seconds.items()
    ]
    return rows, {"features_vs_original": median_ratio(seconds["original"], seconds["ours"])}


class Attention:
    """Attention of BigBird-base's shape, from queries, keys and values on, in one of the ways that there are."""

    def __init__(self, way: str, precision: str, length: int, device: torch.device):
        config = BigBirdConfig()
        heads, block = config.num_attention_heads, config.block_size
        self.way, self.dropout = way, 0.1 if way == "ours_dropout" else 0.0
        shape = (1, heads, length, config.hidden_size // heads)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.parts = [torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3)]
        self.layer = BigBirdBlockSparseAttention(config, seed=0).train()
        mask = torch.ones(1, length, device=device, dtype=dtype)
        blocked, band, rows, keys = BigBirdModel.create_masks_for_block_sparse_attn(mask, block)
        sizes = (heads, config.num_random_blocks, shape[-1], block, block, 1, length, length)
        self.settings = (band, rows, keys, blocked, blocked, *sizes)
        ours = BlockSparseAttention(self.layer, config, 0, "sparse")
        self.mask, self.seen, self.block = mask.bool(), ours.seen(self.parts[0]), block

    def __call__(self) -> None:
        if self.way == "hf":
            plans = {"seed": 0, "plan_from_length": None, "plan_num_rand_blocks": None}
            mixed, _ = self.layer.bigbird_block_sparse_attention(*self.parts, *self.settings, **plans)
        elif self.way == "full":
            mixed = full_attention(*self.parts, self.mask)
        else:
            mixed = block_sparse_attention(*self.parts, self.mask, self.seen, self.block, self.dropout)
        mixed.float().square().mean().backward()


class Step:
    """A training step of BigBird-base with its head for answers, on one row of `length` tokens."""

    def __init__(self, way: str, precision: str, length: int, device: torch.device, vocabulary: int = 32_500):
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        torch.manual_seed(0)
        model = BigBirdForQuestionAnswering(BigBirdConfig(vocab_size=vocabulary, sep_token_id=3))
        if way == "hf":
            if precision == "bf16":
                model, self.autocast = model.bfloat16(), contextlib.nullcontext()
        else:
            model = put_attention(quicken(model), "full" if way == "full" else "sparse")
        self.model = model.to(device).train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        ids = torch.randint(10, vocabulary, (1, length), device=device)
        ids[0, 20] = 3
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        self.positions = {"start_positions": ids[:, 0] * 0 + 40, "end_positions": ids[:, 0] * 0 + 42}

    def __call__(self) -> None:
        with self.autocast:
            loss = self.model(**self.batch, **self.positions).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure_ways(
    part: str, kind: type, ways: list[str], lengths: list[int], device: torch.device, repeats: int
) -> tuple[list[dict], dict[str, list[float]], dict[str, float]]:
    """Rows of the report, and seconds and bytes of every arm, by "<way>_<precision>_<length>"."""
    rows, seconds, memory = [], {}, {}
    for length in lengths:
        for precision in ("fp32", "bf16"):
            works: dict[str, Callable[[], None]] = {}
            for way in ways:
                torch.manual_seed(0)
                works[f"{way}_{precision}_{length}"] = kind(way, precision, length, device)
            seconds |= interleaved({name: timed(work, device) for name, work in works.items()}, repeats)
            for name, work in works.items():
                with PeakMemory(device) as peak:
                    work()
                memory[name] = float(peak.bytes)
                rows.append(
                    {
                        "arm": f"{part}: {name}",
                        "seconds": statistics.median(seconds[name]),
                        "peak_mib": memory[name] / 2**20,
                    }
                )
    return rows, seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_file", default="sample_data/tydiqa/tydiqa-v1.0-train.jsonl", help="TyDi QA v1.0")
    parser.add_argument("--tokenizer", default="sample_data/tiny-electra", help="folder with a WordPiece tokenizer")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--lengths", nargs="+", type=int, default=[1024, 2048, 4096], help="of attention and step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no_cuda", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    if min(arguments.repeats, *arguments.lengths) < 1:
        parser.error("repeats and lengths must be at least 1")
    if "features" in arguments.parts and not Path(arguments.data_file).is_file():
        parser.error(f"{arguments.data_file}: no such file; scripts/make_sample_data.py makes the default one")

    quiet_libraries()
    runtime = Runtime(arguments.no_cuda, "auto")
    rows: list[dict] = []
    ratios: dict[str, float] = {}
    if "features" in arguments.parts:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core
        tokenizer = build_tokenizer(None, Path(arguments.tokenizer))
        more, ratios = measure_features(Path(arguments.data_file), tokenizer, arguments.repeats)
        rows += more
    measured = (arguments.lengths, runtime.device, arguments.repeats)
    ways = {"attention": (Attention, ["hf", "full", "ours", "ours_dropout"]), "step": (Step, ["hf", "full", "ours"])}
    for part in [part for part in ways if part in arguments.parts]:
        more, seconds, memory = measure_ways(part, *ways[part], *measured)
        rows += more
        for case in [f"{precision}_{length}" for length in arguments.lengths for precision in ("fp32", "bf16")]:
            hf, full, ours = (f"{way}_{case}" for way in ("hf", "full", "ours"))
            ratios[f"{part}_vs_hf_{case}"] = median_ratio(seconds[hf], seconds[ours])
            ratios[f"{part}_vs_full_{case}"] = median_ratio(seconds[full], seconds[ours])
            ratios[f"{part}_memory_of_hf_{case}"] = memory[ours] / max(1.0, memory[hf])
    report(device_name(runtime.device), rows, ratios, arguments.json)


if __name__ == "__main__":
    main()
