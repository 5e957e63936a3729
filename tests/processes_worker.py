"""The scenarios that `test_processes.py` runs in several processes.

python3 -m torch.distributed.run ... processes_worker.py FOLDER

Each scenario leaves what it found in FOLDER, in `<name>-<process>.json`, or a run's own files.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from small_jobs import Network, loss_of_terms, make_job
from training.evaluate import Predictor, evaluate
from training.interrupt import Interrupted
from training.loop import fit
from training.processes import leave
from training.runtime import Runtime

SETTINGS = {"train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 2, "weight_decay": 0.1}


def outputs_of(rows: np.ndarray, size: int | None) -> dict:
    numbers = torch.tensor(rows, dtype=torch.float32)
    return {
        "numbers": numbers,
        "rows": len(rows),
        "terms": len(rows),
        "real_tokens": len(rows),
        "padded_tokens": len(rows),
    }


def everything_scored(runtime: Runtime) -> dict[int, list]:
    """Row ids and outputs, as they come, for each number of rows."""

    def predict(model, batch):
        return torch.stack([batch["numbers"], batch["numbers"] ** 2], dim=1)

    predictor, found = Predictor(Network(), predict, runtime), {}
    for count in range(12):
        lengths = np.arange(count) % 4 + 1
        batches = list(evaluate(predictor, outputs_of, lengths, 2))
        found[count] = [
            [row, *values]
            for rows, outputs in batches
            for row, values in zip(rows.tolist(), outputs.tolist(), strict=True)
        ]
    return found


def told(runtime: Runtime) -> dict:
    tensors = [torch.full((2, 3), 1.0 + runtime.process), torch.tensor(10.0 * runtime.process)]
    runtime.add_up(tensors)
    with runtime.first_alone():
        seen = sorted(path.name for path in Path(sys.argv[1]).glob("seen-*"))
        (Path(sys.argv[1]) / f"seen-{runtime.process}").touch()
    model = Network()
    with torch.no_grad():
        model.outer.bias.fill_(runtime.process)
    return {
        "added": [tensors[0].tolist(), float(tensors[1])],
        "sums": runtime.sums([1, runtime.process]),
        "gathered": runtime.gather({"process": runtime.process}),
        "others before": "seen-0" in seen,
        "weights": runtime.prepare(model).outer.bias.tolist(),
    }


def interrupted(folder: Path) -> None:
    """The second process alone is asked to stop, in its sixth micro-batch, which is in the fourth step."""
    job, taken = make_job(folder, loss_of_terms, **SETTINGS), []
    original = job.collate

    def collate(rows, draws, size):
        taken.append(rows)
        if len(taken) == 6 and job.runtime.process == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(rows, draws, size)

    object.__setattr__(job, "collate", collate)
    try:
        fit(job)
    except Interrupted:
        return
    raise AssertionError("nobody stopped")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    runtime = Runtime(no_cuda=True, precision="fp32")
    for name, scenario in (("scored", everything_scored), ("told", told)):
        (target / f"{name}-{runtime.process}.json").write_text(json.dumps(scenario(runtime)))
    whole = make_job(target / "together", loss_of_terms, **SETTINGS)
    fit(whole)
    (target / f"weights-{runtime.process}.json").write_text(
        json.dumps({name: value.tolist() for name, value in whole.model.state_dict().items()})
    )
    interrupted(target / "stopped")
    fit(make_job(target / "begun-alone", loss_of_terms, **(SETTINGS | {"resume": True})))
    leave(0)
