"""Steps that the scripts of extractive question answering share: settings, windows, the loss, answers, their score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from models import build_model
from processors.features import NO_LABEL, SpecialTokens
from processors.qa.answer_scores import score, score_with_unanswerable
from processors.qa.decoding import Decoder, Predictions
from processors.qa.questions import UNANSWERABLE, Questions, read_unanswered
from processors.qa.squad_scores import n_best_figures, squad_figures
from processors.qa.windows import GoldSpans, Lengths, QuestionFeatures, build_question_features
from processors.task import DataError, Task
from storage.activity import doing
from training.config import Contradiction, Every, Given, without_effect
from training.identity import rows_content
from training.results import ORIGINAL_FIGURES
from workflows.encoding import describe, hash_of, note_of_long_words, say_what_was_damaged
from workflows.fine_tuning import ReadyModel, Split, predictions_of
from workflows.scoring import Scored
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime

# Without knowing the text, some answers are hit all the same.
CHANCE = 0.01
# Features and some of their windows `[B]` -> the arrays that a model is called with, each `[B, ...]`.
ArraysOf = Callable[[QuestionFeatures, np.ndarray], dict[str, np.ndarray]]


class QuestionAnsweringConfig(FineTuningConfig):
    """Question answering"""

    TEST_FILE_KEY: ClassVar = "predict_file"
    OF_EVALUATION: ClassVar = frozenset(
        "predict_file evaluate_during_training null_score_diff_threshold max_answer_length n_best_size".split()
    )

    predict_file: str = Field("", description="file to score on; default: that of the task")
    evaluate_during_training: bool = Field(
        True, description="score on predict_file during training (on dev_file, if there is one)"
    )
    max_seq_length: int = Field(
        512, ge=1, description="tokens per row: the question, a window of the context, and special tokens"
    )
    doc_stride: int = Field(128, ge=1, description="tokens from the start of one window to the start of the next")
    max_query_length: int = Field(64, ge=1, description="tokens per question; longer questions are cut")
    max_answer_length: int = Field(30, ge=1, description="most tokens of a predicted answer")
    n_best_size: int = Field(20, ge=1, description="candidate answers to keep for each question")
    version_2_with_negative: bool = Field(False, description="questions may have no answer, as in SQuAD 2.0")
    null_score_diff_threshold: float = Field(
        0.0, description='answer "" if its score exceeds the score of the best answer by more than this'
    )

    @property
    def test_file(self) -> str:
        """The name that every script has for the file that is scored."""
        return self.predict_file

    @property
    def evaluate_test_during_training(self) -> bool:
        """False: questions are evaluated on `dev_file` while training, where there is one."""
        return False

    @property
    def evaluates_every(self) -> Every:
        return super().evaluates_every if self.evaluate_during_training else 0

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if not self.version_2_with_negative:
            yield from without_effect(
                ["null_score_diff_threshold"],
                given,
                ("version_2_with_negative",),
                "without version_2_with_negative",
            )


def read_questions(task: Task, path: Path | None, encoding: str) -> Questions:
    """Questions to be answered, in the format of the task's own files. path: None for standard input."""
    return (task.read_unanswered or read_unanswered)(task, path, encoding)


def encode_questions(
    config: QuestionAnsweringConfig,
    runtime: Runtime,
    model: ReadyModel,
    name: str,
    rows: Questions,
    special: SpecialTokens | None = None,
) -> Split:
    """Cuts the contexts into windows, each with its question, and says, once, what there is to know about them.

    name: of the split. special: what stands around question and window; None: what the tokenizer puts there. The
    windows of the split "train" have `positions` in their batches: first and last token of the answer, `[B, 2]`.
    """
    rows = usable(config, name, rows)
    features = windows_of(config, runtime, model, rows, special)
    gold = GoldSpans.of(features) if name == "train" else None
    return split_of_windows(config, runtime, model, name, features, gold, padded_windows(model))


def usable(config: QuestionAnsweringConfig, name: str, rows: Questions) -> Questions:
    """The rows; for training without those whose answer was not found. Raises DataError, also where none is left."""
    if rows.has_unanswerable and not config.version_2_with_negative:
        first = rows.ids[rows.answers.index(())]
        raise DataError(f"{name}: question {first!r} has no answer: --version_2_with_negative takes such data")
    return learnable(rows) if name == "train" else rows


def learnable(rows: Questions) -> Questions:
    """Without the questions whose answer was not found in the context. Raises DataError where none is left."""
    pairs = zip(rows.spans, rows.answers, strict=True)
    rows = rows.where(np.array([span != UNANSWERABLE or not answers for span, answers in pairs]))
    if not len(rows):
        raise DataError("train: no answer stands where its answer_start says: there is nothing to learn from")
    return rows


def windows_of(
    config: QuestionAnsweringConfig,
    runtime: Runtime,
    model: ReadyModel,
    rows: Questions,
    special: SpecialTokens | None = None,
) -> QuestionFeatures:
    """Windows of the contexts, each with its question, from the cache where they are there."""
    lengths = Lengths(config.max_seq_length, config.doc_stride, config.max_query_length)
    with doing("cut the contexts into windows"), runtime.first_alone():
        cache_dir = Path(config.cache_dir)
        features = build_question_features(rows, model.tokenizer, lengths, cache_dir, config.threads, special)
    say_what_was_damaged(runtime, features.contexts, features.queries)
    return features


def padded_windows(model: ReadyModel) -> ArraysOf:
    """Token ids, attention mask and token types of windows, `[B, L]` each."""

    def arrays_of(features: QuestionFeatures, windows: np.ndarray) -> dict[str, np.ndarray]:
        width = model.collator.width(features.lengths[windows])
        return features.padded(windows, model.tokenizer.pad_token_id, width)

    return arrays_of


def split_of_windows(
    config: QuestionAnsweringConfig,
    runtime: Runtime,
    model: ReadyModel,
    name: str,
    features: QuestionFeatures,
    gold: GoldSpans | None,
    arrays_of: ArraysOf,
) -> Split:
    """The split that these windows make, described on the screen. gold: where the answers are, for training."""
    rows = features.questions
    notes = [f"{what}: {count}" for what, count in rows.counts.items()]
    notes += note_of_long_words(model, [*rows.texts, *rows.contexts], "questions or contexts")
    if features.cut_questions:
        notes.append(f"questions cut to {config.max_query_length} tokens: {features.cut_questions}")
    if gold is not None and gold.inexact:
        notes.append(gold.report())
    if gold is not None and (count := gold.in_no_window(features)):
        notes.append(f"answers that no window holds whole, learned as not there: {count}")
    size = (
        f"{len(rows)} questions about {len(set(rows.context_of))} contexts, "
        f"{len(features)} windows of {features.lengths.mean():.1f} tokens"
    )
    describe(runtime, model, name, size, notes, features.unknown_share, rows.is_labelled)

    def collate(windows: np.ndarray, size: int | None = None) -> dict[str, Any]:
        labels = {} if gold is None else {"positions": gold.positions(features, windows)}
        return model.collator.batch(arrays_of(features, windows), size, **labels)

    content = rows_content(features.content, hash_of((rows.context_of, rows.spans, rows.answers)), len(rows))
    return Split(rows, features, collate, content)


def build_span_model(config: QuestionAnsweringConfig, folder: Path, tokenizer: Any, is_trained: bool) -> Any:
    """The model in a folder with transformers' head for spans, which is trained already or fresh. Raises ModelError."""
    model = build_model(
        folder,
        "question answering",
        from_scratch=config.from_scratch and not is_trained,
        fresh_head=not is_trained,
        attention=config.attention,
    )
    if hasattr(model, "sep_token_id"):
        # BigBird's head finds the question by [SEP], and would go by the id that another vocabulary gives it.
        model.sep_token_id = model.config.sep_token_id = tokenizer.sep_token_id
    return model


def span_logits(model, batch: dict[str, Any]) -> Any:
    """`[B, 2, L]`: how likely each token starts, and ends, the answer."""
    import torch

    outputs = model(**batch["inputs"])
    return torch.stack([outputs.start_logits, outputs.end_logits], dim=1)


def span_cross_entropies(model, batch: dict[str, Any]) -> Any:
    """Sum over the windows of the mean of the cross entropies of start and end."""
    import torch
    from torch.nn.functional import cross_entropy

    outputs = model(**batch["inputs"])
    padding = batch["inputs"]["attention_mask"] == 0
    losses = [
        cross_entropy(
            logits.float().masked_fill(padding, torch.finfo(torch.float32).min),
            batch["positions"][:, i],
            ignore_index=NO_LABEL,
            reduction="sum",
        )
        for i, logits in enumerate((outputs.start_logits, outputs.end_logits))
    ]
    return (losses[0] + losses[1]) / 2


def answers_of(config: QuestionAnsweringConfig, model: ReadyModel, split: Split) -> Predictions:
    """The n best answers to every question."""
    decoder = Decoder(split.features, config.max_answer_length, config.n_best_size, config.version_2_with_negative)
    for windows, logits in predictions_of(config, model, split):
        decoder.add(windows, logits)
    return Predictions(split.rows.ids, list(decoder.answers()), config.null_score_diff_threshold)


def score_answers(
    config: QuestionAnsweringConfig, task: Task, split: Split, outputs: Predictions, n_best: Sequence[int] = ()
) -> Scored:
    """Exact match and F1 as the task's own script computes them, and what the original projects printed besides.

    n_best: the values of n for which the best scores among the n best answers are given, too.
    """
    golds = dict(zip(split.rows.ids, split.rows.answers, strict=True))
    answers = outputs.answers
    if config.version_2_with_negative:
        score_them = task.score or score_with_unanswerable
        metrics = score_them(answers, golds, outputs.null_odds, outputs.answers_if_any)
    else:
        metrics = (task.score or score)(answers, golds)
    figures = numbers_of_questions(golds)
    if task.score is None:  # those of KorQuAD 1.0, beside which KoELECTRA and KoSplinter printed SQuAD's
        figures |= squad_figures(answers, golds)
    if n_best:
        figures |= n_best_figures(outputs.texts, golds, n_best)
    unanswerable = figures.get("no_ans_total", 0) / len(golds)
    return Scored(metrics, outputs, metrics["em"] <= max(unanswerable, CHANCE), {ORIGINAL_FIGURES: figures})


def numbers_of_questions(golds: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many questions there are, with an answer and without; a number that would be 0 is absent, as in SQuAD's."""
    with_answer = sum(map(bool, golds.values()))
    numbers = {"total": len(golds), "has_ans_total": with_answer, "no_ans_total": len(golds) - with_answer}
    return {name: number for name, number in numbers.items() if number}
