"""A training job small enough to run within a test: 27 rows, a network of some hundred weights, two losses."""

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from training.checkpoint import CheckpointFolder
from training.interrupt import Interrupted
from training.loop import Job, fit
from training.plan import Plan
from training.results import MetricsLog
from training.runtime import Runtime
from workflows.settings import FineTuningConfig

ROWS, WIDTH = 27, 6
INPUTS = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
LABELS = (INPUTS.sum(dim=1) > 0).long()
# How many terms each row's loss has: rows of one term, of several, and of none.
TERMS = np.array([[1, 3, 0, 2][row % 4] for row in range(ROWS)])
ONE_TERM = np.ones(ROWS, dtype=np.int64)


class Network(nn.Module):
    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.inner, self.norm, self.outer = nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.Linear(8, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs):
        return self.outer(self.dropout(self.norm(self.inner(inputs).tanh())))


def collate(rows: np.ndarray, size: int | None = None, terms_of_rows: np.ndarray = ONE_TERM) -> dict:
    return {
        "inputs": {"inputs": INPUTS[rows]},
        "labels": LABELS[rows],
        "terms_of_rows": torch.from_numpy(terms_of_rows[rows]),
        "row_ids": torch.from_numpy(rows),
        "rows": len(rows),
        "terms": int(terms_of_rows[rows].sum()),
        "real_tokens": 3 * len(rows),
        "padded_tokens": 4 * len(rows),
    }


def loss_of_rows(model, batch):
    logits = model(**batch["inputs"])
    return nn.functional.cross_entropy(logits, batch["labels"], reduction="sum")


def loss_of_terms(model, batch):
    """A loss whose rows have different numbers of terms, as rows have different numbers of masked tokens."""
    losses = nn.functional.cross_entropy(model(**batch["inputs"]), batch["labels"], reduction="none")
    return (losses * batch["terms_of_rows"]).sum()


def make_job(folder: Path, loss_of=loss_of_rows, evaluate=None, dropout=0.0, model=None, **settings) -> Job:
    fixed = {"task": "t", "model_type": "m", "ckpt_dir": str(folder.parent), "output_dir": folder.name}
    defaults = {"train_batch_size": 4, "learning_rate": 0.01, "logging_steps": 1, "save_steps": 0, "eval_steps": 0}
    config = FineTuningConfig(**(fixed | defaults | settings))
    folder.mkdir(exist_ok=True)
    torch.manual_seed(7)
    model = model or Network(dropout)
    runtime = Runtime(no_cuda=True, precision="fp32", capture=config.capture)
    terms_of_rows = TERMS if loss_of is loss_of_terms else ONE_TERM
    return Job(
        model=model,
        plan=Plan.of(config, ROWS, runtime),
        collate=lambda row_ids, draws, size: collate(row_ids, size, terms_of_rows),
        loss_of=loss_of,
        config=config,
        runtime=runtime,
        checkpoints=CheckpointFolder(folder, config.save_total_limit, config.save_optimizer),
        log=MetricsLog.of(config),
        write_model=lambda target, state: save_file(model.state_dict(), target / "model.safetensors"),
        identity={"learning_rate": config.learning_rate, "data": "abc"},
        data={"train.tsv": "abc"},
        evaluate=evaluate,
        main_metric="accuracy",
        greater_is_better=True,
    )


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in MetricsLog(folder).read() if line["event"] == "train"]


def weights(job: Job) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in job.model.state_dict().items()}


RESUMABLE = {"num_train_epochs": 3, "gradient_accumulation_steps": 2, "train_batch_size": 2, "dropout": 0.3}


def accuracy_of(job_holder: list) -> object:
    def evaluate_now():
        model = job_holder[0].model
        with torch.no_grad():
            return "dev", {"accuracy": float((model(INPUTS).argmax(dim=1) == LABELS).float().mean())}

    return evaluate_now


def evaluated_job(folder: Path, **settings) -> Job:
    holder: list[Job] = []
    holder.append(make_job(folder, evaluate=accuracy_of(holder), **(RESUMABLE | settings)))
    return holder[0]


def interrupt_where(job: Job, is_there: Callable[[], bool], number: int = signal.SIGINT) -> None:
    """Makes the job send itself a signal at each micro-batch for which `is_there`, before that is collated."""
    original = job.collate

    def interrupting_collate(rows, draws, size):
        if is_there():
            os.kill(os.getpid(), number)
        return original(rows, draws, size)

    object.__setattr__(job, "collate", interrupting_collate)


def expect_an_interruption_to_change_nothing(folder: Path, stop_after: int, **settings) -> None:
    """Compares a run with dropout that is interrupted after `stop_after` steps and resumed with one never stopped."""
    whole = evaluated_job(folder / "whole", **settings)
    fit(whole)

    cut = evaluated_job(folder / "cut", **settings)
    batches = itertools.count(1)
    # Between two micro-batches of a step, or after its last.
    interrupt_where(cut, lambda: next(batches) == 2 * stop_after)
    with pytest.raises(Interrupted, match="checkpoint-"):
        fit(cut)
    torch.manual_seed(999)  # whatever happens in between
    resumed = evaluated_job(folder / "cut", **settings, resume=True)
    fit(resumed)

    files = [
        sorted(str(path.relative_to(folder / name)) for path in (folder / name).rglob("*")) for name in ("cut", "whole")
    ]
    assert files[0] == files[1]  # the checkpoint of the interruption is gone
    assert losses(folder / "cut") == losses(folder / "whole")
    assert resumed.log.evaluations() == whole.log.evaluations()
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(whole).items())
