"""docs/extending.md: what its blocks add is there, the tests that stand guard need no edit, and errors are as it says.

`tests/scripts/test_extended_scripts.py` runs the commands of the page.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from extended_copy import BLOCKS, PAGE, changed, extended_copy
from models.encoders import ARCHITECTURES
from models.unpadding import Packing, unpad_encoder
from processors.metrics import metric
from processors.task import Task
from processors.task_checks import problems_of
from processors.text_readers import parse_label, read_tsv

MISTAKES = re.findall(r"^\| `(\w+=.+?)` \| `(task .+?)` \|$", PAGE, re.MULTILINE)
# Tests that look at every task, model, architecture, metric and configuration file there is.
GUARDS = (
    "tests/unit/test_config_files.py",
    "tests/unit/test_hub.py",
    "tests/unit/test_metrics.py",
    "tests/unit/test_extending.py::test_each_architecture_that_is_unpadded_computes_the_same",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extended_copy(tmp_path_factory.mktemp("extended"))


def python(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the copy."""
    command = [sys.executable, *words]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def test_every_block_says_where_it_belongs():
    assert PAGE.count("\n```python\n") + PAGE.count("\n```json\n") + PAGE.count("\n```diff\n") == len(BLOCKS) == 15


@pytest.mark.seconds
def test_what_the_blocks_add_is_there(copy: Path):
    code = """
from models.encoders import ARCHITECTURES, MODELS
from models.two_layers import TwoLayerClassifier
from processors import SCRIPT_OF_TASK, TASKS
from processors.metrics import METRICS
import inspect, run_seq_cls
assert SCRIPT_OF_TASK["my-task"] == "run_seq_cls.py" and SCRIPT_OF_TASK["my-ner"] == "run_ner.py"
assert TASKS["my-task"].main_metric == "balanced_accuracy" and "balanced_accuracy" in METRICS
assert MODELS["my-bert"].hub_id == "owner/my-bert" and ARCHITECTURES["ernie"].layers == "encoder"
assert "else smoothed_cross_entropies" in inspect.getsource(run_seq_cls.main)
assert "model_class=TwoLayerClassifier" in inspect.getsource(run_seq_cls.load)
"""
    finished = python(copy, "-c", code)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
def test_no_test_needs_an_edit(copy: Path):
    """The tests of every task, model, architecture and configuration file hold in the copy as they stand."""
    finished = python(copy, "-m", "pytest", "-p", "no:cacheprovider", *GUARDS)
    assert finished.returncode == 0, finished.stdout[-3000:]


@pytest.mark.parametrize("mistake, message", MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_a_wrong_task_is_refused_in_the_page_s_words(mistake: str, message: str):
    (block,) = (text for _, _, _, _, text in BLOCKS if 'name="my-task"' in text)
    task = eval(block, {"Task": Task, "read_tsv": read_tsv})
    assert problems_of(task, "texts") == []
    changes = eval(f"dict({mistake})")
    assert problems_of(dataclasses.replace(task, **changes), "texts") == [message]


def test_a_table_of_mistakes_is_on_the_page():
    assert len(MISTAKES) == 13


@pytest.mark.seconds
def test_unknown_metrics_second_names_and_unknown_settings_are_refused(tmp_path: Path):
    copy = extended_copy(tmp_path)
    path = copy / "processors" / "seq_cls.py"
    source = path.read_text(encoding="utf-8")
    command = ("run_seq_cls.py", "--task", "my-task", "--config_file", "koelectra-base-v3.json")
    file, line = "processors/seq_cls.py", source[: source.index('name="my-task"')].count("\n") + 1
    for old, new, message in (
        (
            '"balanced_accuracy")',
            '"balanced_accuracy", "bleu")',
            "task my-task: metrics: no metric is called 'bleu'; known are",
        ),
        ('name="my-task"', 'name="naver-ner"', "task naver-ner: name: two tasks are named naver-ner"),
        (
            '{"num_train_epochs": 5}',
            '{"num_train_epoch": 5}',
            "task my-task: defaults: this script has no key 'num_train_epoch'; did you mean",
        ),
        (
            'name="my-task"',
            'nam="my-task"',
            f"{file}:{line - 1}: Task.__init__() got an unexpected keyword argument 'nam'",
        ),
        ('"balanced_accuracy")', "balanced)", f"{file}:{line + 10}: name 'balanced' is not defined"),
        ('name="my-task"', 'name="my-task', f"{file}:{line}: unterminated string literal"),
    ):
        assert source.count(old) == 1
        path.write_text(source.replace(old, new), encoding="utf-8")
        finished = python(copy, *command)
        assert finished.returncode == 2, finished.stderr
        assert finished.stderr.startswith(f"run_seq_cls.py: {message}") and finished.stderr.count("\n") == 1


def test_a_metric_has_a_name_of_its_own():
    with pytest.raises(ValueError, match="two metrics are named accuracy"):

        @metric
        def accuracy(labels, outputs):
            return 0.0


def test_a_regression_s_scores_lie_in_its_range():
    def task(**changes) -> Task:
        facts = {
            "train_file": "a",
            "dev_file": None,
            "test_file": "b",
            "metrics": ("pearson",),
            "main_metric": "pearson",
        }
        return Task("t", "t", read=read_tsv, source="", licence="", **facts, **changes)

    assert parse_label(task(), "5.0") == 5 and parse_label(task(score_range=(-1, 100)), "99.5") == 99.5
    assert parse_label(task(), "5.1") == "the score 5.1 is not between 0 and 5"
    assert parse_label(task(score_range=(-1, 0.5)), "-2") == "the score -2 is not between -1 and 0.5"


@pytest.mark.parametrize("model_type", [name for name, architecture in ARCHITECTURES.items() if architecture.layers])
def test_each_architecture_that_is_unpadded_computes_the_same(model_type: str):
    """And its layers see the real tokens alone: with an attention that cannot be replaced, they would not."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"vocab_size": 50, "max_position_embeddings": 16, "initializer_range": 1.0}
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(model_type, **sizes)).eval()
    lengths = (3, 9, 5)
    mask = torch.tensor([[1] * length + [0] * (9 - length) for length in lengths])
    ids = torch.randint(5, 50, mask.shape).masked_fill(mask == 0, model.config.pad_token_id)
    seen = []
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits
        unpad_encoder(model)
        layers = getattr(model.base_model, ARCHITECTURES[model_type].layers)
        first = next(module for module in layers.modules() if isinstance(module, torch.nn.ModuleList))[0]
        first.register_forward_pre_hook(lambda layer, args: seen.append(args[0].shape[:2]))
        found = model(input_ids=ids, attention_mask=mask, packing=Packing.of_mask(mask.numpy())).logits
    assert seen == [(1, sum(lengths))]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_change_needs_its_old_lines_once():
    assert changed("x = [\n    a\n    b\n", "-a\n+c\n") == "x = [\n    c\n    b\n"
    for source in ("x\nb\n", "a\na\n"):
        with pytest.raises(AssertionError):
            changed(source, "-a\n+c\n")
