"""A model folder from a stranger, as the person at the keyboard meets it: it is data, and no program in it is run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ONE_STEP, User, nsmc, snapshot
from fork_server import ForkServer
from small_tokenizers import VOCABULARY, compile_stand_in

LIBRARY = "libmoran4dnlp.so"
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


@pytest.mark.parametrize("script", ["run_seq_cls.py", "pretrain_spanbert.py"])
def test_a_folder_that_asks_for_its_code_to_be_run_is_refused_without_a_question(user: User, tmp_path: Path, script):
    folder = tmp_path / "stranger"
    shutil.copytree(user.folder / "sample_data/tiny-electra", folder)
    (folder / "stranger.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nclass Own: pass\n")
    classes = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    config = {"model_type": "stranger", "auto_map": dict.fromkeys(classes, "stranger.Own"), "vocab_size": 30_000}
    (folder / "config.json").write_text(json.dumps(config))
    command = {
        "run_seq_cls.py": nsmc("stranger", *ONE_STEP, "--from_scratch", "false"),
        "pretrain_spanbert.py": ["--corpus", "sample_data/texts.txt", "--output_dir", "stranger", "--no_cuda"],
    }[script]
    message = user.is_refused(*command, "--model_name_or_path", folder, script=script, stdin="y\n" * 20)
    assert str(folder) in message and "\n" not in message and "[y/N]" not in message
    assert "asks for its own code to be run (auto_map), and this suite does not do that" in message
    assert not (tmp_path / "executed").exists()


def test_a_damaged_tokenizer_config_is_answered_by_one_line(user: User, tmp_path: Path):
    folder = tmp_path / "damaged"
    shutil.copytree(user.folder / "sample_data/tiny-electra", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": "512"}))
    message = user.is_refused(*nsmc("damaged", *ONE_STEP, "--model_name_or_path", folder))
    assert message == f"no tokenizer in {folder}: model_max_length in tokenizer_config.json is no number: '512'"


@pytest.fixture(scope="module")
def hanbert(user: User) -> str:
    """A small HanBERT in its authors' form, whose folder holds a library."""
    folder = user.folder / "HanBert-54kN-torch"
    folder.mkdir()
    compile_stand_in(folder)
    text = "".join(path.read_text(encoding="utf-8") for path in (user.folder / "sample_data/nsmc").glob("*.txt"))
    characters = sorted(set(text) - set(" \t\n"))
    tokens = list(dict.fromkeys([*VOCABULARY, *characters, *(f"##{c}" for c in characters)]))
    (folder / "vocab_54k.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config = {"model_type": "bert", "vocab_size": len(tokens), "max_position_embeddings": 128, **SIZES}
    (folder / "config.json").write_text(json.dumps(config))
    return folder.name


@pytest.fixture(scope="module")
def without_package(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """The user where the package hanbert-tokenizer has no library."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "hanbert_tokenizer").mkdir()
    (folder / "hanbert_tokenizer/__init__.py").touch()
    environment = {key: value for key, value in user.environment.items() if key != "HANBERT_MORAN"}
    environment |= {"PYTHONPATH": str(folder)}
    without = User(user.folder, environment, ForkServer(environment))
    yield without
    without.fork_server.stop()


@pytest.mark.slow
def test_hanberts_library_is_loaded_where_it_is_named_and_copied_nowhere(without_package: User, hanbert: str):
    user = without_package
    model = ["--model_type", "hanbert", "--from_scratch", "--threads", 2]
    command = [*nsmc("hanbert", *ONE_STEP), "--model_name_or_path", hanbert, *model]
    message = user.is_refused(*command)
    assert "\n" not in message and f"--hanbert_library {hanbert}," in message
    user.types(*command, "--hanbert_library", hanbert)
    assert user.results("hanbert")["config"]["hanbert_library"] == hanbert
    checkpoint = user.run_dir("hanbert") / "checkpoint-1"
    assert {"vocab_54k.txt", "tokenizer_config.json"} < {path.name for path in checkpoint.iterdir()}
    assert not [name for name in snapshot(user.folder / "ckpt/hanbert") if name.endswith(".so")]
    # A checkpoint of today, scored again, and one from before, which holds a copy of the library.
    score = [*nsmc("hanbert", "--do_eval", "--no_cuda"), "--model_type", "hanbert"]
    assert "HANBERT_MORAN" in user.is_refused(*score)
    shutil.copy(user.folder / hanbert / LIBRARY, checkpoint)
    assert f"--hanbert_library {checkpoint.relative_to(user.folder)}," in user.is_refused(*score)
    user.types(*score, "--hanbert_library", checkpoint)
    assert user.results("hanbert")["config"]["hanbert_library"] == str(checkpoint)


def test_pretraining_takes_hanberts_tokenizer_with_the_library_that_is_named(without_package: User, hanbert: str):
    user, script = without_package, "pretrain_spanbert.py"
    texts = user.folder / "reviews.txt"
    lines = (user.folder / "sample_data/nsmc/ratings_train.txt").read_text(encoding="utf-8").splitlines()[1:200]
    texts.write_text("\n\n".join(line.split("\t")[1] for line in lines), encoding="utf-8")
    sizes = [word for key, value in SIZES.items() for word in (f"--{key}", value)]
    folders = ["--corpus", texts.name, "--output_dir", "span-hanbert", "--tokenizer", hanbert, "--processes", 2]
    command = ["--max_seq_length", 64, "--save_steps", 0, "--eval_steps", 0, *sizes, *folders, "--no_cuda"]
    assert f"--hanbert_library {hanbert}," in user.is_refused(*command, "--max_steps", 1, script=script)
    user.types(*command, "--max_steps", 1, "--hanbert_library", hanbert, script=script)
    assert not [name for name in snapshot(user.folder / "ckpt/span-hanbert") if name.endswith(".so")]
    new = ["--train_vocab", "wordpiece", "--corpus", texts.name, "--hanbert_library", hanbert]
    problem = user.is_refused(*new, script=script)
    assert "--hanbert_library has no effect on a new vocabulary" in problem


def test_the_library_has_no_effect_with_another_model_type(user: User, hanbert: str):
    command = [*nsmc("other", *ONE_STEP), "--model_type", "koelectra-base", "--hanbert_library", hanbert]
    assert "--hanbert_library has no effect with model_type koelectra-base" in user.is_refused(*command)
