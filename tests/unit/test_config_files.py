"""Every file under `config/`: it resolves, holds only what differs from the defaults, and says what was published."""

import csv
import json
import math
from pathlib import Path

import pytest

import make_sample_data
from models import MODELS
from pretrain_spanbert import SpanBertConfig
from pretrain_splinter import SplinterConfig
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from processors.qa.questions import FEW_SHOT_TASKS
from run_long_qa import LongQuestionAnsweringConfig
from run_ner import NerConfig
from run_seq_cls import SequenceClassificationConfig
from run_splinter_qa import SplinterQuestionAnsweringConfig
from run_squad import QuestionAnsweringConfig
from training.command_line import resolve
from training.config import LoopConfig, is_typed

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
CONFIG_CLASSES: dict[str, type[LoopConfig]] = {
    "run_seq_cls.py": SequenceClassificationConfig,
    "run_ner.py": NerConfig,
    "run_squad.py": QuestionAnsweringConfig,
    "run_long_qa.py": LongQuestionAnsweringConfig,
    "run_splinter_qa.py": SplinterQuestionAnsweringConfig,
    "pretrain_spanbert.py": SpanBertConfig,
    "pretrain_splinter.py": SplinterConfig,
}
# What each script sets for each of its tasks. The task of a pretraining script sets nothing.
TASK_SETTINGS = {
    script: {task.name: task.settings(CONFIG_CLASSES[script].TEST_FILE_KEY) for task in tasks}
    for script, tasks in TASKS_OF_SCRIPT.items()
} | {"pretrain_spanbert.py": {"spanbert": {}}, "pretrain_splinter.py": {"splinter": {}}}

FILES = sorted(path for path in CONFIG.rglob("*") if path.is_file())
FILES_OF_SCRIPTS = [
    (script, path) for path in FILES for script, tasks in TASK_SETTINGS.items() if path.parent.name in tasks
]
SAMPLES = [path.parent.name for path in FILES if path.name == "sample.json" and path.parent.name in TASKS]
LONG_MODELS = ("kobigbird-bert-base", "klue-roberta-base")

# The settings that all of KoELECTRA's files share; the table holds those that differ.
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
# Only the KorQuAD files hold these. A file cannot delete a folder, and only a tokenizer in Python needs threads.
WITHOUT_EFFECT_ON_SCORES = ("threads", "verbose_logging", "overwrite_output_dir")

PUBLISHED_SCORES = json.loads((ROOT / "scripts/reporting/published_scores.json").read_text(encoding="utf-8"))
SHORT = PUBLISHED_SCORES["tables"]["kobigbird_short"]["columns"]


def published_rows() -> list[dict]:
    """Rows of the published table; a value is JSON, and an empty cell a key that the file does not have."""
    path = Path(__file__).parent / "published" / "hyperparameters.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = ("task", "config_file")
    return [{key: value if key in names else json.loads(value) for key, value in row.items() if value} for row in rows]


PUBLISHED = published_rows()
PUBLISHED_IDS = [f"{row['task']}/{row['config_file']}" for row in PUBLISHED]


def load(task: str, config_file: str, script: str | None = None, *flags: str) -> LoopConfig:
    """The settings of a file under `config/`, as a script resolves them; by default the first script of the task."""
    script = script or SCRIPT_OF_TASK[task]
    argv = ["--task", task, "--config_file", config_file, *flags]
    return resolve(CONFIG_CLASSES[script], argv, TASK_SETTINGS[script], CONFIG, "")[0]


def test_every_file_belongs_to_a_script_and_every_task_has_a_file():
    assert {path for _, path in FILES_OF_SCRIPTS} == set(FILES)
    assert {path.relative_to(CONFIG).parts[0] for path in FILES} == {task for t in TASK_SETTINGS.values() for task in t}


def test_every_format_of_the_sample_data_has_a_configuration():
    assert set(SAMPLES) == set(make_sample_data.TASKS)


@pytest.mark.parametrize(
    "script, path", FILES_OF_SCRIPTS, ids=[f"{script}-{path.relative_to(CONFIG)}" for script, path in FILES_OF_SCRIPTS]
)
def test_resolves_and_holds_only_what_differs_from_the_defaults(script: str, path: Path):
    content = json.loads(path.read_text(encoding="utf-8"))
    # Some files leave the corpus to the command line, and those for a model that was pretrained here its checkpoint.
    left_open = {"corpus": "corpus.txt"} if script.startswith("pretrain") else {"model_name_or_path": "ckpt/mine"}
    left_open = {} if {"model_type", *left_open} & content.keys() else left_open
    flags = [word for key, value in left_open.items() for word in (f"--{key}", value)]
    config = load(path.parent.name, path.name, script, *flags)
    assert config.task == path.parent.name
    fields = {key: field.get_default() for key, field in type(config).model_fields.items()}
    defaults = fields | TASK_SETTINGS[script][config.task]
    assert {key for key, value in content.items() if value == defaults[key]} == set()
    assert {key: getattr(config, key) for key in content} == content
    assert path.name.startswith(content.get("model_type", ""))


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
    path = tmp_path / row["config_file"]
    path.write_text(json.dumps(original, indent=4), encoding="utf-8")
    script = SCRIPT_OF_TASK[row["task"]]
    argv = ["--config_file", str(path)]
    config, given = resolve(CONFIG_CLASSES[script], argv, TASK_SETTINGS[script], tmp_path, "")
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
    assert (config.lr_scheduler, config.warmup_proportion) == ("auto", 0)
    assert (config.weight_decay, config.adam_epsilon, config.max_grad_norm) == (0, 1e-8, 1.0)
    # The best score on the evaluation split over the epochs, which is the held-out part of the training file.
    assert (config.evaluates_every, config.save_steps, config.selection) == ("epoch", "epoch", "test")
    assert (config.dev_file, config.test_file) == ("", "")


def long_file(task: str, model: str) -> str:
    """KoBigBird's settings; those of the same name for KLUE-MRC are KLUE's where they can be."""
    return f"{model}-long.json" if (task, model) == ("klue-mrc", "klue-roberta-base") else f"{model}.json"


@pytest.mark.parametrize("task", ["fake-news", "modu-sentiment", "tydiqa", "korquad-2", "korquad", "klue-mrc"])
@pytest.mark.parametrize("model", LONG_MODELS)
def test_the_schedule_of_long_documents_follows_the_warm_up_unless_it_is_set(task: str, model: str):
    file, *script = long_file(task, model), *(["run_long_qa.py"] if task == "korquad" else [])
    warm = ("--warmup_proportion", "0.1")
    for flags, scheduler in (
        ((), "auto"),
        (warm, "auto"),
        ((*warm, "--lr_scheduler", "constant"), "constant"),
        (("--lr_scheduler", "linear"), "linear"),
    ):
        assert load(task, file, *(script or [SCRIPT_OF_TASK[task]]), *flags).lr_scheduler == scheduler


@pytest.mark.parametrize(
    "task, epochs, answers, null",
    [("tydiqa", 5, (32, 32), True), ("korquad-2", 5, (4096, 512), False), ("klue-mrc", 5, (30, 30), True)],
)
@pytest.mark.parametrize("model", LONG_MODELS)
def test_questions_about_long_documents(task: str, epochs: int, answers: tuple[int, int], null: bool, model: str):
    config = load(task, long_file(task, model))
    is_long = model == "kobigbird-bert-base"
    assert config.model_type == model
    assert (config.max_seq_length, config.doc_stride) == ((4096, 3072) if is_long else (512, 384))
    assert (config.train_batch_size, config.gradient_accumulation_steps) == ((2, 4) if is_long else (8, 1))
    assert config.max_answer_length == answers[not is_long]
    assert (config.num_train_epochs, config.learning_rate, config.version_2_with_negative) == (epochs, 3e-5, null)
    assert (config.lr_scheduler, config.warmup_proportion) == ("auto", 0)
    assert (config.evaluates_every, config.save_steps, config.selection) == ("epoch", "epoch", "test")


# KoBigBird's table of short sequences. Lengths and full attention are from its page (short_seq_evaluation_en.md); the
# rest from KLUE-baseline's run_all.sh, on which it is based: ynat for NSMC, klue-mrc for KorQuAD.
AS_YNAT = {
    "max_seq_len": 128,
    "learning_rate": 5e-5,
    "train_batch_size": 32,
    "warmup_proportion": 0.1,
    "num_train_epochs": 4,
    "eval_steps": math.ceil(150_000 / 32) // 4,  # four times in an epoch
}
AS_KLUE_MRC = {
    "max_seq_length": 512,
    "doc_stride": 128,
    "max_query_length": 64,
    "max_answer_length": 30,
    "n_best_size": 20,
    "learning_rate": 3e-5,
    "train_batch_size": 16,
    "warmup_proportion": 0,
    "num_train_epochs": 5,
}


@pytest.mark.parametrize("model", LONG_MODELS)
@pytest.mark.parametrize("task, ending, expected", [("nsmc", "", AS_YNAT), ("korquad", "-short", AS_KLUE_MRC)])
def test_short_sequences(task: str, ending: str, expected: dict, model: str):
    config = load(task, f"{model}{ending}.json")
    assert {key: getattr(config, key) for key in expected} == expected
    assert config.model_type == model
    assert config.attention == ("full" if model == "kobigbird-bert-base" else None)
    assert (config.lr_scheduler, config.gradient_accumulation_steps) == ("linear", 1)
    assert (config.weight_decay, config.adam_epsilon, config.max_grad_norm) == (0, 1e-8, 1.0)
    assert config.selection == "test" and config.save_steps == config.evaluates_every


# KLUE-baseline's run_all.sh: learning rate, batch, epochs, warm-up, tokens, evaluations without a gain before it stops
# (5 unless the script says more), and rows of the official training file, of which an epoch has four evaluations.
KLUE_BASELINE = {
    "klue-tc": (5e-5, 32, 4, 0.1, 128, 0, 45_678),
    "klue-sts": (5e-5, 32, 4, 0.1, 128, 5, 11_668),
    "klue-nli": (5e-5, 32, 5, 0.1, 128, 5, 24_998),
    "klue-re": (5e-5, 32, 3, 0.1, 256, 0, 32_470),
    "klue-ner": (5e-5, 32, 3, 0.0, 510, 5, 21_008),
    "klue-mrc": (3e-5, 16, 5, 0.0, 510, 0, None),
}
KLUE_MODELS = ("klue-roberta-base", "klue-bert-base", "klue-roberta-small", "kobigbird-bert-base", "koelectra-base-v3")


@pytest.mark.parametrize("model", KLUE_MODELS)
@pytest.mark.parametrize("task", KLUE_BASELINE)
def test_klue(task: str, model: str):
    is_mrc, is_kobigbird = task == "klue-mrc", model == "kobigbird-bert-base"
    config = load(task, f"{model}{'-short' if is_mrc and is_kobigbird else ''}.json")
    rate, batch, epochs, warm_up, tokens, patience, rows = KLUE_BASELINE[task]
    assert (config.learning_rate, config.train_batch_size, config.num_train_epochs) == (rate, batch, epochs)
    assert (config.warmup_proportion, config.early_stopping_patience) == (warm_up, patience)
    if is_mrc:  # run_all.sh has 512 for BERT, KoBigBird's page for its own model
        tokens = 512 if model in ("klue-bert-base", "kobigbird-bert-base") else tokens
        assert (config.doc_stride, config.max_query_length, config.max_answer_length) == (128, 64, 30)
        assert config.version_2_with_negative and config.n_best_size == 20
    assert (config.max_seq_length if is_mrc else config.max_seq_len) == tokens
    every = "epoch" if is_mrc else math.ceil(rows / 32) // 4
    assert (config.evaluates_every, config.save_steps, config.selection) == (every, every, "test")
    assert (config.lr_scheduler, config.gradient_accumulation_steps) == ("linear", 1)
    assert (config.weight_decay, config.adam_epsilon, config.max_grad_norm) == (0, 1e-8, 1.0)
    assert (config.model_type, config.attention) == (model, "full" if is_kobigbird else None)


@pytest.mark.parametrize("row", PUBLISHED, ids=PUBLISHED_IDS)
def test_no_run_of_koelectras_files_is_set_beside_the_short_sequences(row: dict):
    config = load(row["task"], row["config_file"])
    assert not any(have_settings(config, column) for column in SHORT if column["task"] == row["task"])


@pytest.mark.parametrize("model", LONG_MODELS)
def test_the_runs_of_the_short_sequences_are_set_beside_their_published_scores(model: str):
    for column in SHORT:
        if column["task"] in ("nsmc", "korquad"):
            ending = "-short" if column["task"] == "korquad" else ""
            assert have_settings(load(column["task"], f"{model}{ending}.json"), column)
    assert not any(have_settings(load("korquad", f"{model}.json"), column) for column in SHORT if "settings" in column)


def have_settings(config: LoopConfig, column: dict) -> bool:
    """Whether a run with these settings belongs in the column of published scores (`scripts/results_table.py`)."""
    return all(getattr(config, key, None) == value for key, value in column["settings"].items())


def test_the_few_shot_sample_begins_with_what_was_pretrained_here():
    config = load("korquad-few-shot", "sample.json")
    pretrained = json.loads((ROOT / "config/splinter/sample.json").read_text(encoding="utf-8"))
    assert config.data_dir == "sample_data/few_shot" and not config.from_scratch
    last = f"checkpoint-{pretrained['max_steps']}"
    assert config.model_name_or_path == f"ckpt/{pretrained['output_dir']}/{last}"


@pytest.mark.parametrize("task", sorted(set(SAMPLES) - {task.name for task in FEW_SHOT_TASKS}))
def test_samples_need_no_network(task: str):
    config = load(task, "sample.json")
    assert config.data_dir == "sample_data"
    assert config.from_scratch and config.model_name_or_path.startswith("sample_data/")
    assert config.run_dir == Path("ckpt") / f"sample-{task}-ckpt"
