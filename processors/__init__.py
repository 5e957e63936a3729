"""`TASKS`: all tasks by the name that `--task` takes. `TASKS_OF_SCRIPT`: the tasks that each script runs.

`SCRIPT_OF_TASK` has the first script of each task. `problems_of_all_tasks` says what is wrong with them.
"""

from processors.klue import KLUE_TASKS
from processors.klue_ner import KLUE_NER_TASKS
from processors.ner import NER_TASKS
from processors.qa.long_qa import LONG_QA_TASKS
from processors.qa.questions import FEW_SHOT_TASKS, QA_TASKS
from processors.seq_cls import SEQUENCE_CLASSIFICATION_TASKS
from processors.task import Task
from processors.task_checks import Kind, problems_of_tasks

TASKS_OF_SCRIPT: dict[str, tuple[Task, ...]] = {
    "run_seq_cls.py": SEQUENCE_CLASSIFICATION_TASKS + KLUE_TASKS,
    "run_ner.py": NER_TASKS + KLUE_NER_TASKS,
    "run_squad.py": QA_TASKS,
    "run_long_qa.py": LONG_QA_TASKS + QA_TASKS,
    "run_splinter_qa.py": FEW_SHOT_TASKS,
}
KIND_OF_SCRIPT: dict[str, Kind] = {"run_seq_cls.py": "texts", "run_ner.py": "words"}  # the others ask questions
TASKS: dict[str, Task] = {}
SCRIPT_OF_TASK: dict[str, str] = {}
for _script, _tasks in TASKS_OF_SCRIPT.items():
    for _task in _tasks:
        SCRIPT_OF_TASK.setdefault(_task.name, _script)
        TASKS.setdefault(_task.name, _task)


def problems_of_all_tasks() -> list[str]:
    """What is wrong with the tasks of all scripts, a line for each problem (`processors/task_checks.py`)."""
    return problems_of_tasks(
        (KIND_OF_SCRIPT.get(script, "questions"), tasks) for script, tasks in TASKS_OF_SCRIPT.items()
    )
