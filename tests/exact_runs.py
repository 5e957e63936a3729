"""Commands for all seven scripts that come out the same on any device and any number of devices: no dropout, fp32."""

from __future__ import annotations

import functools
import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, BigBirdConfig, ElectraConfig

from conftest import REPOSITORY, User, nsmc, sample
from models import build_tokenizer
from models.collator import Collator
from processors import SCRIPT_OF_TASK, TASKS_OF_SCRIPT
from processors.pretraining.blocks import Blocks
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import open_corpus
from training.command_line import resolve
from training.row_random import RowDraws
from training.runtime import Runtime
from training.step import LossOf
from workflows.fine_tuning import ReadyModel, Split
from workflows.recurring_questions import QuestionRules, splinter_vocabulary

CONFIG = REPOSITORY / "config"

# With AdamW's usual epsilon a gradient that is rounding alone, as that of a key's bias, would make steps of full size.
EXACT = "--logging_steps 1 --adam_epsilon 1e-4 --precision fp32".split()
BRIEF = "--max_steps 5 --eval_steps 5 --save_steps 5".split()
QA = ["--max_seq_length", 64, "--doc_stride", 16, "--max_query_length", 24]
CORPUS = ["--corpus", "sample_data/corpus.jsonl", "--max_seq_length", 64]
COMMANDS = {
    "run_seq_cls.py": nsmc("{}"),
    "run_ner.py": sample("naver-ner", "{}"),
    "run_squad.py": sample("korquad", "{}", *QA),
    "run_long_qa.py": sample("tydiqa", "{}", "--max_seq_length", 1024, "--doc_stride", 256, "--eval_batch_size", 8),
    "run_splinter_qa.py": ["--output_dir", "{}", "--data_dir", "sample_data", "--add_question_token", *QA],
    "pretrain_spanbert.py": ["--output_dir", "{}", *CORPUS],
    "pretrain_splinter.py": ["--output_dir", "{}", *CORPUS, "--add_question_token"],
}

CONFIG_CLASSES = {
    "run_seq_cls.py": "SequenceClassificationConfig",
    "run_ner.py": "NerConfig",
    "run_squad.py": "QuestionAnsweringConfig",
    "run_long_qa.py": "LongQuestionAnsweringConfig",
    "run_splinter_qa.py": "SplinterQuestionAnsweringConfig",
}
# The name of the settings of each pretraining script.
OBJECTIVES = {"pretrain_spanbert.py": "SpanBertConfig", "pretrain_splinter.py": "SplinterConfig"}
# The others are for BERT alone.
KINDS = {"run_seq_cls.py": "electra", "run_ner.py": "electra", "run_squad.py": "electra", "run_long_qa.py": "big_bird"}


def make_models(folder: Path) -> None:
    """Folders of a BERT, an ELECTRA and a BigBird without dropout: `still-bert`, `still-electra`, `still-big_bird`."""
    tokenizer = build_tokenizer(None, folder / "sample_data/tiny-electra")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "vocab_size": len(tokenizer)}
    for config in (
        BertConfig(**sizes, **still),
        ElectraConfig(embedding_size=32, **sizes, **still),
        BigBirdConfig(**sizes, **still, max_position_embeddings=1024),
    ):
        torch.manual_seed(0)
        target = folder / f"still-{config.model_type}"
        AutoModel.from_config(config).save_pretrained(target)
        tokenizer.save_pretrained(target)


def command(script: str, output_dir: str, batch_size: int, *more: object, steps=BRIEF) -> list[object]:
    """Words for the script, with a model without dropout that takes `batch_size` rows a device."""
    kind = KINDS.get(script, "bert")
    scratch = ["--from_scratch", "false"] if script in KINDS else []
    words = [output_dir if word == "{}" else word for word in COMMANDS[script]]
    model = ["--model_name_or_path", f"still-{kind}", *scratch]
    return [*words, *EXACT, *steps, *model, "--train_batch_size", batch_size, *more]


def stop_after_three(user: User, whole: str, folder: str) -> None:
    """A copy of a run of six steps, as a kill after its third would have left it."""
    shutil.copytree(user.run_dir(whole), user.run_dir(folder))
    shutil.rmtree(user.run_dir(folder) / "checkpoint-6")
    for name in ("results.json", "training.json"):
        (user.run_dir(folder) / name).unlink(missing_ok=True)


def config_of(script: str, words: Sequence[object]) -> Any:
    """The settings of a command."""
    module = importlib.import_module(script.removesuffix(".py"))
    words = [str(word) for word in words]
    if script in OBJECTIVES:
        config_class = getattr(module, OBJECTIVES[script])
        return resolve(config_class, words, {config_class.model_fields["task"].default: {}}, CONFIG, "")[0]
    config_class = getattr(module, CONFIG_CLASSES[script])
    settings = {task.name: task.settings(config_class.TEST_FILE_KEY) for task in TASKS_OF_SCRIPT[script]}
    return resolve(config_class, words, settings, CONFIG, "", SCRIPT_OF_TASK)[0]


def handed_to_train(
    script: str, config: Any, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> tuple[ReadyModel, Mapping[str, Split], LossOf]:
    """Model, splits and loss that a fine-tuning script is about to train with; nothing is trained."""
    module = importlib.import_module(script.removesuffix(".py"))
    handed: list[Any] = []

    def train(config, runtime, task, model, splits, loss_of, *more) -> None:
        handed.extend((model, splits, loss_of))

    monkeypatch.setattr(module, "open_device", lambda config: runtime)
    monkeypatch.setattr(module, "train", train)
    module.main(config.model_copy(update={"do_eval": False}), False)
    return tuple(handed)


@dataclass(frozen=True)
class Objective:
    """What a pretraining script makes for a run. rules: which spans a Splinter is asked for; None for a SpanBERT."""

    model: Any
    make_batch: Callable[[Blocks, np.ndarray, RowDraws, int | None], dict[str, Any]]
    loss_of: Callable[[Any, dict[str, Any]], torch.Tensor]
    sums_of: Callable[[Any, dict[str, Any]], torch.Tensor]
    rules: QuestionRules | None


def objective_of(config: Any, runtime: Runtime, tokenizer: Any, start: Path | None = None) -> Objective:
    """As the script of `config.task` makes it, in evaluation mode. start: folder of the model to continue from."""
    module = importlib.import_module(f"pretrain_{config.task}")
    torch.manual_seed(0)
    model = module.open_model(config, start, tokenizer)
    collator = Collator.of(model, config, runtime, "max_seq_length")
    model, rules = runtime.prepare(collator.model).eval(), None
    if config.task == "splinter":
        vocabulary = splinter_vocabulary(tokenizer, model.config.question_token_id)
        rules = QuestionRules(vocabulary, config.recurring_spans)
        masking = module.token_masking(config, tokenizer, model.config) if config.mlm else None
        make_batch = functools.partial(module.question_batch, collator, rules, masking)
    else:
        vocabulary = module.masking_vocabulary(tokenizer)
        make_batch = functools.partial(
            module.masked_batch, collator, tokenizer.pad_token_id, vocabulary, config.masking
        )
    loss_of = joint_loss_of if config.task == "splinter" and config.mlm else module.loss_of
    return Objective(model, make_batch, loss_of, module.sums_of, rules)


def joint_loss_of(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Splinter's joint loss where no step says how much the second loss weighs."""
    module = importlib.import_module("pretrain_splinter")
    return module.joint_loss_of(model, {"second_weight": 0.5, **batch})


def build_objective(folder: Path, script: str, runtime: Runtime, *more: str) -> tuple[Objective, Blocks]:
    """A pretraining script's objective over a BERT without dropout, and the sample's blocks."""
    make_models(folder)
    corpus, bert = folder / "sample_data/corpus.jsonl", folder / "still-bert"
    words = ["--corpus", corpus, "--model_name_or_path", bert, "--max_seq_length", 64, *more]
    config = config_of(script, [*words, *["--add_question_token"] * (script == "pretrain_splinter.py")])
    tokenizer = build_tokenizer(None, bert)
    objective = objective_of(config, runtime, tokenizer, bert)
    return objective, build_blocks(open_corpus([corpus]), tokenizer, folder / "cache", 64)
