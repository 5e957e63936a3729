"""Fine-tunes an encoder on extractive question answering (SQuAD format), scores it, and answers new questions.

python3 run_squad.py --task korquad --config_file xlm-roberta.json
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --seeds 42 43 44
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --version_2_with_negative \\
    --train_file squad2_train.json --predict_file squad2_dev.json --output_dir squad2
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --do_predict --input_file questions.json
"""

from __future__ import annotations

import sys

from learners.question_answering import QuestionAnsweringConfig, Reader, prediction_files
from models import ModelError, find_model
from processors import SCRIPT_OF_TASK, TASKS_OF_SCRIPT
from processors.qa import read_unanswered
from processors.splits import read_splits
from processors.task import DataError
from training.fine_tuning import Recipe, run_recipe

RECIPE = Recipe(
    tasks={task.name: task for task in TASKS_OF_SCRIPT["run_squad.py"]},
    script_of_task=SCRIPT_OF_TASK,
    config_class=QuestionAnsweringConfig,
    errors=(DataError, ModelError),
    find_model=find_model,
    learner=Reader,
    read_splits=read_splits,
    read_inputs=read_unanswered,
    prediction_files=prediction_files,
    test_file_key="predict_file",
)

if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE))
