"""The cells of benchmarks/bench_gpu.py: which models, rows and steps are measured.

Each is a generator: it yields one part after another, so that a crash in the second does not lose the first.
"""

from __future__ import annotations

import copy
import functools
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BigBirdConfig,
    BigBirdForQuestionAnswering,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
)

from benchmarks.gpu_arms import (
    BIGBIRD_ARMS,
    CAPTURED,
    OURS,
    Bench,
    Objective,
    Part,
    Training,
    encoder_operations,
    measure_evaluation,
    measure_training,
    row_lengths,
    subject_of,
)
from benchmarks.measure import device_name, interleaved, koelectra, take_steps, timed
from benchmarks.random_rows import PAD, QUESTION, SEP, RandomRows, RandomTokenizer, random_lengths
from models.bigbird import longest_full, put_attention, seen_blocks
from models.collator import Collator
from models.fast_dropout import quicken
from models.spanbert import BertForSpanPreTraining
from models.splinter import BertForSpanSelection
from processors.features import NO_LABEL
from training.loop import LossOf
from training.plan import batches_from
from training.row_random import RowDraws
from training.runtime import Runtime

FIRST_STEP = Path(__file__).with_name("first_step.py")
VOCABULARY, BIGBIRD_VOCABULARY, PRETRAINING_VOCABULARY, VOCABULARY_OF_REHEARSAL = 35_000, 32_500, 8_000, 500
HALF = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
QUESTION_TOKENS = 20  # column of the [SEP] behind the question
LONGEST_SENTENCE, LONGEST_WINDOW = 128, 512  # tokens: max_seq_len of NSMC; max_seq_length of KorQuAD and pretraining


# --------------------------------------------------------------------------------------------------------------------
# Sentences and questions
# --------------------------------------------------------------------------------------------------------------------


def sentence_loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Sum of the rows' losses, as `run_seq_cls.py` has it."""
    logits = model(**batch["inputs"]).logits.float()
    return cross_entropy(logits, batch["labels"], ignore_index=NO_LABEL, reduction="sum")


def question_loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Sum over the windows of the mean of the cross entropies of start and end, as `run_squad.py` has it."""
    outputs = model(**batch["inputs"])
    padding = batch["inputs"]["attention_mask"] == 0
    losses = []
    for i, logits in enumerate((outputs.start_logits, outputs.end_logits)):
        logits = logits.float().masked_fill(padding, torch.finfo(torch.float32).min)
        losses.append(cross_entropy(logits, batch["positions"][:, i], ignore_index=NO_LABEL, reduction="sum"))
    return sum(losses) / 2


def collated(collator: Collator, rows: RandomRows, row_ids: np.ndarray, **labels: np.ndarray) -> dict[str, Any]:
    """A batch of some rows. labels: of all rows, `[rows]` or `[rows, 2]`."""
    arrays = rows.padded(row_ids, PAD, collator.width(rows.lengths[row_ids]))
    arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
    return collator.batch(arrays, **{name: array[row_ids] for name, array in labels.items()})


def fine_tuning(
    bench: Bench,
    shape: str,
    model_class: type[nn.Module],
    rows: RandomRows,
    length: int,
    loss_of: LossOf,
    batch_size: int,
    **labels: np.ndarray,
) -> Training:
    """Training of a model of KoELECTRA's shape on all rows. length: no row has more tokens."""
    shape, vocabulary = bench.pick(shape, "tiny"), vocabulary_of(bench, VOCABULARY)

    def build(runtime: Runtime, is_ours: bool) -> Objective:
        model = koelectra(shape, model_class, vocabulary)
        collator = collator_of(model, runtime, is_ours, length)

        def collate(row_ids: np.ndarray, draws: RowDraws, size: int | None) -> dict[str, Any]:
            return collated(collator, rows, row_ids, **labels)

        return Objective(collator.model, collate, loss_of)

    config = koelectra("tiny" if bench.is_rehearsal else shape, model_class, 10).config
    pairs = float(np.square(rows.lengths).sum())
    operations = encoder_operations(config, int(rows.lengths.sum()), pairs)
    return Training(build, batch_size, len(rows) // batch_size, lambda batches: operations)


def collator_of(model: nn.Module, runtime: Runtime, is_ours: bool, length: int) -> Collator:
    """What makes the model's batches; if `is_ours`, the model is changed in place as the scripts change it."""
    model = quicken(model) if is_ours else model
    return Collator(model, not is_ours, length, shapes=runtime.shapes, device=runtime.device)


def vocabulary_of(bench: Bench, size: int) -> int:
    return bench.pick(size, VOCABULARY_OF_REHEARSAL)


def sentences(bench: Bench, shape: str) -> Training:
    """`run_seq_cls.py --task nsmc`: 32 reviews a step."""
    steps, batch_size = bench.pick(24, 4), bench.pick(32, 4)
    rng = np.random.default_rng(0)
    lengths = random_lengths("nsmc", steps * batch_size, rng)
    rows = RandomRows(lengths, vocabulary_of(bench, VOCABULARY), rng)
    labels = rng.integers(0, 2, len(rows))
    model_class = ElectraForSequenceClassification
    return fine_tuning(bench, shape, model_class, rows, LONGEST_SENTENCE, sentence_loss, batch_size, labels=labels)


def measure_sentences(bench: Bench, shape: str) -> Iterator[Part]:
    yield measure_training(bench, f"nsmc, {shape}", f"gpu_nsmc_{shape}_vs_longest_bf16", sentences(bench, shape))


def answers(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """First and last token of an answer in each row, `[rows, 2]`."""
    starts = rng.integers(QUESTION_TOKENS + 1, lengths - 1)
    return np.stack([starts, np.minimum(starts + 3, lengths - 2)], axis=1)


def measure_questions(bench: Bench) -> Iterator[Part]:
    """`run_squad.py --task korquad --config_file koelectra-base.json`: 8 windows of up to 512 tokens a step."""
    steps, batch_size = bench.pick(24, 3), bench.pick(8, 2)
    rng = np.random.default_rng(0)
    rows = RandomRows(random_lengths("korquad", steps * batch_size, rng), vocabulary_of(bench, VOCABULARY), rng)
    rows.plant(QUESTION_TOKENS, SEP)
    positions = answers(rows.lengths, rng)
    model_class = ElectraForQuestionAnswering
    training = fine_tuning(
        bench, "base", model_class, rows, LONGEST_WINDOW, question_loss, batch_size, positions=positions
    )
    yield measure_training(bench, "korquad, base", "gpu_korquad_base_vs_longest_bf16", training)


def measure_evaluations(bench: Bench) -> Iterator[Part]:
    """Scoring NSMC's test set: rows of like length together, 64 a batch."""
    batch_size = bench.pick(64, 8)
    rng = np.random.default_rng(0)
    lengths = random_lengths("nsmc", bench.pick(30, 4) * batch_size, rng)
    rows = RandomRows(lengths, vocabulary_of(bench, VOCABULARY), rng)
    shape = bench.pick("base", "tiny")

    def build(runtime: Runtime, is_ours: bool):
        model = koelectra(shape, ElectraForSequenceClassification, vocabulary_of(bench, VOCABULARY))
        collator = collator_of(model, runtime, is_ours, LONGEST_SENTENCE)

        def collate(row_ids: np.ndarray, size: int | None) -> dict[str, Any]:
            return collated(collator, rows, row_ids)

        return collator.model, collate, lambda model, batch: model(**batch["inputs"]).logits

    config = koelectra(shape, ElectraForSequenceClassification, 10).config
    operations = encoder_operations(config, int(lengths.sum()), float(np.square(lengths).sum()), passes=1)
    ratio = "gpu_evaluation_base_vs_longest_bf16"
    yield measure_evaluation(bench, "evaluation of nsmc, base", ratio, build, lengths, batch_size, operations)


# --------------------------------------------------------------------------------------------------------------------
# BigBird
# --------------------------------------------------------------------------------------------------------------------


def measure_bigbird(bench: Bench) -> Iterator[Part]:
    """`run_long_qa.py`, KoBigBird's shape: 2 rows of 4,096 tokens a step; then one of them of 3,000."""
    whole, short = bench.pick((4096, 3000), (1024, 800))
    steps = bench.pick(6, 2)
    for name, second in (("full rows", whole), ("with padding", short)):
        ratio = "gpu_bigbird_step_4096_vs_hf" + "_with_padding" * (second != whole)
        yield measure_training(
            bench, f"bigbird, {name}", ratio, long_questions(bench, whole, second, steps), BIGBIRD_ARMS
        )


def long_questions(bench: Bench, first: int, second: int, steps: int) -> Training:
    """Training of BigBird on two rows a step, one of `first` and one of `second` tokens."""
    sizes = bench.pick({}, TINY)
    config = BigBirdConfig(
        vocab_size=vocabulary_of(bench, BIGBIRD_VOCABULARY), pad_token_id=PAD, sep_token_id=SEP, num_labels=2, **sizes
    )
    rng = np.random.default_rng(0)
    rows = RandomRows(np.tile([first, second], steps), config.vocab_size, rng)
    rows.plant(QUESTION_TOKENS, SEP)
    positions = answers(rows.lengths, rng)

    def build(runtime: Runtime, is_ours: bool) -> Objective:
        model = BigBirdForQuestionAnswering(copy.deepcopy(config))  # in which a model's attention is named
        model = put_attention(quicken(model), "sparse") if is_ours else model.bfloat16()
        collator = Collator(model, not is_ours, first, shapes=runtime.shapes, device=runtime.device)

        def collate(row_ids: np.ndarray, draws: RowDraws, size: int | None) -> dict[str, Any]:
            pair = row_ids[0] // 2 * 2 + np.arange(2)  # one row of each length, which the plan does not know
            batch = collated(collator, rows, pair, positions=positions)
            if not is_ours:
                del batch["inputs"]["has_padding"]  # which is for our attention
            return batch

        return Objective(collator.model, collate, question_loss)

    def operations(batches: list) -> float:
        lengths = row_lengths(batches)
        return encoder_operations(config, int(lengths.sum()), sum(pairs_seen(config, n, first) for n in lengths))

    return Training(build, 2, steps, operations)


def pairs_seen(config: BigBirdConfig, tokens: int, width: int) -> float:
    """How many pairs of a token and one that it attends to a head has, in a row of `tokens` in a batch `width` wide."""
    if width <= longest_full(config):
        return float(tokens) ** 2
    size, blocks = config.block_size, width // config.block_size
    real = -(-tokens // size)
    seen = seen_blocks(
        0, config.num_attention_heads, blocks, config.num_random_blocks, size, config.max_position_embeddings // size
    )[:, : real - 1]
    of_middle = ((seen >= 0) & (seen < real)).sum() / config.num_attention_heads * size * size
    return float(of_middle) + (1 + (real == blocks)) * size * tokens


# --------------------------------------------------------------------------------------------------------------------
# Pretraining
# --------------------------------------------------------------------------------------------------------------------


def measure_spanbert(bench: Bench) -> Iterator[Part]:
    """`pretrain_spanbert.py --config_file half.json`: 32 full rows of 512 tokens a step; then a natural mix."""
    steps, batch_size = bench.pick(12, 3), bench.pick(32, 4)
    tokenizer = RandomTokenizer(vocabulary_of(bench, PRETRAINING_VOCABULARY))
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=PAD, sbo="paper", **bench.pick(HALF, TINY))
    rng = np.random.default_rng(0)
    mixed = random_lengths("corpus", steps * batch_size, rng)
    for name, lengths in (("full rows", np.full_like(mixed, LONGEST_WINDOW)), ("mix", mixed)):
        rows = RandomRows(lengths, len(tokenizer), rng)
        training = Training(
            functools.partial(spanbert, rows, tokenizer, config),
            batch_size,
            steps,
            functools.partial(spanbert_operations, config),
        )
        ratio = "gpu_spanbert_vs_longest_bf16" if name == "full rows" else "gpu_spanbert_mix_vs_longest_bf16"
        yield measure_training(bench, f"spanbert, {name}", ratio, training)


def spanbert(
    rows: RandomRows, tokenizer: RandomTokenizer, config: BertConfig, runtime: Runtime, is_ours: bool
) -> Objective:
    from pretrain_spanbert import SpanBertConfig, loss_of, masked_batch, masking_vocabulary

    model = BertForSpanPreTraining(copy.deepcopy(config))  # in which a model's attention is named
    settings = SpanBertConfig(corpus=["random rows"], no_unpad=not is_ours, max_seq_length=LONGEST_WINDOW)
    collator = Collator.of(quicken(model) if is_ours else model, settings, runtime, "max_seq_length")
    vocabulary = masking_vocabulary(tokenizer)
    collate = functools.partial(masked_batch, collator, tokenizer.pad_token_id, vocabulary, settings.masking, rows)
    return Objective(runtime.prepare(collator.model), collate, loss_of)


def spanbert_operations(config: BertConfig, batches: list) -> float:
    lengths = row_lengths(batches)
    masked = sum(int((batch["spans"]["labels"] != NO_LABEL).sum()) for batch in batches)
    of_both_heads = 3 * 2 * (2 * masked * config.hidden_size * config.vocab_size)
    return encoder_operations(config, int(lengths.sum()), float(np.square(lengths).sum())) + of_both_heads


def measure_splinter(bench: Bench) -> Iterator[Part]:
    """`pretrain_splinter.py` with a model of the same sizes: 32 rows, as long as those in which a span recurs."""
    steps, batch_size = bench.pick(12, 3), bench.pick(32, 4)
    tokenizer = RandomTokenizer(vocabulary_of(bench, PRETRAINING_VOCABULARY))
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=PAD, **bench.pick(HALF, TINY))
    config.question_token_id, config.hidden_token_id = QUESTION, SEP
    rng = np.random.default_rng(0)
    rows = RandomRows(random_lengths("recurring", steps * batch_size, rng), len(tokenizer), rng)
    rows.repeat_words(tokenizer.words, rng)
    build = functools.partial(splinter, rows, tokenizer, config)
    training = Training(build, batch_size, steps, functools.partial(splinter_operations, config))
    yield measure_training(bench, "splinter", "gpu_splinter_vs_longest_bf16", training)


def splinter(
    rows: RandomRows, tokenizer: RandomTokenizer, config: BertConfig, runtime: Runtime, is_ours: bool
) -> Objective:
    from pretrain_splinter import SplinterConfig, loss_of, question_batch
    from workflows.recurring_questions import QuestionRules, splinter_vocabulary

    model = BertForSpanSelection(copy.deepcopy(config))
    settings = SplinterConfig(corpus=["random rows"], no_unpad=not is_ours, max_seq_length=LONGEST_WINDOW)
    collator = Collator.of(quicken(model) if is_ours else model, settings, runtime, "max_seq_length")
    rules = QuestionRules(splinter_vocabulary(tokenizer, QUESTION), settings.recurring_spans)
    collate = functools.partial(question_batch, collator, rules, None, rows)
    return Objective(runtime.prepare(collator.model), collate, loss_of)


def splinter_operations(config: BertConfig, batches: list) -> float:
    lengths = row_lengths(batches)
    return encoder_operations(config, int(lengths.sum()), float(np.square(lengths).sum()))


# --------------------------------------------------------------------------------------------------------------------
# From the start to the end
# --------------------------------------------------------------------------------------------------------------------


def measure_end_to_end(bench: Bench) -> Iterator[Part]:
    """Whether a thread makes NSMC's batches as fast as captured steps use them, as it has to in a run."""
    for shape in ("small", "base"):
        training = sentences(bench, shape)
        run, batches = training.run(bench, OURS[CAPTURED])
        runtime, job = run.runtime, run.job

        def made_meanwhile(run=run, job=job, runtime=runtime) -> None:
            for step in batches_from(job.plan, job.collate, 0, runtime):
                run.step(step)

        def collating(job=job) -> None:
            for step in range(job.plan.steps):
                row_ids = job.plan.rows_of(step)
                job.collate(row_ids, RowDraws([job.plan.seed, step], np.arange(len(row_ids))), None)

        subject_of(run, batches).warm_up(runtime.device)
        arms = {
            "batches made before": timed(functools.partial(take_steps, run, batches), runtime.device),
            "batches made meanwhile": timed(made_meanwhile, runtime.device),
            "collating alone, one core": timed(collating),
        }
        seconds = interleaved(arms, bench.repeats)
        rows = [
            {"arm": f"{shape}: {arm}", "rows_per_second": job.plan.rows / statistics.median(taken)}
            for arm, taken in seconds.items()
        ]
        share = rows[1]["rows_per_second"] / rows[0]["rows_per_second"]
        yield Part(device_name(runtime.device), rows, {f"gpu_end_to_end_{shape}_of_steps_alone": share})


def measure_first_step(bench: Bench) -> Iterator[Part]:
    """Seconds from the end of the imports of torch and transformers to the end of a first step, in a fresh Python."""
    command = [sys.executable, str(FIRST_STEP), *["--rehearse"] * bench.is_rehearsal]
    taken = []
    for _ in range(min(bench.repeats, 3)):
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ.copy())
        if ended.returncode:
            raise RuntimeError(f"first_step.py ended with {ended.returncode}: {ended.stderr.strip()}")
        taken.append(float(ended.stdout))
    seconds = statistics.median(taken)
    device = device_name(torch.device("cpu" if bench.is_rehearsal else "cuda"))
    yield Part(device, [{"arm": "first step", "seconds": seconds}], {"gpu_first_step_seconds": seconds})
