"""The training loop: which rows, which gradients, which log lines; and that stopping and going on changes nothing."""

import os
import signal
from dataclasses import replace
from itertools import chain, zip_longest
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from closeness import assert_close_in_size, assert_modules_close
from small_jobs import (
    INPUTS,
    LABELS,
    ROWS,
    TERMS,
    Network,
    collate,
    evaluated_job,
    expect_an_interruption_to_change_nothing,
    interrupt_where,
    loss_of_rows,
    loss_of_terms,
    losses,
    make_job,
    weights,
)
from training import loop
from training.checkpoint import STATE_FILE, CheckpointFolder
from training.config import LoopConfig, UsageError
from training.evaluate import Predictor, evaluate, in_order_of_rows
from training.interrupt import Interrupted
from training.loop import Job, fit
from training.optimizer import learning_rate_schedule, parameter_groups
from training.plan import Plan, batches_from, made_ahead
from training.results import MetricsLog
from training.row_random import RowDraws
from training.runtime import Runtime

# --------------------------------------------------------------------------------------------------------------------
# Which rows
# --------------------------------------------------------------------------------------------------------------------


def micro_batches(plan: Plan, step: int) -> list[list[int]]:
    """The row ids of this process."""
    return [plan.rows_of(step)[part].tolist() for part in plan.micro_batches(step)]


def test_every_epoch_takes_every_row_once_in_another_order():
    plan = Plan(rows=27, batch_size=4, step_rows=8, epochs=2, seed=3)
    assert (plan.steps_per_epoch, plan.steps) == (4, 8)
    epochs = [[row for s in range(4) for part in micro_batches(plan, e * 4 + s) for row in part] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(27)) and epochs[0] != epochs[1]
    assert [[len(m) for m in micro_batches(plan, step)] for step in range(4)] == [[4, 4], [4, 4], [4, 4], [3]]
    assert [plan.row_count(step) for step in range(8)] == [8, 8, 8, 3] * 2


def test_the_order_depends_on_the_seed_alone():
    one, same, other = (micro_batches(Plan(50, 5, 5, 1, seed), 3) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(("batch_size", "processes"), [(2, 1), (2, 2), (4, 2), (1, 8), (3, 3), (8, 5)])
def test_however_a_step_is_cut_it_has_the_same_rows(batch_size: int, processes: int):
    """No micro-batch of more than batch_size rows, and no process with much more to do than another."""
    whole = Plan(27, 8, 8, 1, 5)
    plans = [replace(whole, batch_size=batch_size, process=number, processes=processes) for number in range(processes)]
    for step in range(4):
        cut = [micro_batches(plan, step) for plan in plans]
        in_order = [part for together in zip_longest(*cut, fillvalue=[]) for part in together]
        assert [list(chain(*in_order))] == micro_batches(whole, step)
        sizes = [len(part) for parts in cut for part in parts]
        assert 1 <= min(sizes) and max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
        rows = [sum(map(len, parts)) for parts in cut]
        assert max(rows) - min(rows) <= max(map(len, cut))


def test_fewer_rows_than_processes(tmp_path):
    runtime = SimpleNamespace(devices=1, process=1, processes=4)
    assert Plan.of(LoopConfig(), 4, runtime).step_rows == 128
    with pytest.raises(UsageError, match="3 training rows for 4 processes: at least one each"):
        Plan.of(LoopConfig(), 3, runtime)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"), [(2, -1, 14), (0.5, -1, 4), (0.01, -1, 1), (10, 5, 5), (1, 20, 20)]
)
def test_the_number_of_steps(epochs, max_steps, steps):
    assert Plan(27, 4, 4, epochs, 0, max_steps).steps == steps


# --------------------------------------------------------------------------------------------------------------------
# Which gradients
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_of", [loss_of_rows, loss_of_terms])
def test_batch_8_once_equals_batch_2_four_times(tmp_path, loss_of):
    """27 rows make a short last step of 3 rows; lr 5e-5, 20 steps, as AdamW magnifies rounding otherwise."""
    jobs = [
        make_job(tmp_path / name, loss_of, learning_rate=5e-5, max_steps=20, train_batch_size=size,
                 gradient_accumulation_steps=accumulation)
        for name, size, accumulation in (("one", 8, 1), ("four", 2, 4))
    ]  # fmt: skip
    before = weights(jobs[0])
    for job in jobs:
        fit(job)
    assert len(losses(tmp_path / "one")) == 20
    assert_close_in_size(*([loss for _, loss in losses(tmp_path / name)] for name in ("one", "four")))
    assert_modules_close(weights(jobs[1]), weights(jobs[0]))
    for name, value in weights(jobs[0]).items():
        assert not torch.equal(value, before[name]), f"{name} was never trained"


def test_one_step_by_hand(tmp_path):
    """The gradient is that of the mean over all terms of the step; torch's own AdamW takes it from there."""
    job = make_job(tmp_path / "run", loss_of_terms, max_steps=1, train_batch_size=3, gradient_accumulation_steps=2)
    torch.manual_seed(7)
    expected = Network()
    rows = job.plan.rows_of(0)
    batch = collate(rows, terms_of_rows=TERMS)
    loss, terms = loss_of_terms(expected, batch), batch["terms"]
    (loss / terms).backward()
    nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
    torch.optim.AdamW(expected.parameters(), lr=0.01, weight_decay=0.0).step()
    fit(job)
    assert_modules_close(weights(job), dict(expected.state_dict()))
    assert losses(tmp_path / "run")[0][1] == pytest.approx((loss / terms).item(), rel=1e-5)


def joint_loss_of(model, batch):
    """A loss of rows, and a second one with 0 to 3 terms a row."""
    return loss_of_rows(model, batch) + batch["second_weight"] * loss_of_terms(model, batch)


def joint_job(folder, **settings):
    job = make_job(folder, joint_loss_of, **settings)

    def collate_both(row_ids, draws, size):
        batch = collate(row_ids, size)
        batch["terms_of_rows"] = torch.from_numpy(TERMS[row_ids])
        return batch | {"second_terms": int(TERMS[row_ids].sum())}

    return replace(job, collate=collate_both, has_second_loss=True)


def test_of_two_losses_the_means_are_added_up_however_a_step_is_cut(tmp_path):
    """One step by hand, and the same steps in one micro-batch and in four, whose rows have different terms."""
    job = joint_job(tmp_path / "hand", max_steps=1, train_batch_size=2, gradient_accumulation_steps=3)
    torch.manual_seed(7)
    expected, rows = Network(), job.plan.rows_of(0)
    each = nn.functional.cross_entropy(expected(INPUTS[rows]), LABELS[rows], reduction="none")
    terms = torch.from_numpy(TERMS[rows])
    loss = each.mean() + (each * terms).sum() / terms.sum()
    loss.backward()
    nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
    torch.optim.AdamW(expected.parameters(), lr=0.01, weight_decay=0.0).step()
    fit(job)
    assert_modules_close(weights(job), dict(expected.state_dict()))
    assert losses(tmp_path / "hand")[0][1] == pytest.approx(loss.item(), rel=1e-5)
    jobs = [
        joint_job(tmp_path / name, learning_rate=5e-5, max_steps=20, train_batch_size=size,
                  gradient_accumulation_steps=accumulation)
        for name, size, accumulation in (("one", 8, 1), ("four", 2, 4))
    ]  # fmt: skip
    for one in jobs:
        fit(one)
    assert_close_in_size(*([loss for _, loss in losses(tmp_path / name)] for name in ("one", "four")))
    assert_modules_close(weights(jobs[1]), weights(jobs[0]))


def test_gradients_are_clipped_to_the_norm_and_zero_means_not(tmp_path):
    norms = {}
    for limit in (0.0, 0.01):
        job = make_job(tmp_path / str(limit), max_steps=1, max_grad_norm=limit)
        step = torch.optim.AdamW.step

        def watch(optimizer, *args, limit=limit, step=step, **kwargs):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norms[limit] = float(torch.stack([g.norm() for g in gradients]).norm())
            return step(optimizer, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", watch)
            fit(job)
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3) and norms[0.0] > 0.05


def test_biases_and_layer_norms_do_not_decay():
    decayed, plain = parameter_groups(Network(), 0.1)
    assert sorted(p.shape for p in decayed["params"]) == [(2, 8), (8, 6)]
    assert len(plain["params"]) == 4 and (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("scheduler", "warmup", "expected"),
    [
        ("linear", 0.0, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("linear", 0.2, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("constant", 0.0, [1.0] * 10),
        ("constant", 0.2, [0.0, 0.5] + [1.0] * 8),
        # KoBigBird's: no schedule at all without a warm-up; with one, transformers' linear schedule with a warm-up of
        # int(10 * proportion) steps.
        ("auto", 0.0, [1.0] * 10),
        ("auto", 0.2, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("auto", 0.05, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_the_learning_rate_of_each_of_ten_steps(tmp_path, scheduler, warmup, expected):
    config = make_job(tmp_path / "run", lr_scheduler=scheduler, warmup_proportion=warmup).config
    optimizer = torch.optim.SGD(Network().parameters(), lr=1.0)
    schedule = learning_rate_schedule(optimizer, config, steps=10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected)


# --------------------------------------------------------------------------------------------------------------------
# What is logged, and when the device is asked
# --------------------------------------------------------------------------------------------------------------------


def test_the_logged_loss_is_the_mean_over_the_terms_since_the_last_line(tmp_path):
    fit(make_job(tmp_path / "each", loss_of_terms, num_train_epochs=1))
    fit(make_job(tmp_path / "third", loss_of_terms, num_train_epochs=1, logging_steps=3))
    plan = Plan(ROWS, 4, 4, 1, 42)
    terms = [int(TERMS[plan.rows_of(step)].sum()) for step in range(7)]
    each = [loss for _, loss in losses(tmp_path / "each")]
    by_hand = [np.average(each[at : at + 3], weights=terms[at : at + 3]) for at in (0, 3, 6)]
    assert [step for step, _ in losses(tmp_path / "third")] == [3, 6, 7]
    assert_close_in_size([loss for _, loss in losses(tmp_path / "third")], by_hand)


def test_no_value_is_read_off_the_device_in_a_step_that_does_not_log(tmp_path, monkeypatch):
    """Steps 5 and 8 (the last) log; every way of turning a tensor into a Python value is watched."""
    runs, reads = [], []
    original_init = loop.TrainingRun.__init__
    monkeypatch.setattr(loop.TrainingRun, "__init__", lambda run, job: (original_init(run, job), runs.append(run))[0])

    def watched(original):
        def read(tensor, *args, **kwargs):
            reads.append(runs[-1].state.step)
            return original(tensor, *args, **kwargs)

        return read

    for name in ("item", "__float__", "__int__", "__bool__", "__index__", "tolist", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, watched(getattr(torch.Tensor, name)))
    fit(make_job(tmp_path / "run", loss_of_terms, num_train_epochs=2, logging_steps=5, gradient_accumulation_steps=2))
    assert set(reads) - {0} == {5, 8}  # before the first step, the DataLoader reads its own seed


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_last_good_checkpoint(tmp_path):
    def loss_of(model, batch):
        loss = loss_of_rows(model, batch)
        return loss * float("nan") if len(losses(tmp_path / "run")) >= 5 else loss

    with pytest.raises(UsageError, match=r"the loss is nan at step 6.*checkpoint-4"):
        fit(make_job(tmp_path / "run", loss_of, save_steps=4))
    assert [path.name for path in CheckpointFolder(tmp_path / "run").all()] == ["checkpoint-4"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss of a step is that before its update: the update itself may have broken the weights."""
    job = make_job(tmp_path / "run", max_steps=4, save_steps=2)
    taken, original = [], job.collate

    def break_the_weights(rows, draws, size):
        taken.append(rows)
        if len(taken) == 4:
            job.model.outer.weight.register_hook(lambda gradient: gradient * float("nan"))
        return original(rows, draws, size)

    object.__setattr__(job, "collate", break_the_weights)
    with pytest.raises(UsageError, match=r"weights that are not finite at step 4.*checkpoint-2"):
        fit(job)
    assert [path.name for path in job.checkpoints.all()] == ["checkpoint-2"]


# --------------------------------------------------------------------------------------------------------------------
# Evaluation
# --------------------------------------------------------------------------------------------------------------------


def predicting(predict) -> Predictor:
    return Predictor(Network(), predict, Runtime(no_cuda=True, precision="fp32"))


def scripted(scores: list[float]):
    """An `evaluate` that returns these scores one after another."""
    remaining = iter(scores)
    return lambda: ("dev", {"accuracy": next(remaining)})


def test_the_best_checkpoint_is_kept_and_the_first_of_equals_counts(tmp_path):
    scores = [0.5, 0.8, 0.6, 0.8, 0.7]
    job = make_job(tmp_path / "run", evaluate=scripted(scores), max_steps=10, eval_steps=2, save_total_limit=2)
    state = fit(job)
    assert (state.best_step, state.best_score) == (4, 0.8)
    assert [path.name for path in job.checkpoints.all()] == ["checkpoint-4", "checkpoint-10"]
    assert [e["metrics"]["accuracy"] for e in job.log.evaluations()] == scores


def test_early_stopping_waits_for_the_patience(tmp_path):
    job = make_job(
        tmp_path / "run",
        evaluate=scripted([0.5, 0.4, 0.6, 0.6, 0.5, 0.9]),
        max_steps=20,
        eval_steps=2,
        early_stopping_patience=2,
    )
    state = fit(job)
    assert state.stopped_early and state.step == 10 and job.checkpoints.newest_with_state().name == "checkpoint-10"
    resumed = make_job(tmp_path / "run", evaluate=scripted([]), max_steps=20, eval_steps=2,
                       early_stopping_patience=2, resume=True)  # fmt: skip
    assert fit(resumed).step == 10  # a stopped run stays stopped
    patient = make_job(tmp_path / "run", evaluate=scripted([0.5] * 5), max_steps=20, eval_steps=2,
                       early_stopping_patience=9, resume=True)  # fmt: skip
    assert fit(patient).step == 20  # unless it is given more patience


def test_evaluating_and_saving_per_epoch(tmp_path):
    job = make_job(tmp_path / "run", evaluate=scripted([0.1, 0.1, 0.1]), num_train_epochs=3, eval_steps="epoch",
                   save_steps="epoch")  # fmt: skip
    fit(job)
    assert [e["step"] for e in job.log.evaluations()] == [7, 14, 21]
    assert [path.name for path in job.checkpoints.all()] == ["checkpoint-7", "checkpoint-14", "checkpoint-21"]


def test_outputs_that_are_not_finite_are_no_score():
    predictor = predicting(lambda model, batch: torch.full((3, 2), float("nan")))
    with pytest.raises(UsageError, match="outputs are not finite"):
        next(evaluate(predictor, collate, np.ones(3), 3))


def test_evaluate_returns_the_outputs_in_the_order_of_the_rows():
    seen = []

    def predict(model, batch):
        seen.append(batch["row_ids"].tolist())
        return batch["row_ids"][:, None] * 2.0

    lengths = np.array([3, 9, 1, 9, 5, 2, 7])
    predictor = predicting(predict)
    predictor.model.train()
    outputs = in_order_of_rows(evaluate(predictor, collate, lengths, 3), 7)
    assert outputs[:, 0].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert seen == [[1, 3, 6], [4, 0, 5], [2]]  # longest first
    assert predictor.model.training
    assert [rows.tolist() for rows, _ in evaluate(predictor, collate, lengths[:3], 2)] == [[1, 0], [2]]


# --------------------------------------------------------------------------------------------------------------------
# Stopping and going on
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logging_steps", [1, 3])
@pytest.mark.parametrize("stop_after", [1, 4, 10, 19])
def test_interrupted_and_resumed_it_is_the_uninterrupted_run(tmp_path, stop_after, logging_steps):
    settings = {"logging_steps": logging_steps, "eval_steps": 5, "save_steps": 4}
    expect_an_interruption_to_change_nothing(tmp_path, stop_after, **settings)


def test_interrupted_twice_it_is_the_uninterrupted_run(tmp_path):
    """The second interruption comes before any checkpoint that the uninterrupted run leaves."""

    def interrupted_at(step: int | None, folder: str, **settings) -> Job:
        job = make_job(tmp_path / folder, max_steps=12, save_steps=6, save_total_limit=2, **settings)
        interrupt_where(job, lambda: len(job.log.read()) == step)
        return job

    fit(interrupted_at(None, "whole"))
    for step in (7, 8):
        with pytest.raises(Interrupted):
            fit(interrupted_at(step, "cut", resume=step > 7))
    assert len(list((tmp_path / "cut").glob("checkpoint-*"))) == 2
    fit(interrupted_at(None, "cut", resume=True))
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )


def test_interrupted_in_the_evaluation_that_is_the_best_it_keeps_its_checkpoint(tmp_path):
    def interrupted_evaluation():
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the signal breaks the evaluation off")

    settings = {"max_steps": 9, "eval_steps": 4}
    fit(make_job(tmp_path / "whole", evaluate=scripted([0.9, 0.5, 0.5]), **settings))
    with pytest.raises(Interrupted):
        fit(make_job(tmp_path / "cut", evaluate=interrupted_evaluation, **settings))
    resumed = make_job(tmp_path / "cut", evaluate=scripted([0.9, 0.5, 0.5]), resume=True, **settings)
    assert fit(resumed).best_step == 4
    assert [path.name for path in resumed.checkpoints.all()] == ["checkpoint-4", "checkpoint-9"]
    assert resumed.log.evaluations() == MetricsLog(tmp_path / "whole").evaluations()


@pytest.mark.parametrize(("last_score", "kept"), [(0.9, [8, 10]), (0.1, [5, 10])])
def test_a_checkpoint_that_is_only_for_going_on_takes_no_place_of_another(tmp_path, last_score, kept):
    """Step 8's is kept if step 10 is the best, and goes if step 5 stays it: at step 9 that is not known."""

    def run(folder: str, interrupted_at: int | None = None, **settings) -> list[int]:
        limits = {"max_steps": 10, "eval_steps": 5, "save_steps": 2, "save_total_limit": 2}
        scores = [last_score] if settings else [0.5, last_score]
        job = make_job(tmp_path / folder, evaluate=scripted(scores), **limits, **settings)
        interrupt_where(job, lambda: len(job.log.read()) == interrupted_at, signal.SIGTERM)
        if interrupted_at is None:
            fit(job)
        else:
            with pytest.raises(Interrupted):
                fit(job)
        return [int(path.name.rpartition("-")[2]) for path in job.checkpoints.all()]

    assert run("whole") == kept
    assert run("cut", interrupted_at=9) == [5, 8, 9]
    assert run("cut", resume=True) == kept


def test_without_evaluations_an_interrupted_run_keeps_no_more_checkpoints_than_its_limit(tmp_path):
    job = make_job(tmp_path, max_steps=10, save_steps=5, save_total_limit=1)
    interrupt_where(job, lambda: len(job.log.read()) == 7)
    with pytest.raises(Interrupted):
        fit(job)
    assert [path.name for path in job.checkpoints.all()] == ["checkpoint-8"]


@pytest.mark.parametrize("scores", [[0.5, 0.9, 0.1], [0.5, 0.1, 0.9], [0.9, 0.5, 0.1]])
def test_interrupted_in_the_last_evaluation_it_keeps_the_checkpoints_of_the_uninterrupted_run(tmp_path, scores):
    """Which of the older ones may go depends on a score that is not known yet."""
    settings = {"max_steps": 9, "eval_steps": 3, "save_steps": 1, "save_total_limit": 2}
    evaluate = scripted(scores)

    def interrupted_evaluation():
        if len(MetricsLog(tmp_path / "cut").evaluations()) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate()

    whole = make_job(tmp_path / "whole", evaluate=scripted(scores), **settings)
    fit(whole)
    with pytest.raises(Interrupted):
        fit(make_job(tmp_path / "cut", evaluate=interrupted_evaluation, **settings))
    resumed = make_job(tmp_path / "cut", evaluate=scripted(scores[2:]), resume=True, **settings)
    fit(resumed)
    for job in (whole, resumed):
        kept = [(path.name, (path / STATE_FILE).is_file()) for path in job.checkpoints.all()]
        best = 3 * (1 + scores.index(max(scores)))
        assert kept == [(f"checkpoint-{min(best, 8)}", False), ("checkpoint-9", True)]


def test_a_run_that_was_stopped_early_takes_no_step_after_its_interrupted_evaluation(tmp_path):
    settings = {"max_steps": 9, "eval_steps": 4, "early_stopping_patience": 1}
    scores = scripted([0.9])

    def evaluate_once():
        if MetricsLog(tmp_path / "run").evaluations():
            os.kill(os.getpid(), signal.SIGINT)
        return scores()

    with pytest.raises(Interrupted):
        fit(make_job(tmp_path / "run", evaluate=evaluate_once, **settings))
    resumed = make_job(tmp_path / "run", evaluate=scripted([0.1]), resume=True, **settings)
    assert fit(resumed).step == 8


def test_what_a_kill_behind_the_last_checkpoint_left_undone_is_done_when_the_run_goes_on(tmp_path, monkeypatch):
    settings = {"max_steps": 9, "save_steps": 3, "save_total_limit": 2}
    whole = make_job(tmp_path / "whole", **settings)
    fit(whole)
    delete_older = CheckpointFolder.delete_older

    def killed(folder, newest, *arguments):
        if newest.name == "checkpoint-9":
            raise KeyboardInterrupt
        delete_older(folder, newest, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CheckpointFolder, "delete_older", killed)
        fit(make_job(tmp_path / "cut", **settings))
    resumed = make_job(tmp_path / "cut", resume=True, **settings)
    assert len(resumed.checkpoints.all()) == 3
    fit(resumed)
    for job in (whole, resumed):
        kept = [(path.name, (path / STATE_FILE).is_file()) for path in job.checkpoints.all()]
        assert kept == [("checkpoint-6", False), ("checkpoint-9", True)]


def test_batches_that_are_made_ahead_are_the_same_and_so_is_what_goes_wrong():
    made = []

    def batches(count: int, wrong: int | None = None):
        for number in range(count):
            if number == wrong:
                raise ValueError("a broken row")
            made.append(number)
            yield number

    for count in (0, 1, 2, 7):
        assert list(made_ahead(batches(count))) == list(range(count))
    taken = []
    with pytest.raises(ValueError, match="a broken row"):
        for number in made_ahead(batches(9, wrong=4)):
            taken.append(number)
    assert taken == [0, 1, 2, 3]
    made.clear()
    left = made_ahead(batches(9))
    assert next(left) == 0
    left.close()  # which waits for what is being made
    assert made in ([0, 1], [0, 1, 2])


def test_when_memory_runs_out_it_is_said_what_helps(tmp_path):
    def too_much(model, batch):
        return model(**batch["inputs"]).sum() + torch.empty(2**55).sum()

    with pytest.raises(
        UsageError, match=r"memory has run out on .* GiB were held before\): lower train_batch_size \(4\)"
    ):
        fit(make_job(tmp_path / "train", too_much))
    with pytest.raises(UsageError, match=r"lower eval_batch_size \(3\)"):
        list(evaluate(predicting(too_much), collate, np.ones(3), 3))


def test_every_row_of_a_step_has_draws_of_its_own_however_the_step_is_cut_and_again_when_resumed():
    plan = Plan(rows=ROWS, batch_size=4, step_rows=8, epochs=2, seed=3)
    runtime = Runtime(no_cuda=True, precision="fp32")

    def draw(rows: np.ndarray, draws: RowDraws, size: int | None) -> list[float]:
        return draws.uniform(0, np.arange(len(rows)), np.zeros(len(rows), dtype=int)).tolist()

    def drawn(plan: Plan, first: int = 0) -> list[list[float]]:
        return [list(chain(*step)) for step in batches_from(plan, draw, first, runtime)]

    whole = drawn(plan)
    flat = list(chain(*whole))
    assert len(set(flat)) == len(flat) == 2 * ROWS
    assert drawn(plan, 5) == whole[5:]
    assert drawn(replace(plan, batch_size=8)) == whole
    assert not set(chain(*drawn(replace(plan, seed=4)))) & set(flat)


def test_interrupted_while_it_evaluates_it_evaluates_when_resumed(tmp_path):
    whole = evaluated_job(tmp_path / "whole", eval_steps=5)
    fit(whole)
    cut = evaluated_job(tmp_path / "cut", eval_steps=5)

    def interrupted_evaluation():
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the evaluation goes on after Ctrl-C")

    object.__setattr__(cut, "evaluate", interrupted_evaluation)
    with pytest.raises(Interrupted, match="checkpoint-5"):
        fit(cut)
    resumed = evaluated_job(tmp_path / "cut", eval_steps=5, resume=True)
    fit(resumed)
    assert resumed.log.evaluations() == whole.log.evaluations()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_another_run_is_not_resumed(tmp_path):
    fit(make_job(tmp_path / "run", max_steps=3))
    with pytest.raises(UsageError, match=r"checkpoint-3 belongs to another run: learning_rate was 0\.01, is now 0\.02"):
        fit(make_job(tmp_path / "run", max_steps=3, learning_rate=0.02, resume=True))


def test_a_setting_that_is_younger_than_a_checkpoint_was_at_its_default(tmp_path):
    """The run was begun before adam_bias_correction was a setting."""
    fit(make_job(tmp_path / "run", max_steps=3))
    resumed = make_job(tmp_path / "run", max_steps=3, resume=True)
    with pytest.raises(UsageError, match="adam_bias_correction was True, is now False; resuming needs the same"):
        fit(replace(resumed, identity=resumed.identity | {"adam_bias_correction": False}))
    fit(replace(resumed, identity=resumed.identity | {"adam_bias_correction": True}))


def test_resuming_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    (tmp_path / "run").mkdir()
    MetricsLog(tmp_path / "run").write("train", step=1, loss=9.0)  # killed before its first checkpoint
    fit(make_job(tmp_path / "run", max_steps=3, resume=True))
    fit(make_job(tmp_path / "other", max_steps=3))
    assert losses(tmp_path / "run") == losses(tmp_path / "other")
