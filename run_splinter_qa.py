"""Fine-tunes Splinter, or any encoder in its place, on few questions, scores it, and answers new ones.

python3 run_splinter_qa.py --config_file kosplinter.json --model_name_or_path kosplinter/ \\
    --few_shot 16 32 64 128 256 512 1024 full --samples 3
python3 run_splinter_qa.py --config_file koelectra-base-v3.json --few_shot 16 32 64 128 256 512 1024 full --samples 3
python3 run_splinter_qa.py --config_file kosplinter.json --model_name_or_path kosplinter/          # all questions, once
python3 run_splinter_qa.py --model_name_or_path ckpt/splinter-base/checkpoint-<step> --few_shot 64 --keep_models
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from learners.question_answering import (
    QuestionAnswerer,
    QuestionAnsweringConfig,
    learnable,
    prediction_files,
    read_inputs,
    recipe_of,
)
from models import ModelError, find_model, weight_files
from processors import TASKS
from processors.features import SpecialTokens
from processors.qa.answer_scores import best, best_or_none
from processors.qa.decoding import Predictions
from processors.qa.few_shot_samples import draw_sample, read_sample
from processors.qa.questions import Questions
from processors.qa.windows import GoldSpans, QuestionFeatures
from processors.splits import read_splits
from processors.task import DataError, Task
from training.config import Contradiction, Given, without_effect
from training.results import QUESTION_SCORES_FILE
from workflows.few_shot import SAMPLE_FILE, FewShotConfig, run_study
from workflows.fine_tuning import Split, fine_tune, read, run_recipe

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


class SplinterQuestionAnsweringConfig(QuestionAnsweringConfig, FewShotConfig):
    """Splinter"""

    task: Literal["korquad-few-shot"] = Field("korquad-few-shot", description="name of the task")
    head: Literal["qass", "linear"] = Field(
        "qass",
        description="qass: Splinter's question-aware span selection; linear: the ordinary head, which works with "
        "any encoder",
    )
    initialize_new_qass: bool = Field(True, description="start with a fresh qass head instead of the pretrained one")
    add_question_token: bool = Field(False, description="add [QUESTION] to a vocabulary that lacks it")
    kosplinter_compat: bool = Field(
        False,
        description="reproduce KoSplinter's published numbers: [MASK] in place of [QUESTION], [SEP] expected at id 102",
    )

    @classmethod
    def of_training(cls) -> set[str]:
        """Without what a checkpoint's vocabulary shows by itself."""
        return super().of_training() - {"add_question_token"}

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.head == "linear":
            keys = ("initialize_new_qass", "add_question_token", "kosplinter_compat")
            yield from without_effect(keys, given, ("head",), "on head linear")
        if self.head == "qass" and self.attention:
            message = "attention is a setting of BigBird models, which take only head linear"
            yield Contradiction(("attention", "head"), message)


class FewShotAnswerer(QuestionAnswerer):
    """As any other, trained on a sample of the questions.

    sample: their ids; None: all.
    """

    def __init__(self, config, runtime, folder: Path, is_trained: bool, sample: Sequence[str] | None = None):
        super().__init__(config, runtime, folder, is_trained)
        self.sample = sample

    def build(self, folder: Path, from_scratch: bool, is_trained: bool):
        model = super().build(folder, from_scratch, is_trained)
        if model.config.model_type == "splinter":  # transformers' format, which knows no other head than its own
            from models.splinter import build_with_ordinary_head

            model = build_with_ordinary_head(folder, from_scratch)
        return model

    def special_tokens(self) -> SpecialTokens:
        """`[CLS] question [SEP] window [SEP]`, also where transformers' tokenizer of Splinter would ask in between."""
        from models.splinter import QUESTION

        special = SpecialTokens.of(self.tokenizer, pair=True)
        if self.tokenizer.get_vocab().get(QUESTION) not in special.middle:
            return special
        return dataclasses.replace(special, middle=special.middle[-1:])

    def prepare(self, name: str, rows: Questions) -> Split:
        if name == "train" and self.sample is not None:
            wanted = set(self.sample)
            rows = rows.where(np.array([id in wanted for id in rows.ids]))
        return super().prepare(name, rows)


class SpanSelectionAnswerer(FewShotAnswerer):
    """Splinter: a [QUESTION] after the question asks for the answer, and attention does not see [SEP]."""

    def build(self, folder: Path, from_scratch: bool, is_trained: bool):
        from models.splinter import add_question_token, build_splinter, set_token_ids

        config = self.config
        try:
            model = build_splinter(folder, config.initialize_new_qass and not is_trained, from_scratch)
        except ModelError as error:
            hint = " (--head linear takes any encoder)" if "Splinter is made of BERT" in str(error) else ""
            raise ModelError(f"{error}{hint}") from None
        if config.add_question_token and not is_trained:
            add_question_token(self.tokenizer, model)
        set_token_ids(model, self.tokenizer, None if is_trained else config.kosplinter_compat)
        self.question_id, self.hidden_id = model.config.question_token_id, model.config.hidden_token_id
        if not is_trained:
            asks, hidden = self.tokenizer.convert_ids_to_tokens([self.question_id, self.hidden_id])
            head = "a fresh qass head" if config.initialize_new_qass or from_scratch else "the pretrained qass head"
            self.runtime.say_once(f"{head}; {asks} asks, {hidden} is hidden from attention")
        return model

    def special_tokens(self) -> SpecialTokens:
        """`[CLS] question [QUESTION] . [SEP] window [SEP]`: as words of the question, but never cut off with it."""
        from models.splinter import QUESTION

        special = SpecialTokens.of(self.tokenizer, pair=True)
        own, asked = self.tokenizer.get_vocab().get(QUESTION), [self.question_id]
        if own in special.middle:  # transformers' tokenizer of Splinter puts it there, and the full stop
            at = special.middle.index(own)
            return dataclasses.replace(special, middle=special.middle[:at] + asked + special.middle[at + 1 :])
        ids = self.tokenizer(f"{QUESTION}.", add_special_tokens=False)["input_ids"]
        full_stop = ids[ids.index(own) + 1 :] if own in ids else ids[-1:]
        return dataclasses.replace(special, middle=asked + full_stop + special.middle)

    def features_of(self, rows: Questions) -> QuestionFeatures:
        """Raises DataError where a text asks by itself: tokens can come about that the text does not show."""
        features = super().features_of(rows)
        asking = np.isin(features.context_of, features.contexts.rows_with("input_ids", self.question_id))
        asking[features.queries.rows_with("input_ids", self.question_id)] = True
        if asking.any():
            refuse_texts_that_ask(rows, asking, self.tokenizer.convert_ids_to_tokens(self.question_id))
        return features

    def gold_of(self, features: QuestionFeatures) -> GoldSpans:
        """Without answers that begin or end at a hidden token: no logit there can be learned."""
        gold = super().gold_of(features)
        tokens = [features.contexts.row("input_ids", context) for context in features.context_of]
        ends = zip(tokens, gold.first, gold.last, strict=True)
        hidden = np.array([first >= 0 and self.hidden_id in (ids[first], ids[last]) for ids, first, last in ends])
        if hidden.any():
            first = features.questions.ids[int(hidden.argmax())]
            self.runtime.say_once(
                f"answers that begin or end at a token hidden from attention, learned as not there: {hidden.sum()} "
                f"(first {first!r})"
            )
        return dataclasses.replace(gold, first=np.where(hidden, -1, gold.first), last=np.where(hidden, -1, gold.last))

    def arrays_of(self, features: QuestionFeatures, windows: np.ndarray) -> dict[str, np.ndarray]:
        from models.splinter import visible_tokens

        arrays, special = super().arrays_of(features, windows), features.special
        arrays["attention_mask"] = visible_tokens(arrays["input_ids"], arrays["attention_mask"], self.hidden_id)
        columns = len(special.prefix) + features.query_lengths[features.question[windows]]
        return arrays | {"columns": columns + special.middle.index(self.question_id)}

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
        """Sum over the windows of the mean of the cross entropies of start and end."""
        starts, ends = batch["positions"].unbind(dim=1)
        outputs = model(**batch["inputs"], starts=starts, ends=ends)
        return (outputs.start_loss + outputs.end_loss) / 2


def build_answerer(
    config, runtime, folder: Path, is_trained: bool, sample: Sequence[str] | None = None
) -> QuestionAnswerer:
    answerer = SpanSelectionAnswerer if config.head == "qass" else FewShotAnswerer
    return answerer(config, runtime, folder, is_trained, sample)


def refuse_texts_that_ask(rows: Questions, asking: np.ndarray, token: str, hint: str = "") -> None:
    """Raises DataError. asking: bool `[N]`, which questions, or the contexts of which, hold the token."""
    raise DataError(
        f"question {rows.ids[int(asking.argmax())]!r} or its context holds {token}, which stands where the answer is "
        f"asked for, once in a row; questions of this kind: {asking.sum()}{hint}"
    )


def without_texts_that_ask(rows: Questions, skip_bad_rows: bool = False) -> Questions:
    """Of every head's rows, or two heads would not learn from the same, nor be scored on the same."""
    from models.splinter import QUESTION

    pairs = zip(rows.texts, rows.context_of, strict=True)
    asking = np.array([QUESTION in text or QUESTION in rows.contexts[context] for text, context in pairs])
    if not asking.any():
        return rows
    if not skip_bad_rows:
        hint = ". --skip_bad_rows leaves them out" if rows.is_labelled else ""
        refuse_texts_that_ask(rows, asking, QUESTION, hint)
    first = rows.ids[int(asking.argmax())]
    rows = rows.where(~asking)
    rows.counts[f"questions left out that hold {QUESTION}, first {first!r}"] += int(asking.sum())
    return rows


def read_askable_splits(task: Task, names, files, encoding, skip_bad_rows, seed, test_file_key) -> dict[str, Questions]:
    splits = read_splits(task, names, files, encoding, skip_bad_rows, seed, test_file_key)
    return {name: without_texts_that_ask(rows, skip_bad_rows) for name, rows in splits.items()}


def read_askable_inputs(task: Task, path: Path | None, encoding: str) -> Questions:
    return without_texts_that_ask(read_inputs(task, path, encoding))


def files_of(task: Task, rows: Questions, outputs: Predictions, exact: bool) -> dict[str, str]:
    """The predictions, and EM and F1 of each question, which comparisons of two models need."""
    files = prediction_files(task, rows, outputs, exact)
    if rows.is_labelled:
        score, answers = best_or_none if rows.has_unanswerable else best, outputs.answers
        scores = {id: score(answers[id], golds) for id, golds in zip(rows.ids, rows.answers, strict=True)}
        files[QUESTION_SCORES_FILE] = json.dumps(scores, ensure_ascii=False) + "\n"
    return files


RECIPE = dataclasses.replace(
    recipe_of("run_splinter_qa.py", SplinterQuestionAnsweringConfig, build_answerer),
    read_splits=read_askable_splits,
    read_inputs=read_askable_inputs,
    prediction_files=files_of,
)


def run(config: SplinterQuestionAnsweringConfig, overwrite: bool) -> dict[str, Any] | None:
    """One run on all questions, or a study with few of them."""
    if config.few_shot is None:
        return fine_tune(RECIPE, config.of_one_run(), overwrite)
    folder = find_model(config.model_type, config.model_name_or_path)
    ids = learnable(read(RECIPE, config.model_copy(update={"do_eval": False}))["train"]).ids

    def sample_of(size: int, seed: int) -> Sequence[str]:
        if config.sample_dir:
            return read_sample(Path(config.sample_dir) / str(size) / f"seed-{seed}" / SAMPLE_FILE, ids, size)
        return draw_sample(ids, size, seed)

    def run_cell(cell, sample: Sequence[str] | None) -> dict[str, Any]:
        recipe = dataclasses.replace(RECIPE, learner=functools.partial(build_answerer, sample=sample))
        return fine_tune(recipe, cell, overwrite=False)

    questions = config.files(TASKS[config.task].folder)
    files = {
        "weights of the model": [] if config.from_scratch else weight_files(folder),
        "questions to train on": questions["train"],
        "questions to be scored with": questions["test"],
    }
    run_study(config, overwrite, sample_of, run_cell, files)
    return None


if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE, run))
