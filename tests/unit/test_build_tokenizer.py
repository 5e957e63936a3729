"""Tokenizers as folders hold them: Hangul stays whole, and a folder that cannot work is refused, not half used."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models import ModelError, build_tokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "한", "##국", "한국", "##어", "Abc", "abc", "é", "e"]
TEXT = "한국어 Abc é 각"


def tokenizer_folder(folder: Path, vocabulary: list[str] = VOCABULARY, **files: object) -> Path:
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_bare_vocabulary_leaves_everything_as_it_is(tmp_path: Path):
    tokenizer = build_tokenizer(None, tokenizer_folder(tmp_path, config={"model_type": "bert", "vocab_size": 13}))
    assert tokenizer.tokenize(TEXT) == ["한국", "##어", "Abc", "é", "[UNK]"]
    assert tokenizer("한국")["input_ids"] == [2, 7, 3]


def test_nothing_but_a_vocabulary_is_wordpiece(tmp_path: Path):
    """With its ids, whatever stands first: KoSplinter's has [QUESTION] there."""
    tokenizer = build_tokenizer(None, tokenizer_folder(tmp_path, ["[QUESTION]", *VOCABULARY]))
    assert tokenizer.tokenize(TEXT) == ["한국", "##어", "Abc", "é", "[UNK]"]
    assert tokenizer("한국")["input_ids"] == [3, 8, 4] and tokenizer.pad_token_id == 1
    (tmp_path / "kobert.model").write_bytes(b"")  # then the vocabulary is not all there is to it
    with pytest.raises(ModelError, match="no tokenizer in"):
        build_tokenizer(None, tmp_path)


@pytest.mark.parametrize("lower", [True, False])
def test_lower_casing_never_reaches_hangul(lower: bool, tmp_path: Path):
    folder = tokenizer_folder(tmp_path, config={"model_type": "bert"}, tokenizer_config={"do_lower_case": lower})
    expected = ["한국", "##어", "abc" if lower else "Abc", "é", "[UNK]"]
    tokenizer = build_tokenizer(None, folder)
    assert tokenizer.tokenize(TEXT) == expected
    saved = tmp_path / "saved"
    tokenizer.save_pretrained(saved)
    shutil.copy(folder / "config.json", saved)
    assert build_tokenizer(None, saved).tokenize(TEXT) == expected
    assert AutoTokenizer.from_pretrained(saved).tokenize(TEXT) == expected


def wordlevel(folder: Path, normalizer=None, **special: str) -> Path:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "한국": 2}, unk_token="[UNK]"))
    backend.normalizer = normalizer
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return folder


def test_a_tokenizer_without_padding(tmp_path: Path):
    with pytest.raises(ModelError, match=r"^the tokenizer in .* has no padding token$"):
        build_tokenizer(None, wordlevel(tmp_path, unk_token="[UNK]"))
    wordlevel(tmp_path, unk_token="[UNK]", pad_token="[PAD]")
    assert build_tokenizer(None, tmp_path).pad_token_id == 1


def test_a_normalizer_that_takes_hangul_apart(tmp_path: Path):
    wordlevel(tmp_path, normalizers.NFKD(), unk_token="[UNK]", pad_token="[PAD]")
    with pytest.raises(ModelError, match=r"normalizer changes Hangul syllables"):
        build_tokenizer(None, tmp_path)


@pytest.mark.parametrize("kind", [None, "kobert", "hanbert", "koelectra-base"])
def test_a_folder_without_tokenizer(kind: str | None, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"^no tokenizer in "):
        build_tokenizer(kind, tmp_path)


@pytest.mark.parametrize(
    "file, content",
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"{"),
        ("vocab.txt", b""),
        ("vocab.txt", "[UNK]\n[PAD]\n한국\n".encode("cp949")),
    ],
)
def test_broken_tokenizers(file: str, content: bytes, tmp_path: Path):
    folder = tokenizer_folder(tmp_path, config={"model_type": "bert"})
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"^no tokenizer in "):
        build_tokenizer(None, folder)


DAMAGED = [
    ("model_max_length", "512", "model_max_length in tokenizer_config.json is no number: '512'"),
    ("model_max_length", [512], r"model_max_length in tokenizer_config.json is no number: \[512\]"),
    ("unk_token", None, r"WordPiece error: Missing \[UNK\] token from the vocabulary"),
    ("unk_token", "", "maximum recursion depth exceeded"),
    ("chat_template", {"a": 1}, "chat_template in tokenizer_config.json is no text"),
    ("padding_side", "up", "Padding side should be"),
]


@pytest.mark.parametrize("setting, value, message", DAMAGED)
def test_a_damaged_setting(setting: str, value: object, message: str, tmp_path: Path):
    """transformers builds most of these, and fails at the first text or the first checkpoint."""
    folder = tokenizer_folder(tmp_path, config={"model_type": "bert"}, tokenizer_config={setting: value})
    with pytest.raises(ModelError, match=rf"^no tokenizer in {folder}: [^\n]*{message}[^\n]*$"):
        build_tokenizer(None, folder)


@pytest.mark.parametrize("value", [512, 1e30, None])
def test_lengths_that_are_numbers(value: object, tmp_path: Path):
    settings = {"model_max_length": value, "do_lower_case": False}
    folder = tokenizer_folder(tmp_path, config={"model_type": "bert"}, tokenizer_config=settings)
    assert build_tokenizer(None, folder).tokenize(TEXT) == ["한국", "##어", "Abc", "é", "[UNK]"]


def test_trying_a_tokenizer_out_leaves_it_as_it_was(tmp_path: Path):
    folder = wordlevel(tmp_path / "a", unk_token="[UNK]", pad_token="[PAD]")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(7, strategy="only_first")
    backend.enable_padding(length=9, pad_id=1, pad_token="[PAD]")
    backend.save(str(folder / "tokenizer.json"))
    assert build_tokenizer(None, folder).backend_tokenizer.to_str() == backend.to_str()


def test_a_vocabulary_larger_than_the_models(tmp_path: Path):
    folder = tokenizer_folder(tmp_path, config={"model_type": "bert", "vocab_size": 12})
    with pytest.raises(ModelError, match=r"config\.json has 12 tokens \(vocab_size\), and 'e' has the id 12$"):
        build_tokenizer(None, folder)
    # A [MASK] that was added behind the model's tokens is never fed to a classifier.
    unmasked = [token for token in VOCABULARY if token != "[MASK]"]
    folder = tokenizer_folder(tmp_path, unmasked, config={"model_type": "bert", "vocab_size": 12})
    assert build_tokenizer(None, folder).mask_token_id == 12
    unpadded = [token for token in VOCABULARY if token != "[PAD]"]
    folder = tokenizer_folder(tmp_path, unpadded, config={"model_type": "bert", "vocab_size": 12})
    with pytest.raises(ModelError, match=r"'\[PAD\]' has the id 12$"):
        build_tokenizer(None, folder)
