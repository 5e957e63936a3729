"""The table of the originals' flags: all of them are in it, what it names exists here, and it answers unknown flags."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import pretrain_spanbert
import pretrain_splinter
import run_long_qa
import run_ner
import run_seq_cls
import run_splinter_qa
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from training.command_line import resolve
from training.config import UsageError
from training.flags import FILE_FLAGS
from training.original_flags import TABLE, original_scripts
from workflows.question_answering import QuestionAnsweringConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG_CLASSES = {
    "run_seq_cls.py": run_seq_cls.SequenceClassificationConfig,
    "run_ner.py": run_ner.NerConfig,
    "run_squad.py": QuestionAnsweringConfig,
    "run_long_qa.py": run_long_qa.LongQuestionAnsweringConfig,
    "run_splinter_qa.py": run_splinter_qa.SplinterQuestionAnsweringConfig,
    "pretrain_spanbert.py": pretrain_spanbert.SpanBertConfig,
    "pretrain_splinter.py": pretrain_splinter.SplinterConfig,
}
# Copied from the originals' sources: add_argument, tf.flags, and the keys of their JSON files.
KOELECTRA = """task config_dir config_file ckpt_dir data_dir train_file do_train do_eval eval_all_checkpoints
    save_optimizer do_lower_case num_train_epochs weight_decay gradient_accumulation_steps adam_epsilon
    warmup_proportion max_steps max_grad_norm no_cuda model_type model_name_or_path output_dir seed train_batch_size
    eval_batch_size logging_steps save_steps learning_rate"""
KOBIGBIRD = """task dataset cache_dir output_dir do_train do_eval_during_train do_eval use_tpu threads seed
    model_name_or_path data_dir train_file predict_file do_lower_case max_seq_length weight_decay adam_epsilon
    max_grad_norm num_train_epochs train_batch_size eval_batch_size learning_rate gradient_accumulation_steps
    warmup_proportion"""
ORIGINALS = {
    ("KoELECTRA", "run_seq_cls.py"): f"{KOELECTRA} dev_file test_file evaluate_test_during_training max_seq_len",
    ("KoELECTRA", "run_ner.py"): f"{KOELECTRA} dev_file test_file evaluate_test_during_training max_seq_len",
    ("KoELECTRA", "run_squad.py"): f"""{KOELECTRA} predict_file threads version_2_with_negative
        null_score_diff_threshold max_seq_length doc_stride max_query_length max_answer_length n_best_size
        verbose_logging overwrite_output_dir evaluate_during_training""",
    ("KoBigBird", "run.py --task cls"): f"{KOBIGBIRD} num_labels",
    ("KoBigBird", "run.py --task qa"): f"""{KOBIGBIRD} version_2_with_negative null_score_diff_threshold doc_stride
        max_query_length n_best_size max_answer_length all_korquad_2_sample""",
    ("KoSplinter", "run_mrqa.py"): """model_type model_name_or_path output_dir qass_head initialize_new_qass data_dir
        train_file predict_file config_name tokenizer_name cache_dir version_2_with_negative null_score_diff_threshold
        max_seq_length doc_stride max_query_length do_train do_eval evaluate_during_training evaluate_every_epoch
        disable_segments_embeddings do_lower_case per_gpu_train_batch_size per_gpu_eval_batch_size learning_rate
        gradient_accumulation_steps weight_decay adam_epsilon max_grad_norm num_train_epochs max_steps min_steps
        warmup_ratio n_best_size max_answer_length verbose_logging lang_id logging_steps eval_steps save_steps
        eval_all_checkpoints no_cuda overwrite_output_dir overwrite_cache use_cache seed local_rank fp16 fp16_opt_level
        server_ip server_port threads dataset_format dataset dont_output_nbest nbest_calculation""",
    ("KoSplinter", "create_pretraining_data.py"): """input_file output_dir vocab_file do_lower_case do_whole_word_mask
        recurring_span_selection max_questions_per_seq only_recurring_span_selection max_seq_length
        max_predictions_per_seq random_seed num_processes dupe_factor masked_lm_prob geometric_masking_p max_span_length
        verbose""",
    ("KoSplinter", "run_pretraining.py"): """bert_config_file input_file output_dir init_checkpoint max_seq_length
        max_predictions_per_seq recurring_span_selection only_recurring_span_selection max_questions_per_seq do_train
        do_eval train_batch_size eval_batch_size learning_rate num_train_steps num_warmup_steps save_checkpoints_steps
        keep_checkpoint_max iterations_per_loop max_eval_steps use_tpu tpu_name tpu_zone gcp_project master
        num_tpu_cores""",
    ("the Korean SpanBERT", "vocab.py"): "prefix vocab_size",
    ("the Korean SpanBERT", "common_data.py"): "mode",
    ("the Korean SpanBERT", "data.py"): "input output n_seq vocab mask_prob",
    ("the Korean SpanBERT", "pretrain.py"): "config vocab input save epoch batch gpu seed",
    ("the Korean SpanBERT", "train.py"): "config vocab train test save pretrain epoch batch gpu seed",
    ("the Korean SpanBERT", "config_half.json"): """n_enc_vocab n_dec_vocab n_enc_seq n_dec_seq n_seg_type n_layer
        d_hidn i_pad d_ff n_head d_head dropout layer_norm_epsilon n_output weight_decay learning_rate adam_epsilon
        warmup_steps""",
}
ROWS = [row for part in original_scripts() for row in part.rows]


def settings_of(script: str) -> set[str]:
    config_class = CONFIG_CLASSES[script]
    return {*config_class.model_fields, *config_class.ALIASES, *FILE_FLAGS}


def problems(script: str, *argv: str, root: Path = ROOT / "config") -> list[str]:
    """What is said about a command, line by line."""
    config_class = CONFIG_CLASSES[script]
    own = TASKS_OF_SCRIPT.get(script)
    tasks = {task.name: task.settings(config_class.TEST_FILE_KEY) for task in own} if own else {script[9:-3]: {}}
    with pytest.raises(UsageError) as error:
        resolve(config_class, list(argv), tasks, root, "", SCRIPT_OF_TASK, script)
    return str(error.value).split("\n")


@pytest.mark.parametrize("project, theirs", ORIGINALS, ids=[f"{p}, {t}" for p, t in ORIGINALS])
def test_every_flag_of_the_originals_is_in_the_table(project: str, theirs: str):
    """Once: as it is called here, or by its own name. The two halves of Splinter's pretraining share some flags."""
    script = theirs.split(" --")[0]
    parts = [
        part for part in original_scripts() if part.project == project and re.search(rf"\b{script}", part.theirs)
        and (" --" not in part.theirs or theirs in part.theirs)
    ]  # fmt: skip
    if project == "KoSplinter" and "pretraining" in theirs:
        parts = [part for part in original_scripts() if "pretraining/" in part.theirs]
    found = {name for part in parts for name in (*part.same, *(row.flag for row in part.rows))}
    assert set(ORIGINALS[project, theirs].split()) - found == set()


def test_the_table_has_no_flag_of_its_own():
    flags = {name for names in ORIGINALS.values() for name in names.split()}
    assert {name for part in original_scripts() for name in (*part.same, *(r.flag for r in part.rows))} == flags
    for part in original_scripts():
        twice = Counter((row.flag, row.scripts) for row in part.rows)
        assert max(twice.values(), default=1) == 1 and not set(part.same) & {row.flag for row in part.rows}


def test_flags_of_the_same_name_are_settings_of_every_script():
    for part in original_scripts():
        for script in part.scripts:
            assert set(part.same) <= settings_of(script), (part.theirs, script)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.theirs}: {row.flag}" for row in ROWS])
def test_what_a_row_names_is_a_setting_of_its_scripts(row):
    for script in row.scripts:
        assert set(row.flags_here) <= settings_of(script), script
        # A flag that "has no counterpart" must be unknown: else nobody would be told.
        assert row.here or row.flag not in settings_of(script), script
    for note in (row.en, row.ko):
        mentioned = set(re.findall(r"--([a-z0-9_]+)", note)) - {"nproc_per_node", row.flag}
        assert mentioned <= set().union(*map(settings_of, CONFIG_CLASSES)), note
        paths = re.findall(r"(?:scripts|config)/[\w./-]+\w", note, re.ASCII)
        assert all((ROOT / path).exists() for path in paths), note
    assert row.en and row.ko and not row.en.endswith(".") and row.ko.endswith(".")


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.theirs}: {row.flag}" for row in ROWS])
def test_a_flag_of_an_original_is_answered_with_its_name_here(row, tmp_path: Path):
    for script in row.scripts:
        if row.flag in settings_of(script):
            continue
        if row.is_file:
            file = tmp_path / "theirs.json"
            file.write_text(json.dumps({row.flag: 1}))
            (said,) = [line for line in problems(script, "--config_file", str(file)) if "unknown" in line]
            start, here = f"{file}:1: unknown key '{row.flag}': ", row.here.replace("--", "")
            name = row.flag
        else:
            (said,) = [line for line in problems(script, f"--{row.flag}", "1") if "unknown" in line]
            start, here, name = f"unknown flag --{row.flag}: ", row.here, f"--{row.flag}"
        assert said.startswith(start)
        if here:
            assert re.search(rf"'s {name} is {re.escape(here)} here; ", said)
        else:
            assert f"'s {name} has no counterpart here; " in said


@pytest.mark.parametrize(
    "script, flag, said",
    [
        (
            "run_seq_cls.py",
            "--input",
            "unknown flag --input; did you mean '--input_file'?; the Korean SpanBERT's --input is --corpus in "
            "pretrain_spanbert.py; it takes kowiki.csv or kowiki.txt; kowiki.json and kowiki_span.json are not needed",
        ),
        (
            "run_squad.py",
            "--warmup_ratio",
            "unknown flag --warmup_ratio: KoSplinter's --warmup_ratio is --warmup_proportion here; both are shares of "
            "all steps",
        ),
        ("run_squad.py", "--warmup_rati", "unknown flag --warmup_rati; did you mean '--warmup_proportion'?"),
        (
            "pretrain_spanbert.py",
            "--masked_lm_prob",
            "unknown flag --masked_lm_prob: KoSplinter's --masked_lm_prob is --masked_share here; in "
            "pretrain_splinter.py it is question_budget",
        ),
    ],
)
def test_flags_of_other_scripts(script: str, flag: str, said: str):
    assert said in problems(script, flag, "x")


@pytest.mark.parametrize(
    "script, task, said",
    [
        ("run_long_qa.py", "korquad_1", "unknown task 'korquad_1': KoBigBird's korquad_1 is korquad here; known: "),
        ("run_seq_cls.py", "korquad_2", "unknown task 'korquad_2': KoBigBird's korquad_2 is korquad-2 in run_long"),
        ("run_seq_cls.py", "cls", "unknown task 'cls': KoBigBird's cls has no counterpart here; run_seq_cls.py is the"),
        ("run_long_qa.py", "kluemrc", "unknown task 'kluemrc': KoBigBird's kluemrc is klue-mrc here; known: "),
    ],
)  # fmt: skip
def test_names_of_tasks(script: str, task: str, said: str):
    assert problems(script, "--task", task)[0].startswith(said)


def test_tasks_and_configuration_files_of_the_table_exist():
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {row["here"] for row in table["tasks"]} - {""} <= TASKS.keys()
    assert not {row["name"] for row in table["tasks"]} & TASKS.keys()
    for row in table["config_files"]:
        for task, file in row["here"].items():
            assert (ROOT / "config" / task / file).is_file()


@pytest.mark.parametrize(
    "script, words, here",
    [
        ("pretrain_spanbert.py", "--config_file config_half.json", "half.json"),
        ("pretrain_spanbert.py", "--config_file spanbert/config.json", "base.json"),
        ("run_seq_cls.py", "--task nsmc --config_file config_half.json", "spanbert-half.json"),
    ],
)
def test_configuration_files_of_the_korean_spanbert(script: str, words: str, here: str):
    name = words.split()[-1]
    (said,) = [line for line in problems(script, *words.split()) if "no configuration file" in line]
    assert f" nor a path; the Korean SpanBERT's {Path(name).name} is {here} here; there are " in said
    # A task that the original does not have has no such file.
    assert "neither" in problems("run_ner.py", "--task", "naver-ner", "--config_file", "config_half.json")[0]
