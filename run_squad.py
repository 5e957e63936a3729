"""Fine-tunes an encoder on extractive question answering (SQuAD format), scores it, and answers new questions.

python3 run_squad.py --task korquad --config_file xlm-roberta.json
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --seeds 42 43 44
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --version_2_with_negative \\
    --train_file squad2_train.json --predict_file squad2_dev.json --output_dir squad2
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --do_predict --input_file questions.json
"""

from __future__ import annotations

import sys

from learners.question_answering import QuestionAnswerer, QuestionAnsweringConfig, recipe_of
from workflows.fine_tuning import run_recipe

RECIPE = recipe_of("run_squad.py", QuestionAnsweringConfig, QuestionAnswerer)

if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE))
