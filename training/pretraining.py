"""A pretraining run, from blocks of tokens to checkpoints and held-out scores: the same for every objective."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from training.command_line import Config, resolve
from training.config import (
    Contradiction,
    Given,
    LoopConfig,
    OutputConfig,
    RuntimeConfig,
    Section,
    is_typed,
    without_effect,
)
from training.processes import show
from training.results import (
    PRETRAINING,
    RESULTS_FILE,
    TRAINING_FILE,
    MetricsLog,
    delete_earlier_run,
    prepare_output_dir,
    read_json_object,
    write_json,
)
from training.row_random import RowDraws
from workflows.script import circumstances, exit_code, in_words, resuming, trains

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.

HELD_OUT = "held_out"  # the split that is scored
BLOCKS = 2**16  # the kind of draws that says which block a row is; an objective's own begin at 0


class CorpusConfig(Section):
    """Corpus"""

    corpus: list[str] = Field(
        description="files or folders of files: plain text, wikiextractor output or JSON lines; each may be "
        "compressed (.gz)"
    )
    corpus_weights: list[float] | None = Field(
        None, description="passes over each corpus in an epoch, one number per corpus; default: 1 each"
    )
    documents: Literal["auto", "blank_lines", "lines"] = Field(
        "auto",
        description="what ends a document in plain text; auto: blank lines, or every line if there are no blank lines",
    )
    text_field: str = Field("text", description="field of a JSON line that holds the text")
    encoding: Literal["utf-8", "cp949"] = Field("utf-8", description="encoding of the files")
    lower_case: bool = Field(False, description="lower-case the texts, and have a new tokenizer do so")
    skip_bad_rows: bool = Field(False, description="skip malformed lines and count them, instead of stopping")
    held_out_share: float = Field(
        0.01, ge=0, lt=1, description="share of the documents that is not trained on but scored; 0: none"
    )
    max_seq_length: int = Field(512, ge=8, description="tokens per row, special tokens included")
    processes: int = Field(1, ge=1, description="number of processes that tokenize")
    cache_dir: str = Field(
        "cache",
        description="folder where tokenized data and vocabularies are kept; they are reused only for the same content",
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        weights = self.corpus_weights
        if weights is not None and len(weights) != len(self.corpus):
            message = f"corpus_weights has {len(weights)} numbers for {len(self.corpus)} corpora: give one for each"
            yield Contradiction(("corpus_weights", "corpus"), message)
        elif weights is not None and min(weights) <= 0:
            yield Contradiction(("corpus_weights",), "corpus_weights must be above 0")
        if self.held_out_share == 0:
            why = "without held-out documents to score (held_out_share is 0)"
            yield from without_effect(["eval_steps"], given, ("held_out_share",), why)


class VocabularyConfig(Section):
    """Vocabulary"""

    tokenizer: str | None = Field(
        None,
        description="known model, folder, or SentencePiece BPE model (.model); default: the tokenizer of "
        "model_name_or_path",
    )
    train_vocab: Literal["sentencepiece", "wordpiece"] | None = Field(
        None, description="make a new vocabulary from the corpus"
    )
    vocab_size: int = Field(8000, ge=1, description="tokens of a new vocabulary, special tokens not counted")

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        # A typed tokenizer is taken instead of the vocabulary that a file would have made.
        if self.train_vocab and self.tokenizer and is_typed("tokenizer", given) <= is_typed("train_vocab", given):
            message = "train_vocab makes a new vocabulary and tokenizer names an existing one: give one of them"
            yield Contradiction(("train_vocab", "tokenizer"), message)
        if self.tokenizer and is_typed("lower_case", given) and self.lower_case and Path(self.tokenizer).is_dir():
            why = f"the tokenizer in {self.tokenizer} treats capital letters in its own way"
            yield Contradiction(("lower_case", "tokenizer"), f"--lower_case has no effect: {why}")
        if not self.train_vocab:
            yield from without_effect(["vocab_size"], given, ("train_vocab",), "without train_vocab")


class PretrainingConfig(CorpusConfig, VocabularyConfig, LoopConfig):
    """Pretraining"""

    # Settings that may change on resume, besides paths: the content of the rows is compared.
    MAY_CHANGE_ON_RESUME: ClassVar[frozenset[str]] = frozenset(
        "corpus cache_dir processes skip_bad_rows early_stopping_patience eval_batch_size".split()
    )

    eval_batch_size: int = Field(64, ge=1, description="rows per batch when held-out documents are scored")

    @property
    def run_dir(self) -> Path:
        """The folder that everything of this run goes into."""
        return Path(self.ckpt_dir) / (self.output_dir or f"{self.task}-ckpt")

    def identity(self, precision: str) -> dict[str, Any]:
        """The settings that a resumed run must share with the one it goes on with. precision: resolved."""
        free = self.MAY_CHANGE_ON_RESUME | OutputConfig.model_fields.keys() | RuntimeConfig.model_fields.keys()
        return self.model_dump(exclude=set(free)) | {"precision": precision}


class Blocks(Protocol):
    """Rows of tokens, `processors/pretraining/blocks.py`."""

    lengths: np.ndarray
    content: str

    def __len__(self) -> int: ...


class Objective(Protocol):
    """A model with its tokenizer, and what it learns from.

    model: on its device. unpads: whether its encoder runs without padding.
    """

    model: Any
    tokenizer: Any
    unpads: bool

    def collate(self, blocks: Any, row_ids: np.ndarray, draws: RowDraws, size: int | None = None) -> dict[str, Any]:
        """A batch of `training/plan.py` from some blocks, `[B]`; draws: theirs, what is masked is drawn from it. size:
        rows that it is to have, where shapes are fixed.
        """

    def loss_of(self, model: Any, batch: dict[str, Any]) -> Any:
        """Sum of the losses, of `batch["terms"]` terms."""

    def sums_of(self, model: Any, batch: dict[str, Any]) -> Any:
        """`[K]`: what `metrics_of` needs, summed over the batch."""

    def metrics_of(self, sums: np.ndarray) -> dict[str, float]:
        """Held-out scores from the sums over all batches, "loss" among them."""


class Passes:
    """Which block each row of an epoch is, where some corpora are gone through more often than others.

    sizes: blocks of each corpus, which lie one after another. weights: how often each is gone through; what is beyond
    whole passes is drawn anew in every epoch.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float]):
        self._sizes = np.array(sizes)
        self._rows = np.maximum(1, np.rint(self._sizes * np.array(weights))).astype(np.int64)
        self._in_whole_passes = self._rows // self._sizes * self._sizes

    def __len__(self) -> int:
        return int(self._rows.sum())

    def blocks(self, row_ids: np.ndarray, draws: RowDraws) -> np.ndarray:
        """Numbers of the blocks, `[B]`, of rows of an epoch, `[B]`."""
        ends = np.cumsum(self._rows)
        corpus = np.searchsorted(ends, row_ids, side="right")
        row = row_ids - (ends - self._rows)[corpus]
        size = self._sizes[corpus]
        uniform = draws.uniform(BLOCKS, np.arange(len(row_ids)), np.zeros(len(row_ids), dtype=np.int64))
        in_corpus = np.where(row < self._in_whole_passes[corpus], row % size, (uniform * size).astype(np.int64))
        return (np.cumsum(self._sizes) - self._sizes)[corpus] + in_corpus


def run_pretraining(
    script: str,
    about: str,
    argv: list[str],
    config_class: type[Config],
    errors: tuple[type[Exception], ...],
    pretrain: Callable[[Config, Any, bool], None],
) -> int:
    """Runs the command `script argv`; returns the exit code. pretrain: settings, runtime, whether to overwrite."""
    config_root = Path(script).resolve().parent / "config"
    config: Config | None = None

    def work() -> None:
        nonlocal config
        task = config_class.model_fields["task"].default
        config, given = resolve(config_class, argv, {task: {}}, config_root, about)
        overwrite = config.overwrite_output_dir and is_typed("overwrite_output_dir", given)
        if not config.dry_run:
            prepare_output_dir(config.run_dir, config.resume or overwrite)

        from training.runtime import open_runtime, quiet_libraries

        runtime = open_runtime(config)
        quiet_libraries()
        pretrain(config, runtime, overwrite)

    return exit_code(script, errors, work, lambda: resuming(argv) if trains(config) else argv)


def train(
    config: PretrainingConfig,
    runtime,
    objective: Objective,
    blocks: Blocks,
    passes: Passes,
    held_out: Blocks | None,
    data: dict[str, str],
    overwrite: bool,
) -> None:
    """Trains, scores held-out blocks on the way, and writes `results.json`. data: file -> sha256, for the results."""
    from training.checkpoint import CheckpointFolder
    from training.dry_run import dry_run
    from training.loop import Job, State, fit
    from training.plan import Plan

    plan = Plan.of(config, len(passes), runtime)

    def collate(row_ids: np.ndarray, draws: RowDraws, size: int | None) -> dict[str, Any]:
        return objective.collate(blocks, passes.blocks(row_ids, draws), draws, size)

    def write_model(target: Path, state: State) -> None:
        steps_per_epoch = replace(plan, step_rows=state.step_rows).steps_per_epoch
        figures = {"steps": state.step, "epochs": round(state.step / steps_per_epoch, 4)}
        setattr(objective.model.config, PRETRAINING, {"objective": config.task, **figures, "tokens": state.real_tokens})
        runtime.save_model(objective.model, target)
        objective.tokenizer.save_pretrained(target)

    evaluate_now = functools.partial(score, config, objective, predictor_of(objective, runtime), held_out)
    runtime.say(
        f"{config.run_dir.name}: {plan.steps} steps of {plan.step_rows} rows, "
        f"{runtime.describe()}{', unpadded' if objective.unpads else ''}"
    )
    if overwrite and runtime.is_main:
        delete_earlier_run(config.run_dir)
    log = MetricsLog(config.run_dir)
    job = Job(
        model=objective.model,
        plan=plan,
        collate=collate,
        loss_of=objective.loss_of,
        config=config,
        runtime=runtime,
        checkpoints=CheckpointFolder(config.run_dir, config.save_total_limit, config.save_optimizer),
        log=log,
        write_model=write_model,
        identity=config.identity(runtime.precision)
        | {"training rows": blocks.content, "held-out rows": held_out.content if held_out else None},
        data=data,
        evaluate=evaluate_now if held_out else None,
        main_metric="loss",
        greater_is_better=False,
        rows={"train": len(blocks)} | ({HELD_OUT: len(held_out)} if held_out else {}),
    )
    if config.dry_run:
        rows = np.arange(len(passes))
        dry_run(job, blocks.lengths[passes.blocks(rows, RowDraws([config.seed], rows))])
        return
    fit(job)
    write_results(config, runtime, log)


def predictor_of(objective: Objective, runtime):
    """What computes the sums of held-out batches (`training/evaluate.py`); kept for a whole run, with its graphs."""
    from training.evaluate import Predictor

    def sums_of(model, batch: dict[str, Any]):  # [1, K]: the whole batch is one row
        return objective.sums_of(model, batch).unsqueeze(0)

    return Predictor(objective.model, sums_of, runtime)


def score(config: PretrainingConfig, objective: Objective, predictor, held_out: Blocks) -> tuple[str, dict[str, float]]:
    """The held-out split and its metrics. What is masked there is the same whenever it is scored.

    predictor: see `predictor_of`.
    """
    from training.evaluate import evaluate

    def collate(row_ids: np.ndarray, size: int | None) -> dict[str, Any]:
        return objective.collate(held_out, row_ids, RowDraws([config.seed], row_ids), size)

    batches = evaluate(predictor, collate, held_out.lengths, config.eval_batch_size, HELD_OUT)
    return HELD_OUT, objective.metrics_of(sum(sums[0].astype(np.float64) for _, sums in batches))


def write_results(config: PretrainingConfig, runtime, log: MetricsLog) -> None:
    """Writes `results.json` and says on standard output what is in it."""
    path = config.run_dir / RESULTS_FILE
    training = read_json_object(config.run_dir / TRAINING_FILE)
    figures, evaluations = training["figures"], log.evaluations()
    metrics = evaluations[-1]["metrics"] if evaluations else {}
    results = {
        "task": config.task,
        "model": config.run_dir.name,
        "seed": config.seed,
        "split": HELD_OUT if metrics else None,
        "main_metric": "loss",
        "metrics": metrics,
        "step": figures["steps"],
        "evaluations": evaluations,
        "training": {"precision": training["precision"], "rows": training["rows"], **figures},
        **circumstances(config, runtime, training["data"]),
    }
    write_json(path, results)
    held_out = f"  {HELD_OUT}  {in_words(metrics)}" if metrics else ""
    show(f"{config.task}  {config.run_dir.name}  seed {config.seed}{held_out}")
    show(f"  checkpoint-{figures['steps']}, {figures['tokens_per_second']:,.0f} tokens/s; written to {path}")
