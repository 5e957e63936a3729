"""Every file under `config/`: how many there are, that they are short, and that they say what was published."""

import csv
import json
from pathlib import Path

import pytest

import run_long_qa
import run_ner
import run_seq_cls
import run_splinter_qa
import run_squad
from models import MODELS
from processors import TASKS, TASKS_OF_SCRIPT
from training.command_line import resolve
from training.config import is_typed
from workflows.settings import FineTuningConfig

ROOT = Path(__file__).parents[2]
# The last of a task's scripts is taken for it.
SCRIPTS = {
    "run_seq_cls.py": run_seq_cls.SequenceClassificationConfig,
    "run_ner.py": run_ner.NerConfig,
    "run_splinter_qa.py": run_splinter_qa.SplinterQuestionAnsweringConfig,
    "run_long_qa.py": run_long_qa.LongQuestionAnsweringConfig,
    "run_squad.py": run_squad.QuestionAnsweringConfig,
}
CONFIG_CLASSES = {task.name: SCRIPTS[script] for script in SCRIPTS for task in TASKS_OF_SCRIPT[script]}
TASK_SETTINGS = {
    name: TASKS[name].settings(config_class.TEST_FILE_KEY) for name, config_class in CONFIG_CLASSES.items()
}
# Of fine-tuning published models; what is about pretraining is looked at with its scripts, also where it is fine-tuned.
FILES = sorted(
    path
    for path in (ROOT / "config").rglob("*")
    if path.is_file() and "spanbert" not in str(path.relative_to(ROOT)) and path.parent.name != "splinter"
)
LONG_TASKS = ("fake-news", "modu-sentiment")
LONG_QA_TASKS = ("tydiqa", "korquad-2", "klue-mrc", "korquad")
SAMPLE_TASKS = sorted(set(TASK_SETTINGS) - {"klue-mrc"})  # its format is korquad's
LONG_MODELS = ("kobigbird-bert-base", "klue-roberta-base")

# What all of KoELECTRA's configurations share (facts.md), beside the columns of the table.
CONSTANTS = {
    "data_dir": "data",
    "ckpt_dir": "ckpt",
    "do_train": True,
    "do_eval": True,
    "eval_all_checkpoints": True,
    "save_optimizer": False,
    "do_lower_case": False,
    "no_cuda": False,
    "weight_decay": 0.0,
    "gradient_accumulation_steps": 1,
    "adam_epsilon": 1e-8,
    "max_steps": -1,
    "max_grad_norm": 1.0,
}


# Of the KorQuAD files alone. Nothing is deleted by a file, and threads are wanted by Python tokenizers only.
WITHOUT_EFFECT_ON_SCORES = ("threads", "verbose_logging", "overwrite_output_dir")


def published_rows() -> list[dict]:
    """Rows of the published table; a value is JSON, and an empty cell a key that the file does not have."""
    path = Path(__file__).parent / "published" / "hyperparameters.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = ("task", "config_file")
    return [
        {key: value if key in names else json.loads(value) for key, value in row.items() if value}
        for row in rows
        if row["task"] in TASKS
    ]


PUBLISHED = published_rows()
PUBLISHED_IDS = [f"{row['task']}/{row['config_file']}" for row in PUBLISHED]


def load(task: str, config_file: str, root: Path = ROOT / "config") -> FineTuningConfig:
    argv = ["--task", task, "--config_file", config_file]
    return resolve(CONFIG_CLASSES[task], argv, TASK_SETTINGS, root, "")[0]


def test_how_many_there_are():
    assert len(PUBLISHED) == 80
    assert set(CONFIG_CLASSES) == set(TASKS)
    expected = {f"{row['task']}/{row['config_file']}" for row in PUBLISHED}
    expected |= {f"{task}/{model}.json" for task in LONG_TASKS + LONG_QA_TASKS for model in LONG_MODELS}
    expected |= {f"{task}/sample.json" for task in SAMPLE_TASKS}
    expected |= {f"korquad-few-shot/{model}.json" for model in ("kosplinter", "koelectra-base-v3")}
    assert {str(path.relative_to(ROOT / "config")) for path in FILES} == expected
    assert len(FILES) == 107


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT / "config")) for path in FILES])
def test_resolves_and_holds_only_what_differs_from_the_defaults(path: Path):
    task = path.parent.name
    config = load(task, path.name)
    assert config.task == task
    assert config.model_type in {None, *MODELS}
    fields = {key: field.get_default() for key, field in type(config).model_fields.items()}
    defaults = fields | TASK_SETTINGS[task]
    content = json.loads(path.read_text(encoding="utf-8"))
    assert {key for key, value in content.items() if value == defaults[key]} == set()
    assert {key: getattr(config, key) for key in content} == content
    if path.name != "sample.json":
        assert path.name == f"{config.model_type}.json"


@pytest.mark.parametrize("row", PUBLISHED, ids=PUBLISHED_IDS)
def test_says_what_was_published(row: dict):
    config = load(row["task"], row["config_file"])
    expected = CONSTANTS | {key: value for key, value in row.items() if key != "config_file"}
    assert config.run_dir == Path("ckpt") / expected.pop("output_dir")
    assert MODELS[config.model_type].hub_id == expected.pop("model_name_or_path")
    # What the original evaluates while it trains; that it is the test file needs no setting where there is no dev file.
    assert (config.training_split == "test") == expected.pop("evaluate_test_during_training", True)
    for key in WITHOUT_EFFECT_ON_SCORES:
        expected.pop(key, None)
    assert {key: getattr(config, key) for key in expected} == expected
    # Linear decay, and evaluation where KoELECTRA's loop had it: at every log line, on dev where there is one.
    assert config.lr_scheduler == "linear"
    assert config.evaluates_every == row["logging_steps"]
    assert config.selection == ("dev" if row.get("dev_file") else "test")


@pytest.mark.parametrize("row", PUBLISHED, ids=PUBLISHED_IDS)
def test_an_original_file_drops_in_unchanged(row: dict, tmp_path: Path):
    original = {"task": row["task"]} | CONSTANTS | {key: row[key] for key in row if key not in ("task", "config_file")}
    original |= {"overwrite_output_dir": True, "verbose_logging": True, "threads": 4}
    assert len(original) == (38 if row["task"] == "korquad" else 33)
    folder = tmp_path / row["task"]
    folder.mkdir()
    (folder / row["config_file"]).write_text(json.dumps(original, indent=4), encoding="utf-8")
    config, given = resolve(
        CONFIG_CLASSES[row["task"]],
        ["--config_file", str(folder / row["config_file"])],
        TASK_SETTINGS,
        tmp_path,
        "",
    )
    ours = load(row["task"], row["config_file"])
    assert (config.run_dir, config.training_split) == (ours.run_dir, ours.training_split)
    same = {
        "evaluate_test_during_training": False,
        "output_dir": None,
        "model_name_or_path": None,
        "verbose_logging": False,
        "threads": 1,
    }
    same = {key: value for key, value in same.items() if key in type(config).model_fields}
    assert config.model_copy(update={**same, "overwrite_output_dir": False}) == ours
    # A file cannot destroy anything: deleting an earlier run takes the flag.
    assert config.overwrite_output_dir and not is_typed("overwrite_output_dir", given)


@pytest.mark.parametrize("task, epochs", [("fake-news", 10), ("modu-sentiment", 20)])
@pytest.mark.parametrize(
    "model, length, batch, accumulation", [("kobigbird-bert-base", 1024, 4, 2), ("klue-roberta-base", 512, 8, 1)]
)
def test_long_documents(task: str, epochs: int, model: str, length: int, batch: int, accumulation: int):
    config = load(task, f"{model}.json")
    assert config.model_type == model
    assert (config.max_seq_len, config.train_batch_size, config.gradient_accumulation_steps) == (
        length,
        batch,
        accumulation,
    )
    assert (config.num_train_epochs, config.learning_rate) == (epochs, 3e-5)
    assert (config.lr_scheduler, config.warmup_proportion) == ("constant", 0)
    assert (config.weight_decay, config.adam_epsilon, config.max_grad_norm) == (0, 1e-8, 1.0)
    # The best score on the evaluation split over the epochs, which is the held-out part of the training file.
    assert (config.evaluates_every, config.save_steps, config.selection) == ("epoch", "epoch", "test")
    assert (config.dev_file, config.test_file) == ("", "")


@pytest.mark.parametrize(
    "task, epochs, answers, null",
    [("tydiqa", 5, (32, 32), True), ("korquad-2", 5, (4096, 512), False), ("klue-mrc", 5, (30, 30), True)],
)
@pytest.mark.parametrize("model", LONG_MODELS)
def test_questions_about_long_documents(task: str, epochs: int, answers: tuple[int, int], null: bool, model: str):
    config = load(task, f"{model}.json")
    is_long = model == "kobigbird-bert-base"
    assert config.model_type == model
    assert (config.max_seq_length, config.doc_stride) == ((4096, 3072) if is_long else (512, 384))
    assert (config.train_batch_size, config.gradient_accumulation_steps) == ((2, 4) if is_long else (8, 1))
    assert config.max_answer_length == answers[not is_long]
    assert (config.num_train_epochs, config.learning_rate, config.version_2_with_negative) == (epochs, 3e-5, null)
    assert (config.lr_scheduler, config.warmup_proportion) == ("constant", 0)
    assert (config.evaluates_every, config.save_steps, config.selection) == ("epoch", "epoch", "test")


def test_the_few_shot_sample_begins_with_what_was_pretrained_here():
    config = load("korquad-few-shot", "sample.json")
    pretrained = json.loads((ROOT / "config/splinter/sample.json").read_text(encoding="utf-8"))
    assert config.data_dir == "sample_data/few_shot" and not config.from_scratch
    last = f"checkpoint-{pretrained['max_steps']}"
    assert config.model_name_or_path == f"ckpt/{pretrained['output_dir']}/{last}"


@pytest.mark.parametrize("task", sorted(set(SAMPLE_TASKS) - {"korquad-few-shot"}))
def test_samples_need_no_network(task: str):
    config = load(task, "sample.json")
    assert config.data_dir == "sample_data"
    assert config.from_scratch and config.model_name_or_path.startswith("sample_data/")
    assert config.run_dir == Path("ckpt") / f"sample-{task}-ckpt"
