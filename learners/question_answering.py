"""What the scripts of extractive question answering share: settings, the learner, and the rest of their recipe."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from models import ModelError, build_model, build_tokenizer, find_model
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from processors.features import NO_LABEL, SpecialTokens, warn_of_unknown
from processors.qa.answer_scores import score, score_with_unanswerable
from processors.qa.decoding import Decoder, Predictions
from processors.qa.questions import UNANSWERABLE, Questions, read_unanswered
from processors.qa.windows import GoldSpans, Lengths, QuestionFeatures, build_question_features
from processors.splits import read_splits
from processors.task import DataError, Task
from training.config import Contradiction, Every, Given, without_effect
from workflows.fine_tuning import Recipe, Split
from workflows.script import Scored
from workflows.settings import FineTuningConfig

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.

# Without knowing the text, some answers are hit all the same.
CHANCE = 0.01


class QuestionAnsweringConfig(FineTuningConfig):
    """Question answering"""

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
        return self.predict_file

    @property
    def evaluate_test_during_training(self) -> bool:
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


class QuestionAnswerer:
    """A model with its tokenizer: what turns questions into batches, batches into losses, and outputs into answers."""

    def __init__(self, config: QuestionAnsweringConfig, runtime, folder: Path, is_trained: bool):
        from models.collator import Collator
        from training.evaluate import Predictor

        self.config, self.runtime, self.task = config, runtime, TASKS[config.task]
        self.tokenizer = build_tokenizer(config.model_type, folder)
        model = self.build(folder, config.from_scratch and not is_trained, is_trained)
        self.collator = Collator.of(model, config, runtime, "max_seq_length")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads
        self.predictor = Predictor(self.model, logits_of, runtime)

    def build(self, folder: Path, from_scratch: bool, is_trained: bool):
        """The model in `folder`, a trained one or one whose head may be fresh."""
        attention = self.config.attention
        model = build_model(
            folder, "question answering", from_scratch=from_scratch, fresh_head=not is_trained, attention=attention
        )
        if hasattr(model, "sep_token_id"):
            # BigBird's head finds the question by it, and would go by the vocabulary of another model.
            model.sep_token_id = model.config.sep_token_id = self.tokenizer.sep_token_id
        return model

    def features_of(self, rows: Questions) -> QuestionFeatures:
        """Windows of the contexts, each with its question."""
        config = self.config
        lengths = Lengths(config.max_seq_length, config.doc_stride, config.max_query_length)
        return build_question_features(
            rows, self.tokenizer, lengths, Path(config.cache_dir), config.threads, self.special_tokens()
        )

    def gold_of(self, features: QuestionFeatures) -> GoldSpans:
        return GoldSpans.of(features)

    def special_tokens(self) -> SpecialTokens | None:
        """What stands around question and window; None: what the tokenizer puts there."""
        return None

    def prepare(self, name: str, rows: Questions) -> Split:
        """Tokenizes the questions of a split, and says, once, what there is to know about them."""
        config, say = self.config, self.runtime.say_once
        if rows.has_unanswerable and not config.version_2_with_negative:
            first = rows.ids[rows.answers.index(())]
            raise DataError(f"{name}: question {first!r} has no answer: --version_2_with_negative takes such data")
        if name == "train":
            rows = learnable(rows)
        features = self.features_of(rows)
        gold = self.gold_of(features) if name == "train" else None
        notes = [f"{what}: {count}" for what, count in rows.counts.items()]
        if features.cut_questions:
            notes.append(f"questions cut to {config.max_query_length} tokens: {features.cut_questions}")
        if gold is not None and gold.inexact:
            notes.append(gold.report())
        if gold is not None and (count := gold.in_no_window(features)):
            notes.append(f"answers that no window holds whole, learned as not there: {count}")
        size = f"{len(rows)} questions about {len(set(rows.context_of))} contexts"
        windows = f"{len(features)} windows of {features.lengths.mean():.1f} tokens"
        say(f"{name}: {size}, {windows}" + "".join(f"; {note}" for note in notes))
        warn_of_unknown(name, features.unknown_share, self.tokenizer.unk_token, rows.is_labelled, say)
        answers = hashlib.sha256(repr((rows.context_of, rows.spans, rows.answers)).encode()).hexdigest()
        content = f"{features.content} {answers}"
        return Split(rows, features, functools.partial(self.collate, features, gold), content)

    def collate(
        self, features: QuestionFeatures, gold: GoldSpans | None, windows: np.ndarray, size: int | None = None
    ) -> dict[str, Any]:
        arrays = self.arrays_of(features, windows)
        labels = {} if gold is None else {"positions": gold.positions(features, windows)}
        return self.collator.batch(arrays, size, **labels)

    def arrays_of(self, features: QuestionFeatures, windows: np.ndarray) -> dict[str, np.ndarray]:
        width = self.collator.width(features.lengths[windows])
        return features.padded(windows, self.tokenizer.pad_token_id, width)

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
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

    def outputs(self, split: Split) -> Predictions:
        """The n best answers of every question."""
        from training.evaluate import evaluate

        config, features = self.config, split.features
        decoder = Decoder(features, config.max_answer_length, config.n_best_size, config.version_2_with_negative)
        batches = evaluate(self.predictor, split.collate, features.lengths, config.eval_batch_size)
        for windows, logits in batches:
            decoder.add(windows, logits)
        return Predictions(split.rows.ids, list(decoder.answers()), config.null_score_diff_threshold)

    def score(self, split: Split) -> Scored:
        """Exact match and F1 as the task's script has them."""
        outputs = self.outputs(split)
        golds = dict(zip(split.rows.ids, split.rows.answers, strict=True))
        if self.config.version_2_with_negative:
            score_them = self.task.score or score_with_unanswerable
            metrics = score_them(outputs.answers, golds, outputs.null_odds, outputs.answers_if_any)
        else:
            metrics = (self.task.score or score)(outputs.answers, golds)
        unanswerable = sum(not answers for answers in golds.values()) / len(golds)
        return Scored(metrics, outputs, metrics["em"] <= max(unanswerable, CHANCE))


def logits_of(model, batch: dict[str, Any]) -> Any:
    """`[B, 2, L]`: how likely each token starts, and ends, the answer."""
    import torch

    outputs = model(**batch["inputs"])
    return torch.stack([outputs.start_logits, outputs.end_logits], dim=1)


def learnable(rows: Questions) -> Questions:
    """Without the questions whose answer was not found in the context. Raises DataError where none is left."""
    pairs = zip(rows.spans, rows.answers, strict=True)
    rows = rows.where(np.array([span != UNANSWERABLE or not answers for span, answers in pairs]))
    if not len(rows):
        raise DataError("train: no answer stands where its answer_start says: there is nothing to learn from")
    return rows


def read_inputs(task: Task, path: Path | None, encoding: str) -> Questions:
    """Questions to be answered, in the format of the task's own files."""
    return (task.read_unanswered or read_unanswered)(task, path, encoding)


def prediction_files(task: Task, rows: Questions, outputs: Predictions, exact: bool) -> dict[str, str]:
    """`predictions.json`, which the official script reads, `nbest_predictions.json`, and `null_odds.json`."""
    return outputs.files()


def recipe_of(
    script: str,
    config_class: type[QuestionAnsweringConfig],
    learner: Callable[[Any, Any, Path, bool], QuestionAnswerer],
) -> Recipe:
    return Recipe(
        tasks={task.name: task for task in TASKS_OF_SCRIPT[script]},
        script_of_task=SCRIPT_OF_TASK,
        config_class=config_class,
        errors=(DataError, ModelError),
        find_model=find_model,
        learner=learner,
        read_splits=read_splits,
        read_inputs=read_inputs,
        prediction_files=prediction_files,
        test_file_key="predict_file",
    )
