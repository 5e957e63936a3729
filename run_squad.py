"""Fine-tunes an encoder on extractive question answering (SQuAD format), scores it, and answers new questions.

python3 run_squad.py --task korquad --config_file xlm-roberta.json
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --seeds 42 43 44
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --version_2_with_negative \\
    --train_file squad2_train.json --predict_file squad2_dev.json --output_dir squad2
python3 run_squad.py --task korquad --config_file koelectra-base-v3.json --do_predict --input_file questions.json
python3 run_squad.py --task korquad --model_name_or_path FOLDER_OR_HUB_ID --do_eval      # a model fine-tuned elsewhere
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from workflows.startup import start

    start()

import sys
from pathlib import Path
from typing import Any

from processors import TASKS, TASKS_OF_SCRIPT
from workflows.fine_tuning import ReadyModel, Split, find_model_folder, load_tokenizer, make_ready, read_rows, train
from workflows.predictions import read_inputs, write_predictions
from workflows.question_answering import (
    QuestionAnsweringConfig,
    answers_of,
    build_span_model,
    encode_questions,
    read_questions,
    score_answers,
    span_cross_entropies,
    span_logits,
)
from workflows.scoring import Scored, score_checkpoints, selected_checkpoint, write_results
from workflows.script import open_device, run_script


def main(config: QuestionAnsweringConfig, overwrite: bool) -> dict[str, Any] | None:
    """A run from its files to its scores and answers. Returns the results, or None where nothing is scored."""
    task = TASKS[config.task]
    rows = read_rows(config, task)
    questions = read_inputs(config, task, read_questions)
    folder = find_model_folder(config, task)
    runtime = open_device(config)
    results = None

    def encode(model: ReadyModel, name: str, rows: Any) -> Split:
        return encode_questions(config, runtime, model, name, rows)

    def score(model: ReadyModel, split: Split) -> Scored:
        return score_answers(config, task, split, answers_of(config, model, split))

    if config.do_train:
        runtime.seed(config.seed)
        model = load(config, runtime, folder, is_trained=False)
        splits = {name: encode(model, name, rows[name]) for name in rows}
        train(config, runtime, task, model, splits, span_cross_entropies, score, overwrite)
        del model, splits  # frees memory before the checkpoints are loaded
    if config.dry_run:
        return None

    if config.do_eval:

        def load_checkpoint(checkpoint: Path) -> tuple[ReadyModel, Split]:
            model = load(config, runtime, checkpoint, is_trained=True)
            return model, encode(model, "test", rows["test"])

        selected = score_checkpoints(config, runtime, task, folder, load_checkpoint, score)
        files = selected.scored.outputs.files()
        results = write_results(config, runtime, task, selected, len(rows["test"]), files)

    if config.do_predict:
        checkpoint = selected_checkpoint(config, task, folder)
        model = load(config, runtime, checkpoint, is_trained=True)
        answers = answers_of(config, model, encode(model, "predict", questions))
        write_predictions(config, runtime, checkpoint, len(questions), answers.files())
    return results


def load(config: QuestionAnsweringConfig, runtime, folder: Path, is_trained: bool) -> ReadyModel:
    """The model in a folder with a head for spans, which is trained already or fresh."""
    tokenizer = load_tokenizer(config, runtime, folder)
    model = build_span_model(config, folder, tokenizer, is_trained)
    return make_ready(config, runtime, model, tokenizer, span_logits, "max_seq_length")


if __name__ == "__main__":
    tasks = TASKS_OF_SCRIPT["run_squad.py"]
    sys.exit(run_script(__file__, __doc__, sys.argv[1:], QuestionAnsweringConfig, tasks, main))
