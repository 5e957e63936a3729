"""Fine-tunes Splinter, or any encoder in its place, on few questions, scores it, and answers new ones.

python3 run_splinter_qa.py --config_file kosplinter.json --model_name_or_path kosplinter/ \\
    --few_shot 16 32 64 128 256 512 1024 full --samples 3
python3 run_splinter_qa.py --config_file koelectra-base-v3.json --few_shot 16 32 64 128 256 512 1024 full --samples 3
python3 run_splinter_qa.py --config_file kosplinter.json --model_name_or_path kosplinter/          # all questions, once
python3 run_splinter_qa.py --model_name_or_path ckpt/splinter-base/checkpoint-<step> --few_shot 64 --keep_models
python3 run_splinter_qa.py --model_name_or_path FOLDER_OR_HUB_ID --do_eval               # a model fine-tuned elsewhere
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from workflows.startup import start

    start()

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models import ModelError, find_model, weight_files
from processors import TASKS, TASKS_OF_SCRIPT
from processors.qa.decoding import Predictions
from processors.qa.questions import Questions
from training.config import Contradiction, Given, without_effect
from training.results import QUESTION_SCORES_FILE
from workflows.data_parts import parts_of
from workflows.few_shot import FewShotConfig, begin_study, end_study, running
from workflows.fine_tuning import ReadyModel, Split, find_model_folder, load_tokenizer, make_ready, read_rows, train
from workflows.predictions import read_inputs, write_predictions
from workflows.question_answering import (
    QuestionAnsweringConfig,
    answers_of,
    build_span_model,
    encode_questions,
    learnable,
    score_answers,
    span_cross_entropies,
    span_logits,
)
from workflows.scoring import Scored, score_checkpoints, selected_checkpoint, write_results
from workflows.script import open_device, run_script
from workflows.span_selection import (
    build_span_selector,
    encode_asking_questions,
    plain_special_tokens,
    read_askable_questions,
    scores_of_questions,
    span_selection_losses,
    without_texts_that_ask,
)
from workflows.splinter_positions import warn_of_other_positions

# KoSplinter printed the scores among so many best answers.
AMONG_THE_BEST = (1, 3, 5, 10)


class SplinterQuestionAnsweringConfig(QuestionAnsweringConfig, FewShotConfig):
    """Splinter"""

    OF_TRAINING_ALONE: ClassVar = frozenset({"initialize_new_qass", "add_question_token", "full_train_epochs"})

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


def main(config: SplinterQuestionAnsweringConfig, overwrite: bool) -> dict[str, Any] | None:
    """One run on all questions, or a study with few of them."""
    if config.few_shot is None:
        return fine_tune(config.of_one_run(), overwrite)
    task = TASKS[config.task]
    model = find_model(config.model_type, config.model_name_or_path)
    rows = read_askable_rows(config)  # the test rows too: nothing is deleted or trained where they cannot be read
    questions = parts_of(config, task)
    files = {
        "weights of the model": [] if config.from_scratch else weight_files(model),
        "questions to train on": questions["train"],
        "questions to be scored with": questions["test"],
    }
    cells = begin_study(config, overwrite, learnable(rows["train"]).ids, files)
    for cell in cells:
        if not cell.is_finished:
            with running(cell) as settings:
                fine_tune(settings, overwrite=False, sample=cell.sample)
    end_study(config, cells)
    return None


def fine_tune(
    config: SplinterQuestionAnsweringConfig, overwrite: bool, sample: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """A run from its files to its scores and answers. sample: ids of the questions to learn from; None: all.

    Returns the results, or None where nothing is scored.
    """
    task = TASKS[config.task]
    rows = read_askable_rows(config)
    if sample is not None:
        wanted = set(sample)
        rows["train"] = rows["train"].where(np.array([id in wanted for id in rows["train"].ids]))
    questions = read_inputs(config, task, read_askable_questions)
    folder = find_model_folder(config, task)
    runtime = open_device(config)
    results = None

    def encode(model: ReadyModel, name: str, rows: Questions) -> Split:
        if config.head == "qass":
            return encode_asking_questions(config, runtime, model, name, rows)
        return encode_questions(config, runtime, model, name, rows, plain_special_tokens(model.tokenizer))

    def score(model: ReadyModel, split: Split) -> Scored:
        return score_answers(config, task, split, answers_of(config, model, split), AMONG_THE_BEST)

    if config.do_train:
        if not config.from_scratch:
            warn_of_other_positions(runtime, folder)
        runtime.seed(config.seed)
        model = load(config, runtime, folder, is_trained=False)
        splits = {name: encode(model, name, rows[name]) for name in rows}
        loss_of = span_selection_losses if config.head == "qass" else span_cross_entropies
        train(config, runtime, task, model, splits, loss_of, score, overwrite)
        del model, splits  # frees memory before the checkpoints are loaded
    if config.dry_run:
        return None

    if config.do_eval:

        def load_checkpoint(checkpoint: Path) -> tuple[ReadyModel, Split]:
            model = load(config, runtime, checkpoint, is_trained=True)
            return model, encode(model, "test", rows["test"])

        selected = score_checkpoints(config, runtime, task, folder, load_checkpoint, score)
        files = prediction_files(rows["test"], selected.scored.outputs)
        results = write_results(config, runtime, task, selected, len(rows["test"]), files)

    if config.do_predict:
        checkpoint = selected_checkpoint(config, task, folder)
        model = load(config, runtime, checkpoint, is_trained=True)
        answers = answers_of(config, model, encode(model, "predict", questions))
        write_predictions(config, runtime, checkpoint, len(questions), prediction_files(questions, answers))
    return results


def read_askable_rows(config: SplinterQuestionAnsweringConfig) -> dict[str, Questions]:
    """The rows of the splits that the run needs, without those that hold [QUESTION]."""
    rows = read_rows(config, TASKS[config.task])
    return {name: without_texts_that_ask(split, config.skip_bad_rows) for name, split in rows.items()}


def load(config: SplinterQuestionAnsweringConfig, runtime, folder: Path, is_trained: bool) -> ReadyModel:
    """The model in a folder with its head, which is trained already or fresh."""
    tokenizer = load_tokenizer(config, runtime, folder)
    if config.head == "qass":
        model = build_span_selector(config, runtime, folder, tokenizer, is_trained)
    else:
        model = build_span_model(config, folder, tokenizer, is_trained)
        if model.config.model_type == "splinter":  # transformers' format, which knows no other head than its own
            if is_trained:
                raise ModelError(f"{folder} holds the qass head of a Splinter, and none that is linear: --head qass")
            from models.splinter import build_with_ordinary_head

            model = build_with_ordinary_head(folder, config.from_scratch and not is_trained)
    return make_ready(config, runtime, model, tokenizer, span_logits, "max_seq_length")


def prediction_files(rows: Questions, outputs: Predictions) -> dict[str, str]:
    """The answers, and EM and F1 of each question that has a known one."""
    files = outputs.files()
    if rows.is_labelled:
        files[QUESTION_SCORES_FILE] = json.dumps(scores_of_questions(rows, outputs), ensure_ascii=False) + "\n"
    return files


if __name__ == "__main__":
    tasks = TASKS_OF_SCRIPT["run_splinter_qa.py"]
    sys.exit(run_script(__file__, __doc__, sys.argv[1:], SplinterQuestionAnsweringConfig, tasks, main))
