"""python3 -m pytest tests/scripts/test_fixed_shapes.py

Batches of few shapes, as XLA wants them, on a CPU: what fills them up counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification, BertConfig, BertForSequenceClassification

from closeness import assert_close_in_size
from conftest import User, nsmc
from exact_runs import OBJECTIVES, build_objective, command, make_models
from models import ModelError
from models.collator import Collator
from processors.features import NO_LABEL
from processors.pretraining.blocks import Blocks
from processors.pretraining.recurring_spans import recurs_in
from small_jobs import Network, collate, evaluated_job, loss_of_rows, make_job
from training.captured_step import shape_of
from training.config import RuntimeConfig
from training.evaluate import Predictor, evaluate
from training.loop import fit
from training.plan import Plan, without_counts
from training.row_random import RowDraws
from training.runtime import Runtime
from workflows.recurring_questions import QuestionRules

SCRIPT = "run_seq_cls.py"
SIZES = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
ARRAYS = {
    "input_ids": np.array([[2, 5, 6, 3, 0], [2, 7, 3, 0, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]),
}


class FixedRuntime(Runtime):
    """A CPU that wants full batches, and counts its steps as graphs."""

    shapes = "fixed"
    graphs = 0

    def __init__(self):
        super().__init__(no_cuda=True, precision="fp32")

    def compilations(self) -> int:
        return self.graphs


def test_the_lengths_that_batches_are_padded_to():
    assert RuntimeConfig().row_lengths(128) == ()
    assert RuntimeConfig(use_tpu=True).row_lengths(512) == (128, 256, 512)
    assert RuntimeConfig(use_tpu=True).row_lengths(50) == (13, 25, 50)
    assert RuntimeConfig(use_tpu=True, length_buckets=[64]).row_lengths(128) == (64, 128)
    assert RuntimeConfig(length_buckets=[64, 32, 128]).row_lengths(128) == (32, 64, 128)
    collator = Collator(BertForSequenceClassification(BertConfig(**SIZES)), False, 128, lengths=(32, 64, 128))
    assert [collator.width(np.array([1, longest])) for longest in (1, 32, 33, 64, 128)] == [32, 32, 64, 64, 128]
    with pytest.raises(ModelError, match=r"^length_buckets 200 is more than max_seq_len 128, which no row exceeds$"):
        Collator(BertForSequenceClassification(BertConfig(**SIZES)), False, 128, lengths=(64, 128, 200))


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_a_batch_of_fixed_size(kind: str):
    """Of an encoder that could be unpadded, and of another."""
    torch.manual_seed(0)
    config, model_class = {
        "bert": (BertConfig(**SIZES), BertForSequenceClassification),
        "albert": (AlbertConfig(**SIZES), AlbertForSequenceClassification),
    }[kind]
    model = model_class(config).eval()
    plain = model(**{name: torch.from_numpy(array) for name, array in ARRAYS.items()}).logits
    collator = Collator(model, no_unpad=False, length=5, shapes="fixed")
    batch = collator.batch(ARRAYS, 4, labels=np.array([1, 0]), positions=np.ones((2, 3), dtype=np.int64))
    assert not collator.unpads and "packing" not in batch["inputs"]
    assert batch["labels"].tolist() == [1, 0, NO_LABEL, NO_LABEL]
    assert batch["positions"].shape == (4, 3) and (batch["positions"][2:] == NO_LABEL).all()
    assert (batch["rows"], batch["real_tokens"], batch["padded_tokens"]) == (2, 7, 20)
    logits = collator.model(**batch["inputs"]).logits
    assert logits.shape == (4, 2) and torch.isfinite(logits).all()
    assert_close_in_size(logits[:2], plain)


def test_evaluation_gives_no_padding_rows():
    sizes = []

    def sized(rows: np.ndarray, size: int) -> dict:
        sizes.append((len(rows), size))
        numbers = np.concatenate([rows, np.full(size - len(rows), -1)])
        return {
            "numbers": torch.from_numpy(numbers),
            "rows": len(rows),
            "terms": 1,
            "real_tokens": 1,
            "padded_tokens": 1,
        }

    runtime = FixedRuntime()
    predictor = Predictor(Network(), lambda model, batch: batch["numbers"], runtime)
    batches = evaluate(predictor, sized, np.arange(10), 4)
    found = [(rows.tolist(), outputs.tolist()) for rows, outputs in batches]
    assert found == [([9, 8, 7, 6], [9, 8, 7, 6]), ([5, 4, 3, 2], [5, 4, 3, 2]), ([1, 0], [1, 0])]
    assert sizes == [(4, 4), (4, 4), (2, 4)]


def test_xla_compiles_by_itself():
    """Also where a settings file asks torch.compile for it."""
    config = SimpleNamespace(**RuntimeConfig(use_tpu=True, compile=True).model_dump(), max_seq_len=5, no_unpad=False)
    config.row_lengths = lambda longest: ()
    model = Collator.of(BertForSequenceClassification(BertConfig(**SIZES)), config, FixedRuntime(), "max_seq_len").model
    assert model._compiled_call_impl is None


def test_several_devices_of_one_process_take_so_many_rows_more(tmp_path: Path):
    job = make_job(tmp_path / "run", gradient_accumulation_steps=2)
    job.runtime.devices = 3
    plan = Plan.of(job.config, 100, job.runtime)
    assert (plan.batch_size, plan.step_rows) == (12, 24)


def test_a_graph_after_the_first_epoch_is_a_warning(tmp_path: Path, capsys):
    """Steps compile in both epochs, and the evaluation between them, which is no step."""
    runtime, taken = FixedRuntime(), []

    def evaluation() -> tuple[str, dict[str, float]]:
        runtime.graphs += 1
        return "test", {"accuracy": 1.0}

    def compiling(model, batch):
        taken.append(batch["size"])
        runtime.graphs += len(taken) in (1, 3, 17)  # two micro-batches a step
        return loss_of_rows(model, batch)

    job = evaluated_job(tmp_path / "run", num_train_epochs=2, eval_steps="epoch")
    fit(
        replace(
            job,
            runtime=runtime,
            loss_of=compiling,
            evaluate=evaluation,
            collate=lambda rows, draws, size: collate(rows) | {"padded_tokens": 5 * size, "size": size},
        )
    )
    said = capsys.readouterr().err
    assert job.plan.steps_per_epoch == 7 and taken == [2] * 28
    assert said.count("warning: ") == 1
    assert "warning: step 9 compiled 1 more graph, after the first epoch; its rows are 5 tokens wide. Fewer" in said
    assert "graphs compiled for training: 5\n" in said
    logged = [line["compilations"] for line in job.log.read() if line["event"] == "train"]
    assert logged == [1, *[2] * 6, 3, *[4] * 6]


@pytest.mark.parametrize("shapes", ["fixed", "rounded"])
@pytest.mark.parametrize("script", [*OBJECTIVES, "pretrain_splinter.py --mlm true"])
def test_span_objectives_are_of_few_shapes_and_of_the_same_value(user: User, script: str, shapes: str, monkeypatch):
    """Whatever rows a batch has: as many targets as its tokens say, and the sums of the batch as it is."""
    monkeypatch.setenv("REHEARSE_CAPTURE", "1")
    script, *words = [*script.split(), "--length_buckets", "16", "32"]
    other = FixedRuntime() if shapes == "fixed" else Runtime(True, "fp32", capture=True)
    (objective, blocks), (rounding, _) = (
        build_objective(user.folder, script, runtime, *words) for runtime in (Runtime(True, "fp32"), other)
    )
    found_shapes, size = set(), 8 if shapes == "fixed" else None
    for number in range(30):
        rows = np.random.default_rng(number).permutation(len(blocks))[: 5 + number % 3]
        if objective.rules is not None:
            rows = np.array([row for row in rows if has_questions(objective.rules, blocks, row)])
        if not len(rows):
            continue
        plain = objective.make_batch(blocks, rows, RowDraws([7], rows), None)
        full = rounding.make_batch(blocks, rows, RowDraws([7], rows), size)
        found_shapes.add(shape_of(without_counts(full) | {"rows": None}))
        with torch.no_grad():
            expected, found = objective.sums_of(objective.model, plain), rounding.sums_of(rounding.model, full)
            loss, padded_loss = (one.loss_of(one.model, batch) for one, batch in ((objective, plain), (rounding, full)))
        assert_close_in_size(found, expected)
        assert_close_in_size(padded_loss, loss)
        assert plain["terms"] == full["terms"] > 0
    # Of fixed shapes a width each; rounded, so many for each number of rows, for 64 numbers of tokens at most.
    assert 1 < len(found_shapes) <= (3 if shapes == "fixed" else 25), found_shapes


def has_questions(rules: QuestionRules, blocks: Blocks, row: int) -> bool:
    arrays = blocks.padded(np.array([row]), rules.vocabulary.pad_id)
    return bool(recurs_in(*arrays.values(), rules.vocabulary, rules.spans, rules.left_out)[0])


# --------------------------------------------------------------------------------------------------------------------
# The scripts
# --------------------------------------------------------------------------------------------------------------------


def test_length_buckets_change_no_loss(user: User, types: Callable):
    make_models(user.folder)
    for name, words in (("unbucketed", []), ("bucketed", ["--length_buckets", 48])):
        types(*command(SCRIPT, name, 8, *words), "--no_cuda")
    pair = [user.losses(name) for name in ("unbucketed", "bucketed")]
    assert_close_in_size(*pair)
    ratios = [user.results(name)["training"]["padding_ratio"] for name in ("unbucketed", "bucketed")]
    assert ratios[0] < ratios[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--use_tpu"], "use_tpu needs torch_xla, which is not installed here: bash scripts/setup.sh requirements-tpu"),
        (["--use_tpu", "--precision", "fp16"], "use_tpu and precision fp16: a TPU multiplies bf16 (auto) or fp32"),
        (["--use_tpu", "--compile"], "--compile has no effect beside use_tpu: XLA compiles everything"),
        (["--use_tpu", "--no_cuda"], "--no_cuda has no effect beside use_tpu"),
        (["--length_buckets", 600], "length_buckets 600 is more than max_seq_len 128, which no row exceeds"),
        (["--length_buckets", 0], "--length_buckets must be one or more numbers of tokens above 0, not [0]"),
        (["--length_buckets", "half"], "length_buckets"),
    ],
)  # fmt: skip
def test_what_is_refused(is_refused: Callable, words: list, message: str):
    assert message in is_refused(*nsmc("refused-shapes", *words))


def test_all_chips_are_taken_by_one_process(user: User, is_refused: Callable):
    launched = user.environment | {"WORLD_SIZE": "2", "RANK": "0"}
    said = is_refused(*nsmc("refused-shapes", "--use_tpu"), env=launched)
    assert "use_tpu" in said and "without torchrun" in said
