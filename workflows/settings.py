"""Settings of the fine-tuning scripts, each declared once: its type, its default, its unit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, field_validator

from models import MODELS, unknown_model
from models.word_limit import MOST as MOST_WORD_CHARACTERS
from storage.names import on_disk
from training.config import (
    EVALUATION_STEPS,
    LARGEST_SEED,
    Contradiction,
    Given,
    LoopConfig,
    Section,
    TrainingConfig,
    is_typed,
    without_effect,
)

HANBERT_LIBRARY = (
    "folder whose libmoran4dnlp.so, HanBERT's analyser, is loaded and run; default: $HANBERT_MORAN, else the package "
    "hanbert-tokenizer"
)


class DataConfig(Section):
    """Data"""

    task: str = Field(description="name of the task")
    data_dir: str = Field("data", description="folder that holds one folder per task")
    train_file: str | list[str] = Field("", description="training file or files; default: those of the task")
    data_source: str = Field(
        "official",
        description="official: the files in data_dir; hub: the task's data set on the Hugging Face hub; otherwise a "
        "hub id (owner/name, which :configuration and @revision may follow) or a local folder that the datasets "
        "library reads. Then train_file, dev_file and the file of the test split name its splits",
    )
    dev_file: str = Field("", description='development file, or "" for none; default: that of the task')
    encoding: Literal["utf-8", "cp949"] = Field("utf-8", description="encoding of the data files")
    skip_bad_rows: bool = Field(False, description="skip malformed rows and count them, instead of stopping")
    threads: int = Field(
        1,
        ge=1,
        description="processes of a tokenizer that is written in Python (HanBERT); other tokenizers use all cores",
    )
    cache_dir: str = Field(
        "cache", description="folder where tokenized data is kept; it is reused only for the same content"
    )
    do_lower_case: Literal[False] = Field(
        False, description="accepted so that older files can be read; the model decides about lower-casing"
    )
    verbose_logging: bool = Field(False, description="accepted so that older files can be read; has no effect")


class ModelConfig(Section):
    """Model"""

    model_type: str | None = Field(None, description="name of a known model, such as koelectra-base-v3")
    model_name_or_path: str | None = Field(
        None,
        description="model to load: hub id or local folder. Typed with --do_eval or --do_predict and without "
        "--do_train: the fine-tuned model to score or to use, in place of the checkpoints in the output folder; "
        "default: the hub id of model_type",
    )
    from_scratch: bool = Field(
        False, description="start with fresh weights; only architecture and tokenizer come from the model"
    )
    no_unpad: bool = Field(False, description="run the encoder on padded rows instead of leaving the padding out")
    attention: Literal["sparse", "full"] | None = Field(
        None, description="attention of a BigBird model; default: the one that it was trained with"
    )
    max_word_characters: int | None = Field(
        None,
        ge=1,
        le=MOST_WORD_CHARACTERS,
        description="words of more characters than this become [UNK]; default: the "
        "tokenizer's own limit, which is 100 as published",
    )
    hanbert_library: str | None = Field(None, description=HANBERT_LIBRARY)

    @field_validator("model_name_or_path")
    @classmethod
    def _one_name_for_a_folder(cls, value: str | None) -> str | None:
        """Removes a slash at the end, which a shell adds: `kosplinter/` and `kosplinter` are the same model."""
        return value and (value.rstrip("/") or value)

    @property
    def model_name(self) -> str:
        """The model's name in folders, results and tables: its type, else the last part of its hub id or path.

        For a checkpoint this is `<folder of its run>-checkpoint-<step>`, as its own folder does not name the model.
        """
        return self.model_type or self._last_part_of_path()

    def _last_part_of_path(self) -> str:
        path = Path(self.model_name_or_path).absolute()
        return f"{path.parent.name}-{path.name}" if re.fullmatch(r"checkpoint-\d+", path.name) else path.name

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        knows_its_model = self.output_dir and not self.do_train  # the run there does
        if not self.model_type and not self.model_name_or_path and not knows_its_model:
            message = "no model: set model_type (a known model) or model_name_or_path (a hub id or a local folder)"
            yield Contradiction(("model_type", "model_name_or_path"), message)
        if self.model_type and (problem := unknown_model(self.model_type)):
            yield Contradiction(("model_type",), problem)
        elif self.model_type and MODELS[self.model_type].tokenizer != "hanbert":
            why = f"with model_type {self.model_type}, whose tokenizer is not HanBERT's"
            yield from without_effect(["hanbert_library"], given, ("model_type",), why)


class StagesConfig(Section):
    """Runs"""

    do_train: bool = Field(True, description="train the model")
    seeds: list[int] | None = Field(
        None,
        description="train once per seed, each time into a folder of its own, and report mean and standard deviation",
    )

    @field_validator("seeds")
    @classmethod
    def _seeds_are_seeds(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and not (value and all(0 <= seed <= LARGEST_SEED for seed in value)):
            raise ValueError(f"must be one or more whole numbers from 0 to {LARGEST_SEED}")
        if value is not None and len(set(value)) < len(value):
            raise ValueError("must not name a seed twice")
        return value

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if is_typed("seed", given) and self.seeds is not None:
            yield Contradiction(("seed", "seeds"), "--seed and seeds both say which seed: give one")
        if not self.do_train:
            idle = [key for key in TrainingConfig.model_fields if key != "seed"]
            idle += [
                "from_scratch",
                "max_word_characters",
                "save_steps",
                "save_total_limit",
                "save_optimizer",
                "overwrite_output_dir",
                "report_to",
            ]
            yield from without_effect(idle, given, ("do_train",), "without training (do_train is false)")


class EvaluationConfig(Section):
    """Evaluation and prediction"""

    do_eval: bool = Field(
        True,
        description="score the checkpoints of this run or of an earlier one, or a named model (model_name_or_path)",
    )
    eval_batch_size: int = Field(64, ge=1, description="rows per device in one batch of scoring or prediction")
    eval_all_checkpoints: bool = Field(True, description="score every checkpoint at the end, not only the selected one")
    select_by: Literal["auto", "dev", "last", "test"] = Field(
        "auto",
        description="checkpoint to report: the best on dev, the last, or the best on test; auto: dev if it is "
        "evaluated during training, else test",
    )
    do_predict: bool = Field(
        False, description="predict on the texts of input_file with the selected checkpoint, or with a named model"
    )
    input_file: str | None = Field(
        None,
        description="file to predict on, one text per line (questions: the format of the task's own files); -: "
        "standard input",
    )
    output_file: str | None = Field(
        None, description="file for the predictions; -: standard output; default: a file in the output folder"
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.do_predict and self.input_file is None:
            message = "do_predict needs input_file: the file to predict on, or - for standard input"
            yield Contradiction(("do_predict", "input_file"), message)
        # A stage that the command line turned off may stay prepared in the file.
        turned_off = "do_predict" in given and given["do_predict"].kind == "other stage"
        for key in ("input_file", "output_file"):
            if getattr(self, key) is not None and not self.do_predict and (is_typed(key, given) or not turned_off):
                yield Contradiction((key, "do_predict"), f"{key} has no effect without do_predict")


class TestSplitConfig(Section):
    """Test split"""

    test_file: str = Field("", description='test file, or "" for none; default: that of the task')
    evaluate_test_during_training: bool = Field(
        False, description="evaluate on the test split during training, even if there is a dev split"
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.evaluates_every == 0:
            keys = ["evaluate_test_during_training"]
            yield from without_effect(keys, given, EVALUATION_STEPS, "when nothing is evaluated (eval_steps is 0)")


class FineTuningConfig(DataConfig, ModelConfig, StagesConfig, LoopConfig, EvaluationConfig):
    """The settings that all fine-tuning scripts share.

    A script adds its own settings. It defines `test_file` and `evaluate_test_during_training` as fields
    (`TestSplitConfig`) or as properties.
    """

    # The script's own settings that matter for scoring and prediction only, and not for training.
    OF_EVALUATION: ClassVar[frozenset[str]] = frozenset()
    # The script's own settings that nothing but a training reads.
    OF_TRAINING_ALONE: ClassVar[frozenset[str]] = frozenset()
    # What the script calls the file of the test split.
    TEST_FILE_KEY: ClassVar[str] = "test_file"
    STAGES: ClassVar[tuple[str, ...]] = ("do_train", "do_eval", "do_predict")

    _uses_named_model: bool = PrivateAttr(False)

    @property
    def uses_named_model(self) -> bool:
        """Whether the model that the command line names is scored and used, and not the checkpoints of a run."""
        return self._uses_named_model

    def as_given(self, given: Given) -> Self:
        """A model that was typed, and is not to be trained, is used as it is.

        Of a JSON file, which is about a training, the output folder and the seeds are left out then.
        """
        if self.do_train or not is_typed("model_name_or_path", given):
            return self
        output_dir = self.output_dir if is_typed("output_dir", given) else None
        config = self.model_copy(update={"output_dir": output_dir, "seeds": None})
        config._uses_named_model = True
        return config

    @property
    def model_name(self) -> str:
        """As for every model; but a named one goes by its path alone, as models of one type are different ones."""
        return self._last_part_of_path() if self.uses_named_model else super().model_name

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        stages = self.STAGES
        if not (self.do_train or self.do_eval or self.do_predict):
            yield Contradiction(stages, "nothing to do: do_train, do_eval and do_predict are all false")
        if self.do_predict and not (self.do_train or self.do_eval):
            why = "on input_file: every text in it must be readable"
            yield from without_effect(["skip_bad_rows"], given, stages, why)
        if self.dry_run and not self.do_train:
            yield Contradiction(("dry_run", "do_train"), "--dry_run needs training, but do_train is false")
        if self.dry_run and self.seeds is not None:
            yield Contradiction(("dry_run", "seeds"), "--dry_run takes one run: leave seeds out")
        if self.do_predict and self.seeds is not None:
            message = "do_predict takes one run: name its folder with output_dir instead of seeds"
            yield Contradiction(("do_predict", "seeds"), message)
        if not self.do_train and is_typed("model_name_or_path", given):
            yield from self._contradictions_of_named_model(given)
        if self.data_source != "official":
            why = "on the rows of a data source"
            yield from without_effect(["data_dir"], given, ("data_source",), why)
        yield from self._contradictions_of_selection()

    def _contradictions_of_named_model(self, given: Given) -> Iterator[Contradiction]:
        """What was typed about the training or the selection of a model that has been trained and named."""
        idle = {"resume", "seeds", "select_by", "eval_all_checkpoints", "logging_steps", "eval_steps", "dev_file"}
        idle |= {"evaluate_test_during_training", "evaluate_during_training"} & type(self).model_fields.keys()
        idle |= {"train_file", "seed"} if self.test_file else set()  # otherwise they say which rows the test has
        why = "on a model that --model_name_or_path names to be scored or used as it is"
        yield from without_effect(
            sorted(idle | self.OF_TRAINING_ALONE), given, ("model_name_or_path", *self.STAGES), why
        )

    def _contradictions_of_selection(self) -> Iterator[Contradiction]:
        splits = ("dev_file", "evaluate_test_during_training")
        if self.select_by == "dev" and self.training_split != "dev":
            message = "select_by dev needs a dev split (dev_file) that is evaluated during training; this run has none"
            yield Contradiction(("select_by", *splits), message)
        if self.select_by == "dev" and self.do_train and self.evaluates_every == 0:
            message = "select_by dev needs evaluations during training: set eval_steps"
            yield Contradiction(("select_by", "do_train", *EVALUATION_STEPS), message)
        selects_by_other_split = self.select_by in ("dev", "test") and self.select_by != self.training_split
        if self.do_train and self.save_total_limit and selects_by_other_split:
            message = (
                f"save_total_limit keeps the checkpoint that is best on {self.training_split}, which may differ from "
                f"the best on {self.select_by} (select_by): leave one of them out"
            )
            yield Contradiction(("save_total_limit", "select_by", "do_train", *splits), message)

    @property
    def run_dir(self) -> Path:
        """The folder that everything of this run goes into."""
        kind = "eval" if self.uses_named_model else "ckpt"
        return on_disk(Path(self.ckpt_dir) / (self.output_dir or f"{self.model_name}-{self.task}-{kind}"))

    def identity(self, precision: str) -> dict[str, Any]:
        """The settings that must be the same when a run is resumed.

        precision: the one that the run computes in, never "auto".
        """
        keys = {"task"} | set(ModelConfig.model_fields) | set(TrainingConfig.model_fields)
        keys -= {"early_stopping_patience", "hanbert_library"}  # the tokens of the rows are compared
        return self.model_dump(include=keys | self.of_training()) | {"precision": precision}

    @classmethod
    def of_training(cls) -> set[str]:
        """The script's own settings that decide what a checkpoint has learned."""
        return set(cls.model_fields) - set(FineTuningConfig.model_fields) - cls.OF_EVALUATION

    def files(self, folder: str) -> dict[str, list[Path]]:
        """The files of each split: those in `data_dir/folder`, and those that are named by an absolute path."""
        training = self.train_file if isinstance(self.train_file, list) else [self.train_file]
        names = {"train": training, "dev": [self.dev_file], "test": [self.test_file]}
        root = Path(self.data_dir) / folder
        return {split: [as_stored(root / file) for file in files if file] for split, files in names.items()}

    @property
    def training_split(self) -> str:
        """The split that is evaluated during training: dev if there is a dev file, as in the original projects."""
        return "dev" if self.dev_file and not self.evaluate_test_during_training else "test"

    @property
    def selection(self) -> str:
        """How the reported checkpoint is chosen: the best on dev, the best on test, or the last."""
        if self.select_by != "auto":
            return self.select_by
        if self.evaluates_every != 0:
            return self.training_split
        return "test" if self.eval_all_checkpoints else "last"


def as_stored(path: Path) -> Path:
    """The path itself, or `<name>.gz` if only this compressed file exists."""
    if not path.parent.is_dir():  # `paws/../paws_small/train.tsv` does not need a folder `paws`
        path = Path(os.path.normpath(path))
    path, compressed = on_disk(path), on_disk(path.with_name(f"{path.name}.gz"))
    return compressed if not path.exists() and compressed.is_file() else path
