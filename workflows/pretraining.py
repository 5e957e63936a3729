"""Steps of the pretraining scripts, in the order in which a script's `main` calls them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from models import MODELS, build_tokenizer, find_model
from processors.features import warn_of_unknown
from processors.pretraining.blocks import Blocks, hold_out
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import Corpus, open_corpus
from storage.activity import counted, doing
from storage.names import on_disk
from storage.whole import remove_whole
from training.command_line import Config
from training.passes import Passes
from training.processes import show
from training.results import (
    PRETRAINING,
    RESULTS_FILE,
    TRAINING_FILE,
    MetricsLog,
    delete_earlier_run,
    prepare_output_dir,
    read_json_object,
    sha256_of,
    write_json,
    write_whole,
)
from training.row_random import RowDraws
from workflows.pretraining_settings import SIZES, EncoderConfig
from workflows.scoring import circumstances, in_words
from workflows.script import kept_for, run_command, trains

# torch takes seconds to import: the functions that need it import it, so that --help and mistyped flags answer at once.

HELD_OUT = "held_out"  # name of the split that is scored
SILENT = ("characters", "unknown_tokens")  # counts that are not shown on the screen

# make_batch(blocks, row_ids, draws, size): a batch for `training/plan.py` from the blocks numbered `row_ids`, `[B]`.
# `draws` decides what is masked or asked for. size: number of rows in the batch where shapes are fixed, else None.
MakeBatch = Callable[[Blocks, np.ndarray, RowDraws, int | None], dict[str, Any]]
# loss_of(model, batch): the sum of the losses of `batch["terms"]` terms. sums_of(model, batch): `[K]`.
OfBatch = Callable[[Any, dict[str, Any]], Any]


def run_pretraining(
    script: str, about: str, argv: list[str], config_class: type[Config], main: Callable[[Config, bool], None]
) -> int:
    """Runs the command `script argv` of a pretraining script; returns the exit code. See `run_command`.

    main: takes the settings, and whether the results of an earlier run in the output folder are to be deleted.
    """
    objective = config_class.model_fields["task"].default

    def run(config: Config, overwrite: bool) -> None:
        if trains(config):
            prepare_output_dir(config.run_dir, config.resume or overwrite)
        with kept_for(config):
            main(config, overwrite)

    return run_command(script, about, argv, config_class, {objective: {}}, run)


# --------------------------------------------------------------------------------------------------------------------
# Corpora, tokenizer and model
# --------------------------------------------------------------------------------------------------------------------


def open_corpora(config: EncoderConfig) -> tuple[list[Corpus], dict[str, str]]:
    """The corpora that the settings name, and the sha256 of each of their files.

    Raises DataError where a corpus does not exist or has no files.
    """
    how = config.text_field, config.documents, config.encoding, config.skip_bad_rows, config.lower_cases_texts
    with doing("look through the corpora"):
        corpora = [open_corpus([on_disk(Path(path))], *how) for path in config.corpus]
        return corpora, {str(file): sha256 for corpus in corpora for file, sha256 in corpus.hashes.items()}


def find_start(config: EncoderConfig) -> Path | None:
    """The folder of the model to continue from, or None for a fresh model. Raises ModelError where it is not found."""
    return find_model(None, config.model_name_or_path) if config.model_name_or_path else None


def open_tokenizer(
    config: EncoderConfig, runtime, start: Path | None, corpora: Sequence[Corpus], hashes: Mapping[str, str]
):
    """The tokenizer of the model to continue from, else the one that the settings name, else one trained here.

    start: folder of the model to continue from. hashes: file -> sha256, for all files of the corpora.
    Raises ModelError where no tokenizer can be made from what the settings name.
    """
    from models.vocabulary import sentencepiece_tokenizer

    if start is not None:
        return build_tokenizer(None, start, config.hanbert_library)
    if not config.tokenizer:
        return train_tokenizer(config, runtime, corpora, hashes)
    named = on_disk(Path(config.tokenizer))
    if named.is_file():
        return sentencepiece_tokenizer(named.read_bytes(), config.tokenizer_lower_cases)
    if config.tokenizer in MODELS and not named.is_dir():
        return build_tokenizer(config.tokenizer, find_model(config.tokenizer, None), config.hanbert_library)
    return build_tokenizer(None, named, config.hanbert_library)


def train_tokenizer(config: EncoderConfig, runtime, corpora: Sequence[Corpus], hashes: Mapping[str, str]):
    """A tokenizer trained on the corpora, kept in `cache_dir` for later runs with the same files and settings.

    One that is damaged is made again.
    """
    from models.vocabulary import train_sentencepiece, train_wordpiece

    settings = [config.train_vocab, config.vocab_size, config.lower_case, config.seed, config.documents]
    settings += [config.text_field, config.encoding, config.skip_bad_rows, [corpus.forms for corpus in corpora]]
    content = repr([*settings, sorted(hashes.values())])
    target = Path(config.cache_dir) / f"vocabulary-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    digest = target.with_suffix(".sha256")
    with runtime.first_alone():
        if target.is_dir() and digest.is_file() and digest.read_text(encoding="utf-8") != sha256_of(target):
            runtime.say(f"{target} was damaged; it is made again")
            remove_whole(target)
        if not target.is_dir():
            digest.unlink(missing_ok=True)  # of one that was damaged, or deleted by hand
            runtime.say(f"making a {config.train_vocab} vocabulary of {config.vocab_size} tokens")
            train = {"sentencepiece": train_sentencepiece, "wordpiece": train_wordpiece}[config.train_vocab]
            with doing("make the vocabulary", unit="line") as activity:
                lines = counted(itertools.chain.from_iterable(corpus.lines() for corpus in corpora), activity)
                train(lines, target, config.vocab_size, config.tokenizer_lower_cases, seed=config.seed)
        if not digest.is_file():
            write_whole(digest, sha256_of(target))
    return build_tokenizer(None, target)


def fresh_model(config: EncoderConfig, tokenizer, build: Callable[[Any], Any]):
    """A model of the sizes in the settings, for this tokenizer. build: makes the model from a BertConfig."""
    from transformers import BertConfig

    from models.positions import begin_as_sines

    bert = BertConfig(
        max_position_embeddings=max(512, config.max_seq_length),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **{key: getattr(config, key) for key in SIZES},
    )
    model = build(bert)
    if config.sinusoidal_positions:
        begin_as_sines(model.bert.embeddings.position_embeddings, bert.initializer_range)
    return model


# --------------------------------------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------------------------------------


def tokenize_corpora(config: EncoderConfig, runtime, corpora: Sequence[Corpus], tokenizer) -> list[Blocks]:
    """The rows of each corpus, from `cache_dir` where an earlier run tokenized them. Says how many rows each has.

    Raises DataError where a corpus has no text or malformed lines.
    """
    parts = []
    for path, corpus in zip(config.corpus, corpora, strict=True):
        with doing(f"prepare {path}"):
            parts.append(_tokenize_corpus(config, runtime, path, corpus, tokenizer))
    return parts


def _tokenize_corpus(config: EncoderConfig, runtime, path: str, corpus: Corpus, tokenizer) -> Blocks:
    from training.progress import Progress

    progress: Progress | None = None

    def show_progress(done: int, characters: int) -> None:
        nonlocal progress
        progress = progress or Progress(runtime, f"tokenize {path}", characters, "character")
        progress.advance(done - progress.done)

    with runtime.first_alone():
        blocks = build_blocks(
            corpus, tokenizer, Path(config.cache_dir), config.max_seq_length, config.processes, show_progress
        )
    if progress is not None:
        progress.close()
    for file in blocks.damaged:
        runtime.say(f"{file} was damaged; it has been made again")
    counts = dict(blocks.counts)
    documents, tokens = counts.pop("documents"), counts.pop("tokens")
    notes = [f"{what.replace('_', ' ')}: {count:,}" for what, count in counts.items() if count and what not in SILENT]
    runtime.say(
        f"{path}: {corpus.describe()}; {documents:,} documents, {tokens:,} tokens, {len(blocks):,} rows of "
        f"{blocks.lengths.mean():.1f}" + "".join(f"; {note}" for note in notes)
    )
    warn_of_unknown(path, blocks.unknown_share, tokenizer.unk_token, True, runtime.say)
    return blocks


@dataclass(frozen=True)
class CorpusRows:
    """The rows of all corpora. `len()` is the number of rows in an epoch.

    training: the rows to train on, one corpus after another. passes: which of these rows an epoch consists of.
    held_out: the rows to score, from documents that are not trained on; None if no documents are held out.
    """

    training: Blocks
    passes: Passes
    held_out: Blocks | None

    def __len__(self) -> int:
        return len(self.passes)

    def epoch_lengths(self, seed: int) -> np.ndarray:
        """Tokens in each row of an epoch, `[len(self)]`. seed: seeds the draws of `passes`."""
        rows = np.arange(len(self))
        return self.training.lengths[self.passes.blocks(rows, RowDraws([seed], rows))]


def hold_out_documents(config: EncoderConfig, runtime, parts: list[Blocks]) -> CorpusRows:
    """Sets documents aside for scoring, and joins the rows of the corpora.

    parts: the rows of each corpus. Raises DataError where a corpus has too few documents.
    """
    held_out = None
    if config.held_out_share:
        parts, held_out = hold_out(parts, config.held_out_share)
        runtime.say(f"held out: {len(held_out)} rows")
    passes = Passes([len(part) for part in parts], config.corpus_weights or [1.0] * len(parts))
    return CorpusRows(Blocks.joined(parts), passes, held_out)


# --------------------------------------------------------------------------------------------------------------------
# Training and scoring
# --------------------------------------------------------------------------------------------------------------------


def held_out_scorer(
    config: EncoderConfig,
    runtime,
    model,
    make_batch: MakeBatch,
    sums_of: OfBatch,
    metrics_of: Callable[[np.ndarray], dict[str, float]],
    held_out: Blocks | None,
) -> Callable[[], dict[str, float]] | None:
    """A function that scores the model, as it is when called, on the held-out rows; None where there are none.

    sums_of: returns `[K]` for a batch. metrics_of: takes those sums, added up over all batches in fp64, and returns the
    metrics. What is masked or asked for in a row is the same each time the row is scored.
    """
    from training.evaluate import Predictor, evaluate

    if held_out is None:
        return None
    # One predictor for the whole run: its CUDA graphs are captured once and live as long as the predictor.
    # [1, K]: `evaluate` expects outputs by row, so the whole batch counts as one row.
    predictor = Predictor(model, lambda model, batch: sums_of(model, batch).unsqueeze(0), runtime)

    def collate(row_ids: np.ndarray, size: int | None) -> dict[str, Any]:
        return make_batch(held_out, row_ids, RowDraws([config.seed], row_ids), size)

    def score() -> dict[str, float]:
        batches = evaluate(predictor, collate, held_out.lengths, config.eval_batch_size, HELD_OUT)
        return metrics_of(sum(sums[0].astype(np.float64) for _, sums in batches))

    return score


def pretraining_job(
    config: EncoderConfig,
    runtime,
    model,
    tokenizer,
    rows: CorpusRows,
    hashes: dict[str, str],
    make_batch: MakeBatch,
    loss_of: OfBatch,
    score: Callable[[], dict[str, float]] | None,
    recorded: Mapping[str, Any] = MappingProxyType({}),
    identity: Mapping[str, str] = MappingProxyType({}),
    has_second_loss: bool = False,
):
    """What `training/loop.py` needs to train `model` on the rows of the corpora.

    hashes: file -> sha256, for the results. score: returns the metrics on held-out rows, "loss" among them. recorded:
    what each checkpoint's config.json says besides. identity: what must be the same when the run is resumed, besides
    settings and rows. has_second_loss: see `training/step.py`.
    Raises UsageError where there are fewer rows than processes.
    """
    from training.checkpoint import CheckpointFolder
    from training.loop import Job, State
    from training.plan import Plan

    plan = Plan.of(config, len(rows), runtime)
    held_out = rows.held_out

    def collate(row_ids: np.ndarray, draws: RowDraws, size: int | None) -> dict[str, Any]:
        return make_batch(rows.training, rows.passes.blocks(row_ids, draws), draws, size)

    def write_model(target: Path, state: State) -> None:
        setattr(model.config, PRETRAINING, _facts(config, replace(plan, step_rows=state.step_rows), state, recorded))
        runtime.save_model(model, target)
        tokenizer.save_pretrained(target)

    return Job(
        model=model,
        plan=plan,
        collate=collate,
        loss_of=loss_of,
        config=config,
        runtime=runtime,
        checkpoints=CheckpointFolder(config.run_dir, config.save_total_limit, config.save_optimizer),
        log=MetricsLog.of(config),
        write_model=write_model,
        identity=config.identity(runtime.precision)
        | {"training rows": rows.training.content, "held-out rows": held_out.content if held_out else None, **identity},
        data=hashes,
        evaluate=(lambda: (HELD_OUT, score())) if score else None,
        main_metric="loss",
        greater_is_better=False,
        rows={"train": len(rows.training)} | ({HELD_OUT: len(held_out)} if held_out else {}),
        has_second_loss=has_second_loss,
    )


def _facts(config: EncoderConfig, plan, state, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says about its pretraining. plan: with the rows that a step of this run has."""
    return {
        "objective": config.task,
        "steps": state.step,
        "epochs": round(state.step / plan.steps_per_epoch, 4),
        # A linear schedule has come to 0 when this many epochs are done.
        "planned_epochs": round(plan.steps / plan.steps_per_epoch, 4),
        "tokens": state.real_tokens,
        **recorded,
    }


def train(job, rows: CorpusRows, unpads: bool, overwrite: bool) -> None:
    """Runs the training, or a dry run of it. unpads: whether the encoder runs without padding.

    overwrite: whether the results of an earlier run in the output folder are deleted first.
    """
    from training.dry_run import dry_run
    from training.loop import fit

    config, plan, unpadded = job.config, job.plan, ", unpadded" if unpads else ""
    job.runtime.say(
        f"{config.run_dir.name}: {plan.steps} steps of {plan.step_rows} rows, {job.runtime.describe()}{unpadded}"
    )
    if config.dry_run:
        dry_run(job, rows.epoch_lengths(config.seed))
        return
    if overwrite and job.runtime.is_main:
        delete_earlier_run(config.run_dir)
    fit(job)
    write_results(config, job.runtime)


def write_results(config: EncoderConfig, runtime) -> None:
    """Writes `results.json` from what training left in the output folder, and prints its figures."""
    path = config.run_dir / RESULTS_FILE
    training = read_json_object(config.run_dir / TRAINING_FILE)
    figures, evaluations = training["figures"], MetricsLog(config.run_dir).evaluations()
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
