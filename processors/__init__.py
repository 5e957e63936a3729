"""`TASKS`: every task there is, by the name that `--task` takes."""

from processors.seq_cls import SEQUENCE_CLASSIFICATION_TASKS
from processors.task import Task

TASKS: dict[str, Task] = {}
for _task in SEQUENCE_CLASSIFICATION_TASKS:
    if _task.name in TASKS:
        raise ValueError(f"two tasks are named {_task.name}")
    TASKS[_task.name] = _task
