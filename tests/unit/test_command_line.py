"""From a command to settings: what beats what, and what is refused, with its place and all at once."""

import json
import re
from pathlib import Path

import pytest

from processors.seq_cls import SEQUENCE_CLASSIFICATION_TASKS
from run_long_qa import LongQuestionAnsweringConfig
from run_seq_cls import SequenceClassificationConfig
from storage.spelling import did_you_mean
from training.command_line import resolve
from training.config import LARGEST_SEED, Given, Place, UsageError
from training.flags import describe

TASKS = {task.name: task.settings() for task in SEQUENCE_CLASSIFICATION_TASKS}
FIELDS = SequenceClassificationConfig.model_fields
FLOATS = "num_train_epochs learning_rate warmup_proportion weight_decay adam_epsilon max_grad_norm".split()


class Command:
    """`config/nsmc/x.json` with some settings, and commands that read it."""

    def __init__(self, root: Path):
        self.root = root
        self.file = root / "nsmc" / "x.json"
        self.file.parent.mkdir(parents=True)

    def write(self, settings: object) -> None:
        text = settings if isinstance(settings, str) else json.dumps(settings, indent=1, ensure_ascii=False)
        self.file.write_text(text, encoding="utf-8")

    def resolve(self, *argv: str) -> tuple[SequenceClassificationConfig, Given]:
        return resolve(SequenceClassificationConfig, list(argv), TASKS, self.root, "About")

    def settings(self, settings: object, *flags: str) -> SequenceClassificationConfig:
        self.write(settings)
        return self.resolve("--task", "nsmc", "--config_file", "x.json", *flags)[0]

    def problems(self, settings: object, *flags: str) -> list[str]:
        """What is wrong, the path of the file left out."""
        with pytest.raises(UsageError) as error:
            self.settings(settings, *flags)
        return str(error.value).replace(str(self.file), "x.json").split("\n")

    def flag_problems(self, *flags: str) -> list[str]:
        return self.problems({"model_type": "kobert"}, *flags)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_defaults_then_task_then_file_then_flags(command: Command):
    command.write({"model_type": "kobert", "learning_rate": 1e-5, "eval_batch_size": 7, "seed": 3})
    config, given = command.resolve("--task", "nsmc", "--config_file", "x.json", "--seed", "5")
    assert config.train_batch_size == 32 and "train_batch_size" not in given  # the field's default
    assert (config.logging_steps, given["logging_steps"]) == (2000, Place("task", "nsmc"))  # the task's
    assert config.eval_batch_size == 7  # the task says 128
    assert given["eval_batch_size"] == Place("file", "eval_batch_size", command.file, 4)
    assert (config.seed, given["seed"]) == (5, Place("flag", "seed"))  # the file says 3
    assert config.learning_rate == 1e-5


def test_a_file_of_another_folder_and_a_command_without_a_file(command: Command, tmp_path: Path):
    command.write({"task": "paws", "model_type": "kobert"})
    assert command.resolve("--config_file", str(command.file))[0].learning_rate == 3e-5  # that of paws
    assert command.resolve("--task", "paws", "--model_type", "kobert")[0].learning_rate == 3e-5


def test_everything_wrong_comes_at_once_with_its_place(command: Command):
    settings = {"model_type": "kobert", "learning_rat": 1, "seed": "1", "save_steps": -2}
    flags = ["--do_predict", "--threads", "0", "--batch_size", "8", "--pooling", "men"]
    assert sorted(command.problems(settings, *flags)) == sorted(
        [
            "unknown flag --batch_size; did you mean '--eval_batch_size'?",
            "x.json:3: unknown key 'learning_rat'; did you mean 'learning_rate'?",
            'x.json:4: seed must be a whole number (written without quotes), not "1"',
            'x.json:5: save_steps must be a number of steps, 0 for never, or "epoch", not -2',
            "--threads must be greater than or equal to 1, not 0",
            '--pooling must be cls or mean or max, not "men"',
            "do_predict needs input_file: the file to predict on, or - for standard input",
        ]
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--task nsmc --model_typ kobert", "model_type"),
        ("--tsk nsmc --config_file x.json", "task"),
        ("--task nsmc --config_fil x.json", "config_file"),
        ("--task nsmc --model_type kobert --do_predikt --input_file x", "do_predict"),
        ("--task nsmc --model_type kobert --do_predict --input_fil x", "input_file"),
    ],
)
def test_nothing_is_said_that_only_follows_from_an_unknown_flag(command: Command, words: str, meant: str):
    flag = next(word for word in words.split() if word.startswith("--") and word[2:] not in {*FIELDS, "config_file"})
    with pytest.raises(UsageError) as caught:
        command.resolve(*words.split())
    assert str(caught.value) == f"unknown flag {flag}; did you mean '--{meant}'?"
    with pytest.raises(UsageError) as caught:
        command.resolve(*words.split(), "--threads", "0")
    assert str(caught.value).endswith("\n--threads must be greater than or equal to 1, not 0")


def test_nothing_is_said_that_only_follows_from_an_original_flag(command: Command):
    with pytest.raises(UsageError, match=r"^unknown flag --dataset: KoBigBird's --dataset is --task here; [^\n]*$"):
        command.resolve("--dataset", "nsmc", "--config_file", "x.json")


@pytest.mark.parametrize("key", [key for key in FIELDS if key != "task"])
def test_every_key_refuses_another_type(command: Command, key: str):
    (problem,) = command.problems({"model_name_or_path": "x"} | {key: {"a": 1}})
    place = 2 if key == "model_name_or_path" else 3
    assert problem == f'x.json:{place}: {key} must be {describe(FIELDS[key].annotation)}, not {{"a": 1}}'


@pytest.mark.parametrize(
    "key, value, what",
    [
        ("learning_rate", "3e-5", 'a number (written without quotes), not "3e-5"'),
        ("learning_rate", None, "a number, not null"),
        ("learning_rate", True, "a number, not true"),
        ("learning_rate", -1, "greater than or equal to 0, not -1"),
        ("learning_rate", 10**400, "a number, not 1" + "0" * 79 + "..."),
        ("warmup_proportion", 1.5, "less than or equal to 1, not 1.5"),
        ("num_train_epochs", 0, "greater than 0, not 0"),
        ("train_batch_size", 1.5, "a whole number, not 1.5"),
        ("train_batch_size", 1.0, "a whole number, not 1.0"),
        ("train_batch_size", True, "a whole number, not true"),
        ("do_eval", "false", 'true or false (written without quotes), not "false"'),
        ("do_eval", 1, "true or false, not 1"),
        ("do_eval", None, "true or false, not null"),
        ("do_lower_case", True, "false, not true"),
        ("seeds", 42, "a list of whole numbers, not 42"),
        ("seeds", [42, "43"], 'a list of whole numbers, not [42, "43"]'),
        ("seeds", [], f"one or more whole numbers from 0 to {LARGEST_SEED}, not []"),
        ("seeds", [-1], f"one or more whole numbers from 0 to {LARGEST_SEED}, not [-1]"),
        ("seed", 2**32, f"less than or equal to {LARGEST_SEED}, not 4294967296"),
        ("train_file", 5, "a text or a list of texts, not 5"),
        ("train_file", ["a", None], 'a text or a list of texts, not ["a", null]'),
        ("train_file", None, "a text or a list of texts, not null"),
        ("eval_steps", "epochs", 'a whole number or epoch, not "epochs"'),
        ("eval_steps", -1, 'a number of steps, 0 for never, or "epoch", not -1'),
        ("max_steps", 0, "a number of steps above 0, or -1 to count by epochs, not 0"),
        ("max_steps", -2, "a number of steps above 0, or -1 to count by epochs, not -2"),
        ("precision", "fp8", 'auto or fp32 or bf16 or fp16, not "fp8"'),
        ("encoding", "euc-kr", 'utf-8 or cp949, not "euc-kr"'),
        ("output_dir", "가" * 100, None),
        ("learning_rate", 1, None),
        ("save_total_limit", None, None),
        ("seeds", [0, LARGEST_SEED], None),
        ("train_file", ["a", "b"], None),
        ("eval_steps", 0, None),
    ],
)
def test_values_of_a_file(command: Command, key: str, value: object, what: str | None):
    settings = {"model_type": "kobert", key: value}
    if what is None:
        assert getattr(command.settings(settings), key) == value
    else:
        assert command.problems(settings) == [f"x.json:3: {key} must be {what}"]


def test_how_a_place_is_written():
    assert str(Place("flag", "seed")) == "--seed"
    assert str(Place("file", "seed", Path("config/nsmc/x.json"), 3)) == "config/nsmc/x.json:3"
    assert str(Place("task", "nsmc")) == "task nsmc"
    assert str(Place("other stage", "do_predict")) == "do_predict on the command line"


def test_a_seed_named_twice(command: Command):
    assert command.flag_problems("--seeds", "1", "2", "1") == ["--seeds must not name a seed twice, not [1, 2, 1]"]


@pytest.mark.parametrize("key", FLOATS)
@pytest.mark.parametrize("written", ["NaN", "Infinity"])
def test_no_number_but_a_finite_one(command: Command, key: str, written: str):
    what = f"{key} must be a finite number, not {written}"
    assert command.problems(f'{{"model_type": "kobert",\n"{key}": {written}}}') == [f"x.json:2: {what}"]
    assert command.flag_problems(f"--{key}", written) == [f"--{what}"]


@pytest.mark.parametrize(
    "text, problem",
    [
        ('{"seed": 1,\n"seed": 2, "model_type": "kobert"}', "x.json:2: seed stands there twice"),
        ('{"seed": 1,\n "model_type" "kobert"}', "x.json:2: not valid JSON: Expecting ':' delimiter (column 15)"),
        ("", "x.json:1: not valid JSON: Expecting value (column 1)"),
        ('[{"seed": 1}]', "x.json: a JSON object of settings is expected, not list"),
        ('"kobert"', "x.json: a JSON object of settings is expected, not str"),
        ('{"seed": ' + "9" * 5000 + "}", "x.json: a number has thousands of digits, or brackets are nested too deep"),
        ("[" * 100_000, "x.json: a number has thousands of digits, or brackets are nested too deep"),
        (
            '{"model_type": "kobert",\n\n"task": "paws"}',
            "x.json:3: the file is for task 'paws', the command says --task nsmc",
        ),
        (
            '{"model_type": "kobert", "task": ["nsmc"]}',
            "x.json:1: the file is for task ['nsmc'], the command says --task nsmc",
        ),
    ],
    ids=["twice", "broken", "empty", "list", "text", "huge", "deep", "task", "task list"],
)
def test_files_that_are_no_settings(command: Command, text: str, problem: str):
    assert command.problems(text) == [problem]


def test_a_broken_file_does_not_hide_what_is_wrong_with_the_flags(command: Command):
    problems = command.problems("{", "--seed", "x", "--learning_rat", "1")
    assert problems[0] == "unknown flag --learning_rat; did you mean '--learning_rate'?"
    assert problems[1].startswith("x.json:1: not valid JSON")
    assert problems[2:] == ['--seed must be a whole number, not "x"']


def test_byte_order_mark_and_other_encodings(command: Command):
    assert command.settings('\ufeff{"model_type": "kobert"}').model_type == "kobert"
    command.file.write_bytes(b'\xef\xbb\xbf{"output_dir": "' + "가".encode("cp949"))
    with pytest.raises(UsageError, match=r"x\.json: not UTF-8 at byte 19$"):
        command.resolve("--task", "nsmc", "--config_file", "x.json")


def test_a_missing_file(command: Command):
    command.write({})
    (command.file.parent / "koelectra-base.json").write_text("{}")
    with pytest.raises(UsageError) as error:
        command.resolve("--task", "nsmc", "--config_file", "koelectra_base.json")
    path = command.file.parent / "koelectra_base.json"
    assert str(error.value) == (
        f"no configuration file 'koelectra_base.json': neither {path} nor a path; "
        "did you mean 'koelectra-base.json'?; there are koelectra-base.json, x.json"
    )
    with pytest.raises(UsageError, match=r"neither .* nor a path; --task says in which folder"):
        command.resolve("--config_file", "x.json")


def test_a_folder_of_configurations(command: Command, tmp_path: Path):
    """As KoELECTRA joins them: `<config_dir>/<task>/<config_file>`."""
    command.write({"model_type": "kobert", "seed": 1})
    other = Command(tmp_path / "mine")
    other.write({"model_type": "kobert", "seed": 2})
    words = ("--task", "nsmc", "--config_file", "x.json")
    config, given = command.resolve(*words, "--config_dir", str(other.root))
    assert (config.seed, given["seed"].file) == (2, other.file)
    assert command.resolve(*words)[0].seed == 1
    for flags, problem in (
        (
            ("--task", "nsmc", "--config_file", "y.json", "--config_dir", str(other.root)),
            f"no configuration file 'y.json': neither {other.root}/nsmc/y.json nor a path; did you mean 'x.json'?; "
            "there are x.json",
        ),
        (
            (*words, "--config_dir", "nowhere"),
            "no configuration file 'x.json': neither nowhere/nsmc/x.json nor a path; there is no folder nowhere",
        ),
        (
            ("--task", "nsmc", "--model_type", "kobert", "--config_dir", str(other.root)),
            "--config_dir has no effect without --config_file, the name of a file in it",
        ),
        ((*words, "--config_dir"), "--config_dir needs a value: a text"),
        ((*words, "--config_dir", "a", "--config_dir", "b"), "--config_dir is given 2 times"),
        ((*words, "--config_di", "a"), "unknown flag --config_di; did you mean '--config_dir'?"),
    ):
        with pytest.raises(UsageError) as error:
            command.resolve(*flags)
        assert str(error.value) == problem


def test_unknown_and_missing_tasks(command: Command):
    command.write({"model_type": "kobert"})
    known = ", ".join(TASKS)
    with pytest.raises(UsageError) as error:
        command.resolve("--task", "nscm", "--config_file", "x.json", "--select_by", "dev")
    # Nothing is said of a file and a dev split that depend on it.
    assert str(error.value) == f"unknown task 'nscm'; did you mean 'nsmc'?; known: {known}"
    with pytest.raises(UsageError) as error:
        command.resolve("--task", "nscm", "--model_type", "kobert", "--select_by", "dev", "--seed", "x")
    assert str(error.value).split("\n") == [
        f"unknown task 'nscm'; did you mean 'nsmc'?; known: {known}",
        '--seed must be a whole number, not "x"',
    ]
    command.write({"model_type": "kobert", "task": "sentiment"})
    with pytest.raises(UsageError) as error:
        command.resolve("--config_file", str(command.file))
    assert str(error.value).startswith(f"{command.file}:3: unknown task 'sentiment'")
    with pytest.raises(UsageError) as error:
        command.resolve("--model_type", "kobert")
    assert str(error.value) == "task is missing: give --task or set it in the configuration file"


@pytest.mark.parametrize(
    "flags, problem",
    [
        ("--learning_rat 1e-5", "unknown flag --learning_rat; did you mean '--learning_rate'?"),
        ("--learning-rate=1e-5", "unknown flag --learning-rate; did you mean '--learning_rate'?"),
        ("--zzz 1 2", "unknown flag --zzz"),
        ("-s 1", "unknown flag -s"),
        ("--seed=1 stray", "unexpected word 'stray': settings are given as --key value"),
        ("--seeds=1 2", "unexpected word '2': settings are given as --key value"),
        ("--seed 1 --seed 2", "--seed is given 2 times"),
        ("--model_type a --model_type b", "--model_type is given 2 times"),
        ("--seed", "--seed needs a value: a whole number"),
        ("--seeds", "--seeds needs a value: a list of whole numbers"),
        ("--output_dir", "--output_dir needs a value: a text"),
        ("--seed 1 2", "--seed takes one value, not 2: 1 2"),
        ("--seed 1.5", '--seed must be a whole number, not "1.5"'),
        ("--seed " + "9" * 5000, '--seed must be a whole number, not "' + "9" * 79 + "..."),
        ("--learning_rate 3e-5x", '--learning_rate must be a number, not "3e-5x"'),
        ("--learning_rate -1", "--learning_rate must be greater than or equal to 0, not -1.0"),
        ("--learning_rate 1e400", "--learning_rate must be a finite number, not Infinity"),
        ("--do_eval yes", '--do_eval must be true or false, not "yes"'),
        ("--do_eval 1", '--do_eval must be true or false, not "1"'),
        ("--do_lower_case", "--do_lower_case must be false, not true"),
        ("--save_steps epochs", '--save_steps must be a whole number or epoch, not "epochs"'),
        ("--save_steps 0.5", '--save_steps must be a whole number or epoch, not "0.5"'),
        ("--save_total_limit 0", "--save_total_limit must be greater than or equal to 1, not 0"),
    ],
)
def test_flags_that_are_refused(command: Command, flags: str, problem: str):
    assert command.flag_problems(*flags.split()) == [problem]


@pytest.mark.parametrize(
    "flags, key, value",
    [
        ("--learning_rate=3e-5", "learning_rate", 3e-5),
        ("--learning_rate .5", "learning_rate", 0.5),
        ("--max_steps -1", "max_steps", -1),
        ("--seeds 1 2 3", "seeds", [1, 2, 3]),
        ("--seeds 7", "seeds", [7]),
        ("--train_file a b", "train_file", ["a", "b"]),
        ("--train_file a", "train_file", "a"),
        ("--dev_file=", "dev_file", ""),
        ("--output_dir=a=b", "output_dir", "a=b"),
        ("--resume", "resume", True),
        ("--resume true", "resume", True),
        ("--resume True", "resume", True),
        ("--resume false", "resume", False),
        ("--do_lower_case false", "do_lower_case", False),
        ("--eval_steps 5", "eval_steps", 5),
        ("--eval_steps epoch", "eval_steps", "epoch"),
        ("--output_dir 5", "output_dir", "5"),
    ],
)
def test_flags_that_are_read(command: Command, flags: str, key: str, value: object):
    read = getattr(command.settings({"model_type": "kobert"}, *flags.split()), key)
    assert (read, type(read)) == (value, type(value))


def test_an_empty_text_and_a_single_dash_are_values(command: Command):
    config = command.settings({"model_type": "kobert"}, "--dev_file", "", "--do_predict", "--input_file", "-")
    assert (config.dev_file, config.input_file) == ("", "-")


KOBERT = {"model_type": "kobert"}
NO_TRAINING = "has no effect without training (do_train is false)"


@pytest.mark.parametrize(
    "settings, flags, words",
    [
        ({}, "", "no model: set model_type"),
        ({}, "--model_name_or_path=", "no model: set model_type"),
        ({"model_type": "koelectra-basev3"}, "", "unknown model_type 'koelectra-basev3'; did you mean 'koelectra-base"),
        (KOBERT, "--num_train_epochs 3 --max_steps 5", "--num_train_epochs and --max_steps both say when to stop"),
        (
            KOBERT | {"max_steps": 5},
            "--num_train_epochs 3",
            "--num_train_epochs has no effect beside max_steps (x.json",
        ),
        (KOBERT | {"seeds": [1, 2]}, "--seed 3", "--seed and seeds both say which seed: give one"),
        (KOBERT, "--hanbert_library x", "--hanbert_library has no effect with model_type kobert"),
        (KOBERT, "--do_train false --learning_rate 1e-5", f"--learning_rate {NO_TRAINING}"),
        (KOBERT, "--do_eval --from_scratch", f"--from_scratch {NO_TRAINING}"),
        (KOBERT, "--do_eval --overwrite_output_dir", f"--overwrite_output_dir {NO_TRAINING}"),
        (KOBERT, "--do_predict", "do_predict needs input_file"),
        (KOBERT, "--input_file x", "input_file has no effect without do_predict"),
        (KOBERT | {"input_file": "x"}, "", "input_file has no effect without do_predict"),
        (KOBERT, "--do_eval --output_file x", "output_file has no effect without do_predict"),
        (KOBERT, "--resume --overwrite_output_dir", "--resume goes on with an earlier run and --overwrite_output_dir"),
        (KOBERT, "--do_train false --do_eval false", "nothing to do: do_train, do_eval and do_predict are all false"),
        (KOBERT, "--do_predict --input_file x --seeds 1 2", "do_predict takes one run"),
        (KOBERT, "--select_by dev", "select_by dev needs a dev split"),
        (
            KOBERT,
            "--select_by dev --dev_file d --evaluate_test_during_training true",
            "select_by dev needs a dev split",
        ),
        (
            KOBERT | {"evaluate_test_during_training": False},
            "--select_by dev --dev_file d --eval_steps 0",
            "select_by dev needs evaluations during training: set eval_steps",
        ),
        (KOBERT, "--early_stopping_patience 2 --eval_steps 0", "early_stopping_patience needs evaluations"),
        (KOBERT, "--evaluate_test_during_training --eval_steps 0", "--evaluate_test_during_training has no effect"),
    ],
)
def test_contradictions(command: Command, settings: dict, flags: str, words: str):
    (problem,) = command.problems(settings, *flags.split())
    assert problem.startswith(words)


@pytest.mark.parametrize(
    "settings, flags",
    [
        # KoELECTRA's files hold all of this; only what is typed is a wish that could be passed over.
        (KOBERT | {"max_steps": -1, "num_train_epochs": 3, "do_train": False, "learning_rate": 1e-5}, ""),
        (KOBERT | {"overwrite_output_dir": True}, "--resume"),
        (KOBERT | {"max_steps": 5}, "--max_steps -1 --num_train_epochs 3"),
        (KOBERT | {"seed": 1}, "--seeds 1 2"),
        (KOBERT | {"do_predict": True, "input_file": "x"}, "--do_eval"),
        (KOBERT, "--do_eval --resume"),  # what the command printed after Ctrl-C may look like
    ],
)
def test_no_contradictions(command: Command, settings: dict, flags: str):
    command.settings(settings, *flags.split())


@pytest.mark.parametrize("settings, flags", [({"model_type": 3}, ""), ({}, "--model_type a b"), (KOBERT, "--seed x")])
def test_a_value_that_cannot_be_read_contradicts_nothing(command: Command, settings: dict, flags: str):
    assert len(command.problems(settings, *flags.split())) == 1


PREDICTS_ONCE = "do_predict takes one run: name its folder with output_dir instead of seeds"


def test_a_broken_key_hides_only_contradictions_about_itself(command: Command):
    """That a message advises to use a key does not make it a message about that key."""
    predicts = ["--do_predict", "--input_file", "x", "--seeds", "1", "2"]
    doubled = ["--output_dir", "a", "--output_dir", "b"]
    assert command.flag_problems(*predicts, *doubled) == ["--output_dir is given 2 times", PREDICTS_ONCE]
    in_file = '{"model_type": "kobert", "do_predict": true, "input_file": "x", "seeds": [1, 2],\n'
    assert command.problems(in_file + '"output_dir": 3}') == [
        "x.json:2: output_dir must be a text, not 3",
        PREDICTS_ONCE,
    ]
    doubled_in_file = in_file + '"output_dir": "a",\n"output_dir": "b"}'
    assert command.problems(doubled_in_file) == ["x.json:3: output_dir stands there twice", PREDICTS_ONCE]
    assert command.problems(in_file + '"seeds": [3]}') == ["x.json:2: seeds stands there twice"]
    assert command.problems(in_file + '"seeds": "3"}', "--seeds", "4") == [
        "x.json:2: seeds stands there twice",
        PREDICTS_ONCE,
    ]
    assert command.flag_problems(*predicts, "--seeds", "3") == ["--seeds is given 2 times"]


def test_of_a_file_that_is_named_twice_nothing_is_known(command: Command):
    command.write(KOBERT | {"task": "nsmc"})
    with pytest.raises(UsageError) as error:
        command.resolve("--config_file", str(command.file), "--config_file", str(command.file))
    assert str(error.value) == "--config_file is given 2 times"


@pytest.mark.parametrize("flags", ["", "--task nsmc --task nsmc"])
def test_without_a_task_nothing_is_said_of_its_files(command: Command, flags: str):
    command.write(KOBERT)
    with pytest.raises(UsageError) as error:
        command.resolve("--config_file", str(command.file), "--select_by", "dev", *flags.split())
    missing = "task is missing: give --task or set it in the configuration file"
    assert str(error.value) == ("--task is given 2 times" if flags else missing)


def long_qa(root: Path, settings: dict, *flags: str) -> tuple[LongQuestionAnsweringConfig, Given]:
    """Of `run_long_qa.py`, where `skip_bad_documents` is another name for `skip_bad_rows`."""
    (root / "x.json").write_text(json.dumps(KOBERT | {"task": "tydiqa"} | settings, indent=1))
    argv = ["--config_file", str(root / "x.json"), *flags]
    return resolve(LongQuestionAnsweringConfig, argv, {"tydiqa": {}}, root, "About")


@pytest.mark.parametrize(
    "settings, flags, skips",
    [
        ({}, "", False),
        ({}, "--skip_bad_documents", True),
        ({}, "--skip_bad_rows", True),
        ({"skip_bad_documents": True}, "", True),
        ({"skip_bad_rows": True}, "", True),
        # What an earlier run with --skip_bad_documents left in its config.json.
        ({"skip_bad_documents": True, "skip_bad_rows": False}, "", True),
        ({"skip_bad_documents": False, "skip_bad_rows": True}, "", True),
        ({}, "--skip_bad_documents --skip_bad_rows", True),
        # The command line beats the file, whichever name either uses.
        ({"skip_bad_documents": True}, "--skip_bad_rows false", False),
        ({"skip_bad_rows": True}, "--skip_bad_documents false", False),
    ],
)
def test_an_alias_means_the_same(tmp_path: Path, settings: dict, flags: str, skips: bool):
    config, given = long_qa(tmp_path, settings, *flags.split())
    assert config.skip_bad_rows is skips
    assert "skip_bad_documents" not in {*config.model_dump(), *given}


@pytest.mark.parametrize(
    "settings, flags, problem",
    [
        ({}, "--skip_bad_documents yes", '--skip_bad_documents must be true or false, not "yes"'),
        ({}, "--skip_bad_documents --skip_bad_documents", "--skip_bad_documents is given 2 times"),
        ({"skip_bad_documents": 1}, "", "x.json:4: skip_bad_documents must be true or false, not 1"),
        (
            {"skip_bad_document": True},
            "",
            "x.json:4: unknown key 'skip_bad_document'; did you mean 'skip_bad_documents'?",
        ),
        ({}, "--skip_bad_document", "unknown flag --skip_bad_document; did you mean '--skip_bad_documents'?"),
        (
            {},
            "--do_predict --input_file x --skip_bad_documents",
            "--skip_bad_documents has no effect on input_file: every text in it must be readable",
        ),
    ],
)
def test_messages_about_an_alias_say_the_name_that_was_used(tmp_path: Path, settings: dict, flags: str, problem: str):
    with pytest.raises(UsageError) as error:
        long_qa(tmp_path, settings, *flags.split())
    assert str(error.value).replace(f"{tmp_path}/", "") == problem


def test_an_alias_is_in_the_help(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        long_qa(tmp_path, {}, "--help")
    assert re.search(r"--skip_bad_documents true\|false +another name for skip_bad_rows\n", capsys.readouterr().out)


def test_an_unknown_task_has_no_settings_of_its_own(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        long_qa(tmp_path, {"task": "tidyqa"}, "--all_korquad_2_sample")
    assert str(error.value) == f"{tmp_path}/x.json:3: unknown task 'tidyqa'; did you mean 'tydiqa'?; known: tydiqa"


@pytest.mark.parametrize(
    "flags, stages",
    [
        ("", (True, True, False)),
        ("--do_predict", (False, False, True)),
        ("--do_predict true", (False, False, True)),
        ("--do_eval", (False, True, False)),
        ("--do_train --do_predict", (True, False, True)),
        ("--do_train false", (False, True, False)),
        ("--do_train false --do_predict", (False, False, True)),
        ("--do_predict false", (True, True, False)),
    ],
)
def test_a_typed_stage_leaves_the_others_out(command: Command, flags: str, stages: tuple[bool, bool, bool]):
    words = flags.split() + ["--input_file", "x"] * ("--do_predict" in flags and stages[2])
    config = command.settings(KOBERT | {"do_train": True, "do_eval": True}, *words)
    assert (config.do_train, config.do_eval, config.do_predict) == stages


def test_the_name_of_a_run(command: Command, tmp_path: Path, monkeypatch):
    def run_dir(*flags: str) -> str:
        return str(command.settings({}, *flags).run_dir)

    assert run_dir("--model_type", "kobert") == "ckpt/kobert-nsmc-ckpt"
    assert run_dir("--model_name_or_path", "klue/roberta-small") == "ckpt/roberta-small-nsmc-ckpt"
    assert run_dir("--model_type", "kobert", "--ckpt_dir", "a", "--output_dir", "b/c") == "a/b/c"
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert run_dir("--model_name_or_path", ".") == "ckpt/mine-nsmc-ckpt"


def test_help_shows_each_kind_of_value(command: Command, capsys):
    with pytest.raises(SystemExit):
        command.resolve("--help")
    text = capsys.readouterr().out
    for flag in ("save_steps N|epoch", "seed N", "do_train true|false", "lr_scheduler linear|constant|auto"):
        assert f"  --{flag} " in text.replace("\n", " ")


def test_help_shows_every_key_with_its_default(command: Command, capsys):
    with pytest.raises(SystemExit) as stop:
        command.resolve("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    headings = [line.rstrip(":") for line in text.split("\n") if re.fullmatch(r"[A-Z][\w ]+:", line)]
    assert headings == [
        *("This command", "Data", "Model", "Runs", "Training", "Output", "Machine", "Evaluation and prediction"),
        *("Test split", "Sequence classification"),
    ]
    shown = dict(re.findall(r"--(\w+) (.*?)(?= --\w+ |$)", " ".join(text.split("This command:")[1].split())))
    assert set(shown) == {*FIELDS, "config_file", "config_dir", "help"}
    for key, field in FIELDS.items():
        assert field.description.replace(" ", "")[:30] in shown[key].replace(" ", "")
        default = field.get_default()
        if key != "task" and default not in (None, ""):
            assert f"(default {str(default).lower() if isinstance(default, bool) else default})" in shown[key]
    assert all(name in shown["task"] for name in TASKS)


def test_did_you_mean():
    assert did_you_mean("learning_rat", ["learning_rate", "seed"]) == "; did you mean 'learning_rate'?"
    assert did_you_mean("zzz", ["learning_rate", "seed"]) == ""
