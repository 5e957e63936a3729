"""What the runs of a table cost on an H100: an estimate from measured rates, the official files' sizes, the settings.

The rates stand here alone. Each one says where it comes from: a measurement, or an assumption that nobody has measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.results_reading import markdown_grid

SIZES = json.loads(Path(__file__).with_name("table_sizes.json").read_text(encoding="utf-8"))
HOUR = 3600.0
# Measured on an H100 80GB with 16 slow CPU cores, KoELECTRA-Base's shape, bf16, steps captured as CUDA graphs (a
# prototype of today's): tokens of a step, and its seconds. 4,200 rows/s of NSMC, 32 a step; 765 windows/s of KorQuAD,
# 8 a step.
MEASURED_STEPS = ((32 * 20.8, 32 / 4200), (8 * 266.0, 8 / 765))
(_few, _short), (_many, _long) = MEASURED_STEPS
TOKEN_SECONDS = (_long - _short) / (_many - _few)  # of a training step; a step between the two is interpolated
STEP_SECONDS = _short - _few * TOKEN_SECONDS  # whatever a step holds: launching a graph, and the optimizer
# Not measured: a forward pass takes a third of a step, as backward costs two more and the optimizer is left out.
FORWARD_SHARE = 1 / 3
# Measured on one core of an AMD EPYC, 856 questions of KorQuAD: finding a question's n best answers and scoring them.
ANSWER_SECONDS = 0.00026
# Measured likewise: scoring a sentence of naver-ner, and a row of NSMC, which stands for all other tasks.
SENTENCE_SECONDS, ROW_SECONDS = 0.00004, 0.000008
# Not measured on an H100. On two cores of an AMD EPYC torch and transformers take 7.4 s to import; reading, tokenizing,
# loading the model and capturing 22 graphs (4.6 s, measured on an H100) come on top.
START_SECONDS = 25.0
# Measured on one core of an AMD EPYC: putting a checkpoint's weights into a base model, to score them.
LOAD_SECONDS = 0.1
# A checkpoint of a base model: weights, and the two moments of AdamW, in fp32. How fast a disk takes them is assumed.
CHECKPOINT_BYTES = 3 * 4 * 110e6
DISK_BYTES_PER_SECOND = 1e9


@dataclass(frozen=True)
class Cost:
    """An estimate of one run. Evaluations are those on a whole split, kept is how many checkpoints stay on the disk;
    training, evaluating and saving are seconds.
    """

    task: str
    steps: int
    tokens: float
    evaluations: int
    evaluated_tokens: float
    checkpoints: int
    kept: int
    training: float
    evaluating: float
    saving: float

    @property
    def seconds(self) -> float:
        """The whole run."""
        return START_SECONDS + self.training + self.evaluating + self.saving


def cost_of(task: str, config: Any) -> Cost:
    """The estimate for a run on the official files with these settings, to its last epoch (no early stopping)."""
    from training.plan import Plan

    sizes = SIZES[task]
    rows, tokens_of_row = sizes["train"]
    step_rows = config.train_batch_size * config.gradient_accumulation_steps
    settings = (config.num_train_epochs, config.seed, config.max_steps, config.min_steps)
    plan = Plan(rows, config.train_batch_size, step_rows, *settings)
    tokens = plan.steps * min(step_rows, rows) * tokens_of_row
    during = times(plan, config.evaluates_every)
    checkpoints = times(plan, config.save_steps)
    split = config.training_split
    # At the end each checkpoint is scored on test, unless that was done during training; then only the reported one.
    at_end = checkpoints if config.eval_all_checkpoints and split != "test" else 1
    passes = [(sizes[split], during), (sizes["test"], at_end)]
    scoring = SENTENCE_SECONDS if task.endswith("-ner") else ROW_SECONDS
    evaluating = sum(
        count * (pass_seconds(size, config.eval_batch_size) + size[0] * scoring) for size, count in passes if count
    )
    evaluating += at_end * LOAD_SECONDS + (during + at_end) * sizes.get("questions", 0) * ANSWER_SECONDS
    return Cost(
        task=task,
        steps=plan.steps,
        tokens=tokens,
        evaluations=during + at_end,
        evaluated_tokens=sum(count * size[0] * size[1] for size, count in passes),
        checkpoints=checkpoints,
        kept=min(checkpoints, config.save_total_limit or checkpoints),
        training=plan.steps * STEP_SECONDS + tokens * TOKEN_SECONDS,
        evaluating=evaluating,
        saving=checkpoints * CHECKPOINT_BYTES / DISK_BYTES_PER_SECOND,
    )


def times(plan: Any, every: int | str) -> int:
    """How often something is done every so many steps (or after each epoch), and after the last step."""
    period = plan.steps_per_epoch if every == "epoch" else every
    return math.ceil(plan.steps / period) if period else 0


def pass_seconds(size: Sequence[float], batch_size: int) -> float:
    """One pass over a split. size: its rows, and tokens a row."""
    rows, tokens = size
    return FORWARD_SHARE * (math.ceil(rows / batch_size) * STEP_SECONDS + rows * tokens * TOKEN_SECONDS)


def cost_table(costs: Mapping[str, Cost], titles: Mapping[str, str], seeds: int) -> str:
    """The estimate in Markdown, a row for each task and the sum, and what to know about it below.

    costs: of one run of each task. titles: of the tasks. seeds: how many runs each task has.
    """
    header = ["task", "steps", "tokens", "evaluations", "tokens evaluated", "training", "evaluating", "saving",
              "all"]  # fmt: skip
    lines = [[titles[task], *_cells(cost)] for task, cost in costs.items()]
    every = list(costs.values())
    total = Cost("", *(sum(getattr(cost, name) for cost in every) for name in list(Cost.__annotations__)[1:]))
    whole = sum(cost.seconds for cost in every)  # with the start of each run
    lines.append(["sum", *_cells(total)[:-1], minutes(whole)])
    told = f"{minutes(whole)} for one seed" + (f", {minutes(seeds * whole)} for {seeds}" if seeds > 1 else "")
    gigabytes = seeds * sum(cost.kept for cost in every) * CHECKPOINT_BYTES / 3e9
    return (
        f"{markdown_grid([header, *lines])}\n\n"
        f"An estimate for a base model on one H100, not a measurement (scripts/reporting/table_cost.py): {told}.\n"
        f"Checkpoints fill {gigabytes:,.0f} GB of the disk; --save_total_limit 1 keeps the best and the newest only.\n"
    )


def _cells(cost: Cost) -> list[str]:
    seconds = (cost.training, cost.evaluating, cost.saving, cost.seconds)
    counts = [f"{cost.steps:,}", f"{cost.tokens / 1e6:,.1f} M", str(cost.evaluations),
              f"{cost.evaluated_tokens / 1e6:,.1f} M"]  # fmt: skip
    return [*counts, *map(minutes, seconds)]


def minutes(seconds: float) -> str:
    """`12.3 min`."""
    return f"{seconds / 60:,.1f} min"
