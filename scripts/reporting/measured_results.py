"""What the page of results needs of the files of measure_tasks.py and measure_few_shot.py, and the checks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from reporting.few_shot_cells import METRICS
from reporting.measured import FEW_SHOT_ARMS, PRETRAINED, SCRATCH

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]  # a fraction; a correlation may be below 0


class MeasuredRun(BaseModel):
    """A run. metrics: those that the tables show are fractions; there may be others. seconds: of its steps."""

    seed: int
    metrics: dict[str, float]
    at_chance: bool
    rows_per_step: int
    steps: int
    epochs: Amount
    seconds: Amount


class Grid(BaseModel):
    """The learning rates that were tried. grid: rate -> score on the held-back rows. learning_rate: the one used."""

    grid: dict[float, Score]
    learning_rate: float

    @model_validator(mode="after")
    def check_rate(self) -> Grid:
        """Raises ValueError where the rate that was used was not tried."""
        if self.learning_rate not in self.grid:
            raise ValueError(f"learning_rate {self.learning_rate:g} is not in the grid")
        return self


class Arm(Grid):
    """The runs of the pretrained model, or those from scratch."""

    runs: Annotated[list[MeasuredRun], Field(min_length=1)]


class Hardware(BaseModel):
    """What a run was made on. threads: None on a GPU."""

    name: str
    precision: str
    threads: int | None = None


class MeasuredTask(BaseModel):
    """What the tables need of a file that scripts/measure_tasks.py has written.

    rows: split -> how many; questions in question answering. files: name -> SHA-256, the training file first.
    """

    folder: str
    derived: bool
    full: bool
    model: str
    shape: dict[str, int]
    pretraining: dict[str, Any] | None
    measured_by: str
    command: str
    main_metric: str
    rows: dict[str, int]
    files: dict[str, str]
    hardware: Hardware
    other_hardware: list[Hardware] = []
    arms: dict[str, Arm]

    @model_validator(mode="after")
    def check_content(self) -> MeasuredTask:
        """Raises ValueError where a name that the tables look up is missing, or the models have different seeds."""
        check_names(self.arms, (PRETRAINED, SCRATCH), "arms")
        check_names(self.rows, ("train", "test"), "rows")
        if len(self.files) != 2:
            raise ValueError("files must be the training file and the test file")
        check_pair([self.arms[name].runs for name in (PRETRAINED, SCRATCH)], (self.main_metric,))
        return self


class FewShotArm(Grid):
    """A model of the few-shot study. sizes: size -> its samples."""

    command: str
    sizes: dict[int, Annotated[list[MeasuredRun], Field(min_length=1)]]


class MeasuredFewShot(BaseModel):
    """What scripts/measure_few_shot.py has written. held_out: step of the pretraining -> shares of held-out questions.

    resamples: of the bootstrap. p: size -> model -> metric -> p of "it is no better than the other model".
    """

    hardware: Hardware
    other_hardware: list[Hardware] = []
    measured_by: str
    held_out: dict[int, dict[str, Score]]
    arms: dict[str, FewShotArm]
    resamples: Annotated[int, Field(ge=1)]
    p: dict[int, dict[str, dict[str, Share]]]

    @model_validator(mode="after")
    def check_content(self) -> MeasuredFewShot:
        """Raises ValueError where a name that the tables look up is missing, or the models have different samples."""
        check_names(self.arms, FEW_SHOT_ARMS, "arms")
        for name in FEW_SHOT_ARMS:
            if list(self.arms[name].sizes) != list(self.p):
                raise ValueError(f"the sizes of {name!r} are not those of p")
        for size, of_size in self.p.items():
            check_names(of_size, FEW_SHOT_ARMS, f"p of size {size}")
            for name in FEW_SHOT_ARMS:
                check_names(of_size[name], METRICS, f"p of size {size}, {name}")
            check_pair([self.arms[name].sizes[size] for name in FEW_SHOT_ARMS], METRICS)
        return self


def check_names(content: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    """Raises ValueError where one of the names is missing in what the file calls `what`."""
    if missing := [name for name in names if name not in content]:
        raise ValueError(f"{what} has no {missing[0]!r}")


def check_pair(runs: Sequence[Sequence[MeasuredRun]], metrics: Sequence[str]) -> None:
    """Raises ValueError where the runs of two models have different seeds, or lack a score that is a fraction."""
    ours, theirs = runs
    if seeds_of(ours) != seeds_of(theirs):
        raise ValueError("the two models were trained with different seeds")
    for run in [*ours, *theirs]:
        check_names(run.metrics, metrics, f"metrics of seed {run.seed}")
        for name in metrics:
            if not abs(run.metrics[name]) <= 1:  # nan is refused too
                raise ValueError(f"{name} of seed {run.seed} is {run.metrics[name]}: scores are fractions")


def seeds_of(runs: Iterable[MeasuredRun]) -> list[int]:
    """The seeds, in the order of the runs."""
    return [run.seed for run in runs]
