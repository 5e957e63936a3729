"""Fine-tunes an encoder on questions about long documents, scores it, and answers new questions.

python3 run_long_qa.py --task tydiqa --config_file kobigbird-bert-base.json
python3 run_long_qa.py --task tydiqa --config_file klue-roberta-base.json
python3 run_long_qa.py --task korquad-2 --config_file kobigbird-bert-base.json --all_korquad_2_sample
python3 run_long_qa.py --task korquad --config_file kobigbird-bert-base.json --attention full
python3 run_long_qa.py --task tydiqa --config_file kobigbird-bert-base.json --do_predict --input_file questions.jsonl
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from learners.question_answering import QuestionAnswerer, QuestionAnsweringConfig, recipe_of
from processors.qa.korquad_2 import first_of_each_context
from processors.qa.questions import Questions
from training.config import Contradiction, Given, is_typed
from workflows.fine_tuning import Split, run_recipe


class LongQuestionAnsweringConfig(QuestionAnsweringConfig):
    """Long documents"""

    ALIASES: ClassVar = {"skip_bad_documents": "skip_bad_rows"}

    all_korquad_2_sample: bool = Field(
        False, description="korquad-2: train on all questions about a document, not only on the first"
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if is_typed("all_korquad_2_sample", given) and self.task != "korquad-2":
            message = f"--all_korquad_2_sample is a setting of korquad-2, and has no effect on {self.task}"
            yield Contradiction(("all_korquad_2_sample", "task"), message)


class LongQuestionAnswerer(QuestionAnswerer):
    """As for short documents; of korquad-2's it trains on the first question of each, as published."""

    def prepare(self, name: str, rows: Questions) -> Split:
        if name == "train" and self.config.task == "korquad-2" and not self.config.all_korquad_2_sample:
            rows = first_of_each_context(rows)
        return super().prepare(name, rows)


RECIPE = dataclasses.replace(
    recipe_of("run_long_qa.py", LongQuestionAnsweringConfig, LongQuestionAnswerer),
    published_batch="published: 64, on 8 devices",  # KoBigBird's batches were a device's, on a TPU of 8 cores
)

if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE))
