"""A model folder is data: the code that its `auto_map` names is not run, whoever answers transformers' question."""

import ast
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification

from models import ModelError, build_model, build_tokenizer
from models.spanbert import build_spanbert
from models.splinter import build_splinter
from small_tokenizers import wordpiece

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("models", "processors", "storage", "training", "workflows", "scripts", "benchmarks")
# transformers' classes of one architecture, and ours: they take no code from a folder.
CONCRETE = {"BertForSpanPreTraining", "HanBertTokenizer"}
ASKS = r"the folder asks for its own code to be run \(auto_map\), and this suite does not do that"


def loading_calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call of `from_pretrained` and `from_config`, with the name of what it is called on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("from_pretrained", "from_config"):
                yield ast.unparse(node.func.value).rpartition(".")[2], node


def allows_no_code(call: ast.Call) -> bool:
    given = [word.value for word in call.keywords if word.arg == "trust_remote_code"]
    return len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is False


def test_every_auto_class_is_told_to_run_no_code():
    files = [*ROOT.glob("*.py"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    calls = [(file, name, call) for file in files for name, call in loading_calls(file) if name not in CONCRETE]
    assert len(calls) >= 5
    wrong = [f"{file.relative_to(ROOT)}:{call.lineno}" for file, _, call in calls if not allows_no_code(call)]
    assert not wrong


def test_the_search_sees_what_it_looks_for(tmp_path: Path):
    """What the test above rests on."""
    (tmp_path / "a.py").write_text(
        "AutoModel.from_config(config)\ntransformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)\n"
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=False)\n"
    )
    found = [(name, allows_no_code(call)) for name, call in loading_calls(tmp_path / "a.py")]
    assert found == [("AutoModel", False), ("AutoConfig", False), ("AutoTokenizer", True)]


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """A folder of a small BERT."""
    folder = tmp_path_factory.mktemp("honest")
    tokenizer = wordpiece()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def answers_yes(monkeypatch) -> io.StringIO:
    stdin = io.StringIO("y\n" * 20)
    monkeypatch.setattr("sys.stdin", stdin)
    return stdin


def strange(honest: Path, tmp_path: Path, model_type: str, *auto_classes: str) -> Path:
    """A copy whose `auto_map` names a module that writes the file `executed` where it is run."""
    folder = tmp_path / "strange"
    shutil.copytree(honest, folder)
    (folder / "stranger.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nclass Own: pass\n")
    auto_map = {name: "stranger.Own" for name in auto_classes}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": model_type, "auto_map": auto_map}))
    return folder


AUTO_CLASSES = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")


@pytest.mark.parametrize("auto_classes", [AUTO_CLASSES, AUTO_CLASSES[1:]])
@pytest.mark.parametrize("how", [{}, {"pooling": "mean"}, {"from_scratch": True}])
def test_code_for_a_model_is_refused(auto_classes, how, honest, tmp_path, answers_yes, capsys):
    folder = strange(honest, tmp_path, "stranger", *auto_classes)
    with pytest.raises(ModelError, match=rf"^no model in {folder}: {ASKS}[^\n]*$"):
        build_model(folder, "sequence", ("0", "1"), **how)
    with pytest.raises(ModelError, match=rf"^no SpanBERT in {folder}: {ASKS}[^\n]*$"):
        build_spanbert(folder)
    assert not (tmp_path / "executed").exists() and answers_yes.tell() == 0
    assert "[y/N]" not in "".join(capsys.readouterr())


def test_code_for_an_architecture_without_that_head_is_refused(honest, tmp_path, answers_yes):
    folder = strange(honest, tmp_path, "clip_text_model", *AUTO_CLASSES)
    with pytest.raises(ModelError, match=ASKS):
        build_model(folder, "sequence", ("0", "1"))
    assert not (tmp_path / "executed").exists() and answers_yes.tell() == 0


@pytest.mark.parametrize("entry", [["stranger.Own", None], {"AutoTokenizer": ["stranger.Own", None]}])
def test_code_for_a_tokenizer_is_refused(entry, honest, tmp_path, answers_yes):
    folder = strange(honest, tmp_path, "stranger", *AUTO_CLASSES)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"auto_map": entry}))
    with pytest.raises(ModelError, match=rf"^no tokenizer in {folder}: {ASKS}[^\n]*$"):
        build_tokenizer(None, folder)
    assert not (tmp_path / "executed").exists() and answers_yes.tell() == 0


def test_an_architecture_of_transformers_is_built_by_transformers(honest, tmp_path, answers_yes):
    folder = strange(honest, tmp_path, "bert", *AUTO_CLASSES)
    for how in ({}, {"pooling": "mean"}):
        model = build_model(folder, "sequence", ("0", "1"), **how)
        assert type(model).__module__.startswith(("transformers.", "models."))
    assert len(build_tokenizer(None, folder)) == model.config.vocab_size
    assert not (tmp_path / "executed").exists() and answers_yes.tell() == 0


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("how", [{}, {"pooling": "mean"}, {"from_scratch": True}])
def test_an_attention_from_the_hub_is_refused(key, how, honest, tmp_path, monkeypatch):
    """Where the package kernels is installed, transformers would fetch that repository and load its library."""
    monkeypatch.setattr("transformers.integrations.hub_kernels.is_kernels_available", lambda: pytest.fail("asked for"))
    folder = tmp_path / "strange"
    shutil.copytree(honest, folder)
    config = json.loads((folder / "config.json").read_text())
    for attention in ("stranger/kernel", "kernels-community/flash-attn2@main:forward"):
        (folder / "config.json").write_text(json.dumps(config | {key: attention}))
        says = f"config.json asks for the program {attention} on the hub"
        with pytest.raises(ModelError, match=f"^no model in {folder}: {says}"):
            build_model(folder, "sequence", ("0", "1"), **how)
        with pytest.raises(ModelError, match=f"^no SpanBERT in {folder}: {says}"):
            build_spanbert(folder, from_scratch=bool(how.get("from_scratch")))


@pytest.mark.parametrize("how", [{}, {"pooling": "mean"}, {"from_scratch": True}, {"fresh_head": False}])
def test_quantized_weights_are_refused(how, honest, tmp_path):
    """For training, too: transformers would look for a package, or load weights that cannot be trained."""
    folder = tmp_path / "strange"
    shutil.copytree(honest, folder)
    config = json.loads((folder / "config.json").read_text())
    quantization = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))
    says = "config.json says that its weights are quantized"
    with pytest.raises(ModelError, match=rf"^no model in {folder}: {says} [^\n]*$"):
        build_model(folder, "sequence", ("0", "1"), **how)
    with pytest.raises(ModelError, match=rf"^no SpanBERT in {folder}: {says} [^\n]*$"):
        build_spanbert(folder)
    with pytest.raises(ModelError, match=rf"^no Splinter in {folder}: {says} [^\n]*$"):
        build_splinter(folder)
