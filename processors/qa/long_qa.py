"""The question answering tasks with long documents; run_long_qa.py runs them and korquad."""

from __future__ import annotations

import functools

from processors.klue import HUB, HUB_SPLITS, LICENCE, SOURCE
from processors.qa.answer_scores import score_korquad_2
from processors.qa.klue_mrc import score_klue_mrc
from processors.qa.korquad_2 import read_korquad_2, read_unanswered_korquad_2
from processors.qa.questions import read_squad
from processors.qa.tydiqa import read_tydiqa, read_unanswered_tydiqa
from processors.task import HubData, Task

# The script's flag for `skip_bad_rows`, which error messages name.
SKIP_FLAG = "--skip_bad_documents"

# The settings that KoBigBird's scripts share for both models. Lengths and batch sizes are in the models' JSON files.
AS_KOBIGBIRD = {
    "num_train_epochs": 5,
    "learning_rate": 3e-5,
    "lr_scheduler": "auto",
    "eval_steps": "epoch",
    "save_steps": "epoch",
}

LONG_QA_TASKS = (
    Task(
        name="tydiqa",
        folder="tydiqa",
        train_file="tydiqa-v1.0-train.jsonl",
        dev_file=None,
        test_file="tydiqa-v1.0-dev.jsonl",
        read=functools.partial(read_tydiqa, skip_flag=SKIP_FLAG),
        read_unanswered=read_unanswered_tydiqa,
        metrics=("em", "f1"),
        main_metric="f1",
        score=score_korquad_2,
        source="https://github.com/google-research-datasets/tydiqa",
        licence="Apache 2.0",
        fetch="bash download_qa_dataset.sh tydiqa",
        hub=HubData("google-research-datasets/tydiqa", "primary_task", splits={"train": "train", "test": "validation"}),
        defaults=AS_KOBIGBIRD | {"max_answer_length": 32, "version_2_with_negative": True},
    ),
    Task(
        name="korquad-2",
        folder="korquad_2",
        train_file="train",
        dev_file=None,
        test_file="dev",
        read=functools.partial(read_korquad_2, skip_flag=SKIP_FLAG),
        read_unanswered=read_unanswered_korquad_2,
        metrics=("em", "f1"),
        main_metric="f1",
        score=score_korquad_2,
        source="https://korquad.github.io/",
        licence="CC BY-ND 2.0 KR",
        fetch="bash download_qa_dataset.sh korquad_2",
        # An answer may be a whole table. Answers never exceed a window, so models with shorter windows can keep this.
        defaults=AS_KOBIGBIRD | {"max_answer_length": 4096},
    ),
    Task(
        name="klue-mrc",
        folder="klue/klue-mrc-v1.1",
        train_file="klue-mrc-v1.1_train.json",
        dev_file=None,
        test_file="klue-mrc-v1.1_dev.json",
        read=functools.partial(read_squad, skip_flag=SKIP_FLAG),
        metrics=("em", "rouge_w", "f1"),
        main_metric="rouge_w",
        score=score_klue_mrc,
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-mrc",
        hub=HubData(HUB, "mrc", splits=HUB_SPLITS),
        # KLUE-baseline's settings. The configurations with long windows have KoBigBird's.
        defaults={
            "num_train_epochs": 5,
            "learning_rate": 3e-5,
            "train_batch_size": 16,
            "max_seq_length": 510,
            "eval_steps": "epoch",
            "save_steps": "epoch",
            "version_2_with_negative": True,
        },
    ),
)
