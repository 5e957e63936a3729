"""`TASKS`: all tasks by the name that `--task` takes. `TASKS_OF_SCRIPT`: the tasks that each script runs.

`SCRIPT_OF_TASK` has the first script of each task.
"""

from processors.klue import KLUE_TASKS
from processors.klue_ner import KLUE_NER_TASKS
from processors.metrics import METRICS
from processors.ner import NER_TASKS
from processors.qa.long_qa import LONG_QA_TASKS
from processors.qa.questions import FEW_SHOT_TASKS, QA_TASKS
from processors.seq_cls import SEQUENCE_CLASSIFICATION_TASKS
from processors.task import Task

TASKS_OF_SCRIPT: dict[str, tuple[Task, ...]] = {
    "run_seq_cls.py": SEQUENCE_CLASSIFICATION_TASKS + KLUE_TASKS,
    "run_ner.py": NER_TASKS + KLUE_NER_TASKS,
    "run_squad.py": QA_TASKS,
    "run_long_qa.py": LONG_QA_TASKS + QA_TASKS,
    "run_splinter_qa.py": FEW_SHOT_TASKS,
}
TASKS: dict[str, Task] = {}
SCRIPT_OF_TASK: dict[str, str] = {}
for _script, _tasks in TASKS_OF_SCRIPT.items():
    for _task in _tasks:
        SCRIPT_OF_TASK.setdefault(_task.name, _script)
        if TASKS.setdefault(_task.name, _task) is not _task:
            raise ValueError(f"two tasks are named {_task.name}")
for _task in TASKS_OF_SCRIPT["run_seq_cls.py"]:
    if _unknown := set(_task.metrics) - METRICS.keys():
        raise ValueError(f"task {_task.name}: unknown metrics {sorted(_unknown)}; known are {', '.join(METRICS)}")
