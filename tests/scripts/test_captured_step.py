"""python3 -m pytest tests/scripts/test_captured_step.py

Captured steps as far as a CPU shows them: the tensors that stay, the shapes that are few, replaying as a second call.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from closeness import assert_close_in_size, assert_modules_close
from conftest import User, nsmc
from exact_runs import COMMANDS, OBJECTIVES, build_objective, command, config_of, handed_to_train, make_models
from models import bigbird, unpadding
from models.unpadding import Packing
from small_jobs import (
    RESUMABLE,
    expect_an_interruption_to_change_nothing,
    loss_of_rows,
    loss_of_terms,
    losses,
    make_job,
    weights,
)
from started_by_torchrun import by_two, ended
from training import captured_step
from training.captured_step import ReplayedFunction, leaves_of, shape_of
from training.config import UsageError
from training.evaluate import Predictor
from training.interrupt import Interrupted
from training.loop import TrainingRun, fit
from training.plan import without_counts
from training.row_random import RowDraws
from training.runtime import Runtime

SCRIPT = "run_seq_cls.py"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def rehearsal(monkeypatch) -> None:
    monkeypatch.setenv("REHEARSE_CAPTURE", "1")
    monkeypatch.setattr(Runtime, "has_stopped_capturing", False)


# --------------------------------------------------------------------------------------------------------------------
# A function that is replayed
# --------------------------------------------------------------------------------------------------------------------


def replayed(function: Callable[[Any], Any], reasons: list[str] | None = None) -> ReplayedFunction:
    return ReplayedFunction(function, lambda given: given, CPU, None, (reasons if reasons is not None else []).append)


def test_a_shape_is_called_then_recorded_then_replayed():
    addresses = []

    def function(given: dict) -> torch.Tensor:
        addresses.append(given["batch"]["numbers"].data_ptr())
        return given["batch"]["numbers"] * given["factor"] + given["added"]

    call = replayed(function)
    numbers = [torch.full((3,), float(number)) for number in range(5)]
    outputs = [call({"batch": {"numbers": part}, "factor": 2.0 + i, "added": 1}) for i, part in enumerate(numbers)]
    assert [output.tolist() for output in outputs] == [[1.0 + i * (2 + i)] * 3 for i in range(5)]
    assert (call.plain_calls, call.captured, call.replays) == (1, 1, 4)
    # The tensor of the recording is one of its own, and the same in each replay.
    assert len(set(addresses[1:])) == 1 and addresses[1] not in {part.data_ptr() for part in numbers}
    assert [part.tolist() for part in numbers] == [[float(number)] * 3 for number in range(5)]


def test_an_output_is_not_overwritten_by_the_next():
    stays = torch.zeros(2)  # as the output of a graph does
    call = replayed(lambda given: stays.copy_(given["numbers"]))
    outputs = [call({"numbers": torch.full((2,), float(number))}) for number in range(4)]
    assert [output.tolist() for output in outputs[1:]] == [[1, 1], [2, 2], [3, 3]]


def test_what_makes_up_a_shape():
    def shape(mask: list[list[int]], **others: Any) -> tuple:
        given = {"packing": Packing.of_mask(np.array(mask), 4), "most": 3, "scale": 0.5, "name": None}
        return shape_of(given | others)

    same = shape([[1, 1, 0], [1, 0, 0]])
    assert hash(same) and same == shape([[1, 0, 0], [1, 1, 1]]) == shape([[1, 1, 0], [1, 0, 0]], scale=0.7)
    others = [shape([[1, 1, 1], [1, 1, 0]]), shape([[1, 1, 0, 0]]), shape([[1, 1, 0], [1, 0, 0]], most=4)]
    assert len({same, *others, shape([[1, 1, 0], [1, 0, 0]], scale=None)}) == 5
    names = ["packing.indices", "packing.row_starts", "packing.longest", "packing.groups", "most"]
    given = {"packing": Packing.of_mask(np.array([[1]]), 4), "most": 3}
    assert [".".join(path) for path, _ in leaves_of(given)] == names


def test_few_recordings_are_kept_those_used_last(monkeypatch):
    monkeypatch.setattr(captured_step, "MOST_GRAPHS", 2)
    call = replayed(lambda given: given["numbers"] + 1)

    def use(size: int) -> None:
        assert call({"numbers": torch.ones(size)}).tolist() == [2.0] * size

    for size in (1, 1, 2, 2, 1, 3, 3):  # 3 takes the place of 2, as 1 has been used since
        use(size)
    assert call.captured == 3
    use(1)
    assert call.captured == 3
    use(2)  # which counts as one never seen: a shape that is too rare to stay is not captured each time
    assert call.captured == 3 and call.plain_calls == 4
    use(2)
    assert call.captured == 4


def test_a_reason_is_the_first_error_and_where_it_was_raised():
    try:
        try:
            torch.ones(2).view(3)
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        reason = captured_step.reason_of(error)
    assert re.fullmatch(r"shape '\[3\]' is invalid for input of size 2 \(test_captured_step.py:\d+\)", reason)


def test_where_capturing_fails_the_call_is_made_as_ever(monkeypatch):
    def fails(*given: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    monkeypatch.setattr(captured_step, "CapturedCall", fails)
    reasons: list[str] = []
    call = replayed(lambda given: given["numbers"] + 1, reasons)
    for number in range(3):
        assert call({"numbers": torch.full((2,), float(number))}).tolist() == [number + 1.0] * 2
    assert len(reasons) == 2 and call.captured == 0
    assert re.fullmatch(r"operation not permitted when stream is capturing \(test_captured_step.py:\d+\)", reasons[0])
    call.free_graphs()
    call({"numbers": torch.ones(2)})
    assert len(reasons) == 2


# --------------------------------------------------------------------------------------------------------------------
# The loop
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("loss_of", [loss_of_rows, loss_of_terms])
def test_a_captured_run_is_the_run(tmp_path: Path, loss_of: Callable, micro_batches: int, capsys):
    """With a number of terms that differs from batch to batch, and a short last step in every epoch."""
    settings = {"num_train_epochs": 4, "gradient_accumulation_steps": micro_batches, "warmup_proportion": 0.3}
    plain = make_job(tmp_path / "plain", loss_of, weight_decay=0.1, **settings)
    captured = make_job(tmp_path / "captured", loss_of, weight_decay=0.1, capture=True, **settings)
    fit(plain)
    assert "graph" not in capsys.readouterr().err
    fit(captured)
    pair = [[loss for _, loss in losses(tmp_path / name)] for name in ("captured", "plain")]
    assert_close_in_size(*pair)
    assert_modules_close(weights(captured), weights(plain))
    logged = [[line for line in job.log.read() if line["event"] == "train"] for job in (plain, captured)]
    assert [line["learning_rate"] for line in logged[0]] == [line["learning_rate"] for line in logged[1]]
    assert "graphs" not in logged[0][-1]
    last = logged[1][-1]
    taken = 4 * sum(len(plain.plan.micro_batches(step)) for step in range(plain.plan.steps_per_epoch))
    assert last["replayed_steps"] + last["plain_steps"] == taken
    # Of whole micro-batches, and of the last of an epoch; where a step happens to have a term a row, of that too.
    assert 2 <= last["graphs"] <= last["plain_steps"] <= 4
    what = "steps" if micro_batches == 1 else "micro-batches"
    graphs = f"graphs rehearsed for training: {last['graphs']}, in {last['capture_seconds']} s"
    assert f"{graphs}; {what} replayed: {last['replayed_steps']}, taken" in capsys.readouterr().err


@pytest.mark.parametrize("stop_after", [1, 4, 10])
def test_interrupted_and_resumed_it_is_the_uninterrupted_run(tmp_path: Path, stop_after: int):
    """What the resumed run captures anew, the whole one replayed."""
    expect_an_interruption_to_change_nothing(tmp_path, stop_after, save_steps=4, capture=True)


@pytest.mark.parametrize("begins", [True, False])
def test_what_a_captured_run_began_goes_on_without_and_the_other_way(tmp_path: Path, begins: bool):
    settings = RESUMABLE | {"dropout": 0.0, "save_steps": 4, "max_steps": 8, "save_optimizer": True}
    whole = make_job(tmp_path / "whole", **settings, capture=begins)
    fit(whole)
    for path in ("checkpoint-8",):
        for file in sorted((tmp_path / "whole" / path).iterdir()):
            file.unlink()
        (tmp_path / "whole" / path).rmdir()
    resumed = make_job(tmp_path / "whole", **settings, capture=not begins, resume=True)
    fit(resumed)
    assert_modules_close(weights(resumed), weights(whole))
    state = torch.load(tmp_path / "whole/checkpoint-8/training_state.pt", weights_only=True)
    assert [type(group["lr"]) for group in state["optimizer"]["param_groups"]] == [float, float]


def test_ctrl_c_while_a_step_is_recorded_leaves_a_checkpoint(tmp_path: Path, monkeypatch):
    class Interrupting(captured_step.CapturedCall):
        def __init__(self, *given: Any):
            os.kill(os.getpid(), signal.SIGINT)
            super().__init__(*given)

    monkeypatch.setattr(captured_step, "CapturedCall", Interrupting)
    with pytest.raises(Interrupted, match="checkpoint-2"):
        fit(make_job(tmp_path / "run", capture=True))
    monkeypatch.undo()
    monkeypatch.setenv("REHEARSE_CAPTURE", "1")
    fit(make_job(tmp_path / "run", capture=True, resume=True))
    fit(make_job(tmp_path / "whole", capture=True))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_without_memory_for_graphs_the_step_is_tried_once_more_without_them(tmp_path: Path, micro_batches: int, capsys):
    """In the fifth step, in the midst of its micro-batches: it is taken whole, and from then on without graphs."""
    settings = {"max_steps": 8, "train_batch_size": 2, "gradient_accumulation_steps": micro_batches}
    calls, held = [], []

    def loss_of(model, batch):
        calls.append(None)
        if len(calls) == 5 * micro_batches:
            large = torch.zeros(10)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore words")
        if held:
            assert held[0]() is None  # what the failed step had in memory is free by now
        return loss_of_rows(model, batch)

    fit(make_job(tmp_path / "plain", **settings))
    fit(make_job(tmp_path / "captured", loss_of, **settings, capture=True))
    pair = [[loss for _, loss in losses(tmp_path / name)] for name in ("captured", "plain")]
    assert_close_in_size(*pair)
    said = capsys.readouterr().err
    line = "warning: steps are no longer captured, as with --capture false, and may take longer: memory has run out"
    assert said.count(line) == 1
    calls.clear()
    held.clear()
    with pytest.raises(UsageError, match=r"memory has run out on .*: lower train_batch_size \(2\)"):
        fit(make_job(tmp_path / "none", loss_of, **settings))


@pytest.mark.parametrize("fails_at", [1, 4])
def test_without_memory_for_the_update_the_step_is_not_tried_again(tmp_path: Path, fails_at: int, monkeypatch, capsys):
    """Some weights may be new ones already; and in the first step there are no graphs yet that could be freed."""
    updates, step = [], Runtime.step

    def failing(runtime, *settings):
        updates.append(None)
        if len(updates) == fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(runtime, *settings)

    monkeypatch.setattr(Runtime, "step", failing)
    with pytest.raises(UsageError, match=r"memory has run out on .*: lower train_batch_size \(4\)"):
        fit(make_job(tmp_path / "run", capture=True))
    assert len(updates) == fails_at and "no longer captured" not in capsys.readouterr().err


def test_what_failed_once_is_not_tried_again_by_later_models_and_runs(monkeypatch, capsys):
    """As when many checkpoints are scored: one line for all of them."""

    def fails(*given: object) -> None:
        raise RuntimeError("not permitted")

    monkeypatch.setattr(captured_step, "CapturedCall", fails)
    for _ in range(3):
        runtime = Runtime(no_cuda=True, precision="fp32", capture=True)
        predictor = Predictor(torch.nn.Linear(3, 2).eval(), lambda model, batch: model(batch["inputs"]), runtime)
        for _ in range(3):
            predictor({"inputs": torch.ones(1, 3)})
        assert predictor._take.plain_calls == 3
    assert capsys.readouterr().err.count("warning: steps are no longer captured") == 1


def test_evaluations_are_replayed_for_as_long_as_their_predictor_lives():
    runtime = Runtime(no_cuda=True, precision="fp32", capture=True)
    predictor = Predictor(torch.nn.Linear(3, 2).eval(), lambda model, batch: model(batch["inputs"]), runtime)
    inputs = [torch.randn(4, 3) for _ in range(4)]
    for part in inputs:
        found = predictor({"inputs": part, "rows": 4, "terms": 1, "real_tokens": 1, "padded_tokens": 1})
        assert torch.equal(found, predictor.model(part)) and not found.requires_grad
    assert (predictor._take.plain_calls, predictor._take.replays) == (1, 3)
    assert len(runtime._replayed) == 1
    gc.disable()  # model and graphs go with the predictor, not when Python next looks for garbage
    try:
        model = weakref.ref(predictor.model)
        del predictor
        assert model() is None and len(runtime._replayed) == 0
    finally:
        gc.enable()


def test_only_steps_of_one_micro_batch_are_one_graph(tmp_path: Path):
    def is_one_graph(**settings: Any) -> bool:
        return TrainingRun(make_job(tmp_path / "run", **settings)).stepper.is_one_graph

    assert is_one_graph(capture=True)
    assert not is_one_graph(capture=True, gradient_accumulation_steps=2) and not is_one_graph()


# --------------------------------------------------------------------------------------------------------------------
# The scripts
# --------------------------------------------------------------------------------------------------------------------

STEPS = {"steps": "--max_steps 10 --eval_steps 5 --save_steps 10".split()}


@pytest.fixture(scope="module", autouse=True)
def still(user: User) -> None:
    make_models(user.folder)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_script_with_captured_steps_is_the_script(user: User, script: str):
    name = script.removesuffix(".py")
    plain, captured = f"{name}-uncaptured", f"{name}-captured"
    user.types(*command(script, plain, 8, **STEPS), "--no_cuda", script=script)
    said = user.types(*command(script, captured, 8, "--capture", "true", **STEPS), script=script).err
    assert_close_in_size(user.losses(captured), user.losses(plain))
    last = user.log(captured, "train")[-1]
    assert len(user.losses(plain)) == 10 and last["replayed_steps"] + last["plain_steps"] == 10
    assert last["graphs"] >= 1 and last["replayed_steps"] >= 1
    assert f"graphs rehearsed for training: {last['graphs']}, in " in said
    results = [user.results(folder) for folder in (captured, plain)]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], rel=1e-5)
    assert results[0]["training"]["graphs"] == last["graphs"] and "graphs" not in results[1]["training"]
    assert results[0]["step"] == results[1]["step"]
    pair = [load_file(user.run_dir(folder) / "checkpoint-10/model.safetensors") for folder in (captured, plain)]
    assert_modules_close(*pair)
    for path in user.run_dir(plain).glob("predictions.*"):
        assert (user.run_dir(captured) / path.name).read_text().count("\n") == path.read_text().count("\n") > 10


@pytest.mark.slow
def test_of_two_processes_micro_batches_are_replayed(user: User):
    """The gradients are added up in between, so that a step is no graph by itself."""
    script, words = "pretrain_spanbert.py", {"steps": "--max_steps 8 --eval_steps 0 --save_steps 0".split()}
    user.types(*command(script, "captured-by-one", 8, **words), "--no_cuda", script=script)
    # Without --no_cuda where there is no GPU, so that processes are not told that they are on CPUs.
    words["steps"] += ["--no_cuda"] * torch.cuda.is_available()
    two = command(script, "captured-by-two", 2, "--gradient_accumulation_steps", 2, "--capture", "true", **words)
    _, said = ended(by_two(user, script, *two))
    assert_close_in_size(user.losses("captured-by-two"), user.losses("captured-by-one"))
    assert "micro-batches replayed: " in said


# What is on the device, and what is not: on torch's device that computes nothing and holds no values, whatever reads a
# value fails; and so does here whatever brings a tensor from the CPU.


class NothingFromTheCpu(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, given=(), settings=None):
        output = function(*given, **(settings or {}))
        for leaf in tree_leaves((given, settings, output)):
            if isinstance(leaf, torch.Tensor) and leaf.dim():
                assert leaf.device.type == "meta", f"{function} with a tensor on the {leaf.device}"
        return output


def placed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: placed(part) for name, part in value.items()}
    return value.to(torch.device("meta")) if isinstance(value, torch.Tensor | Packing) else value


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("script", [*COMMANDS, "pretrain_splinter.py --mlm true"])
def test_a_step_and_an_evaluation_read_nothing_and_bring_nothing_along(user: User, script: str, dtype, monkeypatch):
    """With a kernel for rows of any length in bf16, without one in fp32."""
    script, *words = script.split()
    monkeypatch.chdir(user.folder)
    for module in (unpadding, bigbird):
        monkeypatch.setattr(module, "kernel_for", lambda device, of, size: "flash" if of != torch.float32 else None)
    monkeypatch.setattr(torch, "autocast", lambda *device, **settings: contextlib.nullcontext())  # not of that device
    runtime = Runtime(no_cuda=True, precision="fp32", capture=True)
    if script in OBJECTIVES:
        learner, blocks = build_objective(user.folder, script, runtime, *words)
        rows = blocks.lengths.argsort()[-40:]
        batch, predict = learner.make_batch(blocks, rows, RowDraws([1], rows), None), learner.sums_of
        network, loss_of = learner.model, learner.loss_of
    else:
        config = config_of(script, command(script, "nowhere", 8))
        ready, splits, loss_of = handed_to_train(script, config, runtime, monkeypatch)
        network, predict, split = ready.network, ready.predictor.predict, splits["train"]
        batch = split.collate(split.features.lengths.argsort()[-4:], None)
    batch = placed(without_counts(batch))
    assert script != "run_long_qa.py" or batch["inputs"]["input_ids"].shape[1] > 704  # or no attention is sparse
    model = network.to("meta").to(dtype).train()
    loss_of(model, batch)  # the first time, which is not recorded, tables may be brought along
    with NothingFromTheCpu():
        loss_of(model, batch).backward()
        model.eval()
        assert predict(model, batch).device.type == "meta"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--capture", "true", "--use_tpu"],
            "--capture has no effect beside use_tpu: XLA makes its own graphs",
        ),
        (["--capture", "maybe"], '--capture must be true or false, not "maybe"'),
    ],
)
def test_what_is_refused(is_refused: Callable, words: list, message: str):
    assert message in is_refused(*nsmc("refused-capture", *words))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused(user: User, is_refused: Callable):
    ordinary = {name: value for name, value in user.environment.items() if name != "REHEARSE_CAPTURE"}
    said = is_refused(*nsmc("refused-capture", "--capture", "true"), env=ordinary)
    assert said.startswith("capture needs a GPU: ") and "\n" not in said
    assert said.endswith("Torch not compiled with CUDA enabled") or "driver" in said
    said = is_refused(*nsmc("refused-capture", "--capture", "true", "--no_cuda"), env=ordinary)
    assert said == "capture needs a GPU, and no_cuda leaves it out"


def test_a_dry_run_times_replayed_steps(user: User, types: Callable):
    said = types(*nsmc("dry-captured", "--capture", "true", "--dry_run")).err
    assert "dry run: " in said and "graphs captured" not in said
