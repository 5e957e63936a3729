"""Raw text to documents, documents to blocks: in bounded memory, and nothing half-made is taken for whole."""

import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from processors.pretraining import corpus as corpus_module
from processors.pretraining import corpus_files, corpus_readers
from processors.pretraining.blocks import Blocks, hold_out
from processors.pretraining.corpus import MIN_TOKENS, build_blocks, word_starts
from processors.pretraining.corpus_readers import clean, cut_at_spaces, open_corpus
from processors.task import DataError
from storage.whole import whole_file

ROOT = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = "가나다라마바사아자차"
PAD, UNK, CLS, SEP, MASK = range(5)


def wordpiece(extra: Iterable[str] = ()) -> BertTokenizer:
    """Syllables at the beginning of a word (가), and inside (##가); all else is [UNK]."""
    tokens = [*SPECIAL, *SYLLABLES, *(f"##{s}" for s in SYLLABLES), ".", "?", *extra]
    return BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=False)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def documents(*paths: Path, **options) -> list[list[str]]:
    """The cleaned lines of each document."""
    found: list[list[str]] = []
    for part in open_corpus(paths, **options).parts(Counter()):
        if part.is_first:
            found.append([])
        found[-1] += clean(part.text)
    return found


def random_documents(count: int, seed: int) -> list[list[str]]:
    rng = random.Random(seed)

    def sentence() -> str:
        words = ("".join(rng.choices(SYLLABLES, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 12)))
        return " ".join(words) + rng.choice([".", "?", ""])

    def line() -> str:
        return " ".join(sentence() for _ in range(rng.randint(1, 4)))

    return [[line() for _ in range(rng.randint(1, 5))] for _ in range(count)]


def as_plain_text(texts: list[list[str]]) -> str:
    return "\n\n".join("\n".join(lines) for lines in texts) + "\n"


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few documents a shard, some parts a long document."""
    monkeypatch.setattr(corpus_module, "SHARD_CHARACTERS", 2_000)
    monkeypatch.setattr(corpus_readers, "PART_CHARACTERS", 300)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path / "plain.txt", as_plain_text(random_documents(60, seed=1)))


def content(blocks: Blocks) -> list[list[int]]:
    return [blocks.row(index).tolist() for index in range(len(blocks))]


def shards(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cache.rglob("*.arrow"))}


# --------------------------------------------------------------------------------------------------------------------
# Readers
# --------------------------------------------------------------------------------------------------------------------

BLANK_LINES = "of plain text with blank lines between documents"
THREE = [["하나.", "둘."], ["셋 & <넷>"], ["다섯"]]
WIKI = """<doc id="5" url="https://ko.wikipedia.org/wiki?curid=5" title="하나.">
하나.

둘.
</doc>
<doc id="9" url="" title="">
셋 &amp; &lt;넷&gt;
</doc>

<doc id="10" url="" title="다섯">
다섯

</doc>
"""
JSON_LINES = "\n".join(
    json.dumps({"id": i, "text": "\n".join(lines)}, ensure_ascii=i == 1) for i, lines in enumerate(THREE)
)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "name, text, form",
    [
        ("a.txt", "하나.\n둘.\n\n셋 & <넷>\n\n다섯", BLANK_LINES),
        (
            "a",
            "\n\n하나.\r\n둘.\r\n \t\r\n\n\n셋 & <넷>\n\n다섯\n\n\n",
            BLANK_LINES,
        ),
        ("a.txt", "\ufeff하나.\n둘.\n\n셋 & <넷>\n\n다섯\n", BLANK_LINES),
        ("wiki_00", WIKI, "of wikiextractor"),
        ("a.txt", "\ufeff\n" + WIKI, "of wikiextractor"),
        ("a.jsonl", JSON_LINES, "of JSON lines"),
        ("wiki_00", "\n" + JSON_LINES + "\n\n", "of JSON lines"),
        ("a.json", JSON_LINES, "of JSON lines"),
    ],
)
def test_every_form_gives_the_same_documents(name: str, text: str, form: str, compressed: bool, tmp_path: Path):
    data = gzip.compress(text.encode()) if compressed else text.encode()
    path = write(tmp_path / (f"{name}.gz" if compressed else name), data)
    assert documents(path) == THREE
    assert open_corpus([path]).describe() == f"1 file: 1 {form}"


def test_a_file_without_a_blank_line_has_a_document_on_each_line(tmp_path: Path):
    path = write(tmp_path / "reviews.txt", "\n재밌다\n굿\n\n\n")  # blank lines between nothing
    assert documents(path) == documents(path, documents="lines") == [["재밌다"], ["굿"]]
    assert documents(path, documents="blank_lines") == [["재밌다", "굿"]]
    chat = write(tmp_path / "chat.txt", "안녕\n반가워\n\n뭐해\n")
    assert documents(chat) == documents(chat, documents="blank_lines") == [["안녕", "반가워"], ["뭐해"]]
    assert documents(chat, documents="lines") == [["안녕"], ["반가워"], ["뭐해"]]
    assert documents(path, chat) == [["재밌다"], ["굿"], ["안녕", "반가워"], ["뭐해"]]
    assert "1 of plain text with a document on each line, 1 of plain" in open_corpus([path, chat]).describe()


def test_folders(tmp_path: Path):
    write(tmp_path / "b" / "AB" / "wiki_01", '<doc id="1">\n둘\n</doc>')
    write(tmp_path / "b" / "AA" / "wiki_02.gz", gzip.compress(b'<doc id="1">\n\xed\x95\x98\xeb\x82\x98\n</doc>'))
    write(tmp_path / "b" / ".hidden" / "x", b"\0")
    write(tmp_path / "b" / ".DS_Store", b"\0")
    write(tmp_path / "b" / "empty.txt", "")
    write(tmp_path / "a.jsonl", '{"body": "영"}\n')
    both = [tmp_path / "a.jsonl", tmp_path / "b"]
    assert documents(*both, text_field="body") == [["영"], ["하나"], ["둘"]]
    assert documents(*both, tmp_path / "b" / "AA" / ".." / "AB", *both, text_field="body") == [["영"], ["하나"], ["둘"]]


def test_clean():
    assert clean("\x00 가\u200b나\t 다\u3000\xa0라\x07 \r\n\n \u200b\n끝\ufeff\ud83d") == ["가나 다 라", "끝"]
    decomposed = unicodedata.normalize("NFD", "한국 É")
    assert clean(decomposed) == ["한국 É"] and clean(decomposed, lower_case=True) == ["한국 é"]
    assert clean("ㅎ\u200bㅏ 👨\u200d👩 ♥️") == ["ㅎㅏ 👨👩 ♥️"]


def test_half_a_surrogate_pair_in_json(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", r'{"text": "가\ud83d나 \ud83d\ude00"}')
    assert documents(path) == [["가나 😀"]]


def test_cp949(tmp_path: Path):
    path = write(tmp_path / "a.txt", "한국어\n문장\n\n끝\n".encode("cp949"))
    assert documents(path, encoding="cp949") == [["한국어", "문장"], ["끝"]]
    with pytest.raises(DataError, match=r"a\.txt:1: not UTF-8 at byte 0; the line reads as CP949: --encoding cp949"):
        documents(path)


@pytest.mark.parametrize("most", [7, 8, 64])
@pytest.mark.parametrize("text", ["가나 다라마바사 아 " * 9 + "끝", "가나다라마바사" * 9, "a가 " * 30 + "🙂" * 20])
def test_a_line_longer_than_can_be_held_comes_in_pieces(text: str, most: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_files, "LINE_BYTES", most)
    for before, after in itertools.product(("", "앞\n"), ("", "\n", "\r\n뒤\n")):
        path = write(tmp_path / "a.txt", before + text + after)
        corpus = open_corpus([path], documents="lines")
        lines = list(corpus_files.numbered_lines(path, "utf-8", None))
        assert "".join(line for number, line in lines if number == 1 + bool(before)) == text
        parts = list(corpus.parts(Counter()))
        assert sum(part.is_first for part in parts) == 1 + bool(before) + ("뒤" in after)
        if " " in text and most > 40:  # no word is cut where there is a space
            assert {word for _, line in lines for word in line.split()} >= set(text.split())


@pytest.mark.parametrize("most", [1, 3, 5, 100])
def test_cut_at_spaces(most: int):
    for text in ("", "가", "가나 다라 마바사아자차", "   ", "가나다라 "):
        pieces = list(cut_at_spaces(text, most))
        assert "".join(pieces) == text and all(len(piece) <= most for piece in pieces)
    assert list(cut_at_spaces("가나 다라 마바사아자차", 5)) == ["가나 ", "다라 ", "마바사아자", "차"]


def test_a_long_document_comes_in_parts(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_readers, "PART_CHARACTERS", 10)
    lines = ["가나다라", "마바사아자", "차가", "나" * 25]
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "\n".join(lines)}) + '\n{"text": ""}\n{"text": "끝"}')
    parts = list(open_corpus([path]).parts(Counter()))
    assert [part.text for part in parts[:2]] == ["가나다라\n마바사아자\n차가", "나" * 10]
    assert [part.is_first for part in parts] == [True, False, False, False, True, True]
    assert len({part.document for part in parts[:4]}) == 1 and len({part.document for part in parts}) == 3
    assert "".join(part.text.replace("\n", "") for part in parts[:4]) == "".join(lines)


# --------------------------------------------------------------------------------------------------------------------
# What cannot be read
# --------------------------------------------------------------------------------------------------------------------

BAD_FILES = {
    "missing": ("a.txt", None, r"a\.txt: no such file; the folder holds"),
    "binary": (
        "a.txt",
        b"\x89PNG\r\n\x00\x01",
        r"a\.txt: is a binary file; plain text, wikiextractor's",
    ),
    "binary inside gzip": ("a.gz", gzip.compress(b"\x00\x01"), r"a\.gz: is a binary file"),
    "utf-16": ("a.txt", "가".encode("utf-16"), r"a\.txt: is UTF-16; save it as UTF-8"),
    "dump": ("a.xml", b"<mediawiki xml:lang='ko'>", r"a\.xml: is a MediaWiki dump; turn it into text with wikiextr"),
    "not utf-8": ("a.txt", b"ab\n\nc\xffd\n", r"a\.txt:3: not UTF-8 at byte 1"),
    "truncated gzip": ("a.txt.gz", gzip.compress(os.urandom(99).hex().encode())[:-20], r"the gzip archive is broken"),
    "gzip damaged": ("a.gz", gzip.compress(b"a\n" * 999)[:-8] + b"12345678", r"a\.gz: the gzip archive is broken"),
    "empty": ("a.txt", b"", r"there is no text in the corpus \(.*a\.txt\)$"),
    "blank": ("a.txt", " \n\u200b\n\ufeff\n".encode(), r"there is no text in the corpus"),
    "empty json texts": ("a.jsonl", b'{"text": ""}\n', r"there is no text in the corpus"),
    "broken json": (
        "a.jsonl",
        b'{"text": "a"}\n{"text": "b}\n',
        r"a\.jsonl:2: not a JSON object on one line: Unter",
    ),
    "json array": ("a.json", b'[\n{"text": "a"}]\n', r"a\.json:1: not a JSON object on one line"),
    "json number": ("a.jsonl", b"5\n", r"a\.jsonl:1: a JSON object is expected, not a int"),
    "deep json": ("a.jsonl", b"[" * 99_999, r"a\.jsonl:1: a number has thousands of digits, or brackets are nested"),
    "no field": (
        "a.jsonl",
        b'{"id": 1, "body": "a"}',
        r"a\.jsonl:1: no field 'text'; there are: id, body \(--te",
    ),
    "no text": ("a.jsonl", b'{"text": ["a"]}', r"a\.jsonl:1: the field 'text' is of type list, not a text"),
    "doc not closed": (
        "a",
        b"<doc id='1'>\na\n",
        r"a:1: <doc> is not closed to the end of the file",
    ),
    "doc in doc": ("a", b"<doc id='1'>\na\n<doc id='2'>\nb\n</doc>", r"a:3: <doc> opens here before that of line 1 is"),
    "outside": (
        "a",
        b"<doc id='1'>\na\n</doc>\nb\n</doc>",
        r"a:4: text outside of <doc[\s\S]*a:5: </doc> closes",
    ),
}


@pytest.mark.parametrize("name, data, message", BAD_FILES.values(), ids=BAD_FILES)
def test_what_cannot_be_read(name: str, data: bytes | None, message: str, tmp_path: Path):
    if data is not None:
        write(tmp_path / name, data)
    with pytest.raises(DataError, match=message):
        build_blocks(open_corpus([tmp_path / name]), wordpiece(), tmp_path / "cache", 16)
    assert not (tmp_path / "cache").exists()


def test_no_file_at_all(tmp_path: Path):
    with pytest.raises(DataError, match="there is no file in the folder"):
        open_corpus([tmp_path])
    with pytest.raises(DataError, match="no file is given"):
        open_corpus([])


def test_five_bad_lines_are_named_and_reading_stops(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", '{"body": 1}\n' * 50)
    with pytest.raises(DataError) as caught:
        open_corpus([path]).checked()
    lines = str(caught.value).split("\n")
    assert [line.split(":")[1] for line in lines[:5]] == ["1", "2", "3", "4", "5"]
    assert lines[5:] == ["... and there are more", "(--skip_bad_rows leaves such lines out)"]


def test_bad_lines_are_left_out_and_counted_where_that_is_asked_for(tmp_path: Path):
    bad = '{"text": "가나다라"}\n{"text\n{"text": 5}\n\n{"text": "마바사아"}\n'
    path = write(tmp_path / "a.jsonl", bad.encode() + b'{"text": "\xff"}\n')
    blocks = build_blocks(open_corpus([path], skip_bad_rows=True), wordpiece(), tmp_path / "cache", 16)
    assert len(blocks) == 2 and blocks.counts["documents"] == 2
    [(what, count)] = [item for item in blocks.counts.items() if "malformed" in item[0]]
    assert count == 3 and "a.jsonl (first " in what and "a.jsonl:2: not a JSON object" in what
    again = build_blocks(open_corpus([path], skip_bad_rows=True), wordpiece(), tmp_path / "cache", 16)
    assert again.counts == blocks.counts
    write(path, "{\n" * 9)
    with pytest.raises(DataError, match=r"there is no text in the corpus \(.*\); malformed lines left out of"):
        open_corpus([path], skip_bad_rows=True).checked()


def test_a_bad_character_in_a_giant_line(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_files, "LINE_BYTES", 16)
    path = write(tmp_path / "a.txt", "앞줄\n".encode() + b"ab " * 20 + b"\xff" + b" cd" * 20 + "\n뒷줄\n".encode())
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8"):
        documents(path)
    assert documents(path, skip_bad_rows=True)[-1] == ["뒷줄"]


def test_a_line_of_json_that_cannot_be_held(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_files, "JSON_LINE_BYTES", 1 << 20)
    path = write(tmp_path / "a.jsonl", '{"text": "' + "가" * (1 << 20) + '"}\n{"text": "나"}')
    with pytest.raises(DataError, match=r"a\.jsonl:1: a line of more than 1 MiB, and such lines are held whole"):
        documents(path)
    assert documents(path, skip_bad_rows=True) == [["나"]]


# --------------------------------------------------------------------------------------------------------------------
# Words
# --------------------------------------------------------------------------------------------------------------------


def of_vocabulary(tokens: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=tokens[0]))
    names = {"unk_token": tokens[0], "pad_token": tokens[1]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@pytest.mark.parametrize(
    "tokens",
    [
        {"[UNK]": False, "[PAD]": False, "학교": True, "##에서": False, "#": True, "##": False, "▁": True, ".": True},
        {"<unk>": False, "<pad>": False, "▁": True, "▁학교": True, "에서": False, ".": False, "##": False},
        {"<unk>": False, "<pad>": False, "íķĻ": False, "Ġ": True, "Ġê°Ģ": True, "##": False, "a": False},
        {"[UNK]": False, "[PAD]": False, "학교": True, "~~에서": False, "~는": False, "~": True, "##다": False},
        {"[UNK]": False, "[PAD]": False, "가": True, "나": True},
    ],
    ids=["WordPiece", "SentencePiece", "byte-level BPE", "HanBERT", "words"],
)
def test_word_starts(tokens: dict[str, bool]):
    assert word_starts(of_vocabulary(list(tokens))).tolist() == list(tokens.values())


# --------------------------------------------------------------------------------------------------------------------
# Blocks
# --------------------------------------------------------------------------------------------------------------------


def block(tokenizer, text: str) -> list[int]:
    return [CLS, *tokenizer.convert_tokens_to_ids(text.split()), SEP]


def test_blocks_by_hand(tmp_path: Path):
    path = write(
        tmp_path / "a.txt",
        "가나다. 라마.\n바사아자차 가\n"  # 4 + 3, then 6 tokens: for 8, the first two sentences and the line
        "\n"
        "가나 다라 마바 사아 자차가 나\n다\n"  # 12 tokens in one sentence: cut before a word; then one more
        "\n"
        "가나다라마바사아자차\n"  # one word of 10 tokens has no better place; what is left of it is too short
        "\n"
        "가나다\n"  # a document of 3 tokens
        "\n"
        "가나다라 X\n",
    )
    tokenizer = wordpiece()
    blocks = build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", max_seq_length=10)
    assert sorted(content(blocks)) == sorted(
        [
            block(tokenizer, "가 ##나 ##다 . 라 ##마 ."),
            block(tokenizer, "바 ##사 ##아 ##자 ##차 가"),
            block(tokenizer, "가 ##나 다 ##라 마 ##바 사 ##아"),
            block(tokenizer, "자 ##차 ##가 나 다"),
            block(tokenizer, "가 ##나 ##다 ##라 ##마 ##바 ##사 ##아"),
            block(tokenizer, "가 ##나 ##다 ##라 [UNK]"),
        ]
    )
    assert blocks.counts == {
        "documents": 5,
        "short_documents": 1,
        "dropped_tokens": 2 + 3,
        "unknown_tokens": 1,
        "tokens": 7 + 6 + 13 + 10 + 3 + 5,
        "characters": sum(map(len, clean(path.read_text()))),
    }
    assert blocks.unknown_share == 1 / 44
    assert blocks.lengths.dtype == np.int32 and blocks.lengths.tolist() == [len(row) for row in content(blocks)]


@pytest.mark.parametrize("max_seq_length", [8, 23, 64])
def test_blocks_keep_every_token_in_order_and_documents_apart(max_seq_length: int, tmp_path: Path, small_shards):
    texts = [*random_documents(50, seed=2), ["가나다라 " * 500], ["나" * 700], ["다라.", "마바"] * 90]
    path = write(tmp_path / "a.txt", as_plain_text(texts))
    tokenizer = wordpiece()
    blocks = build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", max_seq_length)
    assert len(shards(tmp_path / "cache")) > 3
    starts = word_starts(tokenizer)
    by_document: dict[int, list[int]] = {}
    for document, ids in zip(hashes_of(blocks), content(blocks), strict=True):
        assert MIN_TOKENS + 2 <= len(ids) <= max_seq_length and (ids[0], ids[-1]) == (CLS, SEP)
        by_document.setdefault(document, []).extend(ids[1:-1])
    expected = [tokenizer(" ".join(lines), add_special_tokens=False)["input_ids"] for lines in texts]
    assert (
        sum(map(len, expected))
        == blocks.counts["tokens"]
        == blocks.counts["dropped_tokens"] + sum(map(len, by_document.values()))
    )
    for ids in by_document.values():  # all there, but for ends that were too short
        assert any(_is_subsequence(ids, whole) for whole in expected)
    whole_words = [ids for ids in content(blocks) if not starts[ids[1]]]
    assert len(whole_words) <= 700 / (max_seq_length - 2) + 3 * blocks.counts["dropped_tokens"] + 3  # the word of 700


def _is_subsequence(part: list[int], whole: list[int]) -> bool:
    rest = iter(whole)
    return all(token in rest for token in part)


def test_padded(plain: Path, tmp_path: Path, small_shards):
    blocks = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    rows = np.array([5, 0, len(blocks) - 1, 5])
    batch = blocks.padded(rows, pad_id=7)
    length = blocks.lengths[rows].max()
    for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], rows, strict=True):
        expected = blocks.row(int(row)).tolist()
        assert ids.tolist() == expected + [7] * (length - len(expected))
        assert mask.tolist() == [1] * len(expected) + [0] * (length - len(expected))
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_a_large_vocabulary_has_wider_ids(tmp_path: Path):
    path = write(tmp_path / "a.txt", "가 가 가 가 끝\n")
    for tokens, dtype in ((2**16, np.uint16), (2**16 + 1, np.int32)):
        missing = tokens - len(wordpiece(["끝"]))
        tokenizer = wordpiece([*(f"x{i}" for i in range(missing)), "끝"])
        blocks = build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", 16)
        assert content(blocks) == [[CLS, 5, 5, 5, 5, tokens - 1, SEP]] and blocks.row(0).dtype == dtype


def test_byte_level_words_are_the_same_everywhere(tmp_path: Path):
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġa", "Ġb"]
    vocabulary = {token: i for i, token in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, [("Ġ", "a"), ("Ġ", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    path = write(tmp_path / "a.txt", "a b.\nb a. a\n\nb\n")
    blocks = build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", 16)
    a, b, dot = vocabulary["Ġa"], vocabulary["Ġb"], vocabulary["."]
    assert content(blocks) == [[CLS, a, b, dot, b, a, dot, a, SEP]]


def test_lower_case(tmp_path: Path):
    path = write(tmp_path / "a.txt", "A b A b\n")
    tokenizer = wordpiece(["a", "b"])
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    lowered = build_blocks(open_corpus([path], lower_case=True), tokenizer, tmp_path / "cache", 16)
    assert content(lowered) == [[CLS, a, b, a, b, SEP]]
    assert content(build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", 16)) == [[CLS, UNK, b, UNK, b, SEP]]


def test_tokenizers_that_cannot_be_used(plain: Path, tmp_path: Path):
    with pytest.raises(DataError, match="puts no tokens before and after a text, such as"):
        build_blocks(open_corpus([plain]), of_vocabulary(["[UNK]", "[PAD]", "가"]), tmp_path, 16)
    with pytest.raises(DataError, match="max_seq_length 5 leaves room for 3 tokens, fewer than 4"):
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path, 5)
    short = write(tmp_path / "short.txt", "가나\n다\n")
    with pytest.raises(DataError, match="no document has 4 tokens or more"):
        build_blocks(open_corpus([short]), wordpiece(), tmp_path / "cache", 16)


# --------------------------------------------------------------------------------------------------------------------
# Held-out documents, several corpora
# --------------------------------------------------------------------------------------------------------------------


def rows_as_sets(*blocks: Blocks) -> list[set[tuple[int, ...]]]:
    return [set(map(tuple, content(one))) for one in blocks]


def test_held_out_documents_are_the_same_in_every_form_length_and_company(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_module, "SHARD_CHARACTERS", 20_000)
    texts = random_documents(1000, seed=3)
    lines_of_json = "\n".join(json.dumps({"text": "\n \n".join(lines)}) for lines in texts[:300])
    pages = "".join(f'<doc id="1">\n{chr(10).join(lines)}\n</doc>\n' for lines in texts[:300])
    everything = write(tmp_path / "all.txt", as_plain_text(texts))
    some = [write(tmp_path / "some.jsonl", lines_of_json), write(tmp_path / "wiki_00", pages)]
    tokenizer = wordpiece()

    def held_out(path: Path, max_seq_length: int) -> set[int]:
        blocks = build_blocks(open_corpus([path]), tokenizer, tmp_path / "cache", max_seq_length)
        sides = blocks.split(0.1)
        assert sum(map(len, sides)) == len(blocks)
        assert sum(int(side.lengths.sum()) for side in sides) == int(blocks.lengths.sum())
        hashes = [set(hashes_of(side)) for side in sides]
        assert not hashes[0] & hashes[1]
        return hashes[1]

    everywhere = held_out(everything, 400)
    assert 70 <= len(everywhere) <= 130
    assert held_out(everything, 40) >= everywhere  # and short ends that are blocks of their own
    assert held_out(some[0], 400) == held_out(some[1], 300) < everywhere


def hashes_of(blocks: Blocks) -> list[int]:
    """The document of each row."""
    return [int(h) for s in blocks._stretches for h in s.shard.documents[s.start : s.stop]]


def test_copies_of_a_document_are_on_one_side(tmp_path: Path, small_shards):
    texts = random_documents(40, seed=4)
    path = write(tmp_path / "a.txt", as_plain_text(texts + texts[::-1] + texts))
    training, held_out = build_blocks(open_corpus([path]), wordpiece(), tmp_path / "cache", 512).split(0.3)
    left, right = rows_as_sets(training, held_out)
    assert left and right and not left & right


def test_copies_in_another_corpus_are_on_the_same_side(tmp_path: Path):
    """A small corpus, of which one document at least is held out by itself, and a large one that has it too."""
    texts = random_documents(60, seed=4)
    files = [write(tmp_path / f"{n}.txt", as_plain_text(texts[:n])) for n in (3, 60)]
    parts = [build_blocks(open_corpus([file]), wordpiece(), tmp_path / "cache", 512) for file in files]
    training, held_out = hold_out(parts, 0.05)
    assert [len(part) > 0 for part in training] == [True, True] and len(held_out)
    for part in training:
        left, right = rows_as_sets(part, held_out)
        assert not left & right
    assert len(held_out) < len(Blocks.joined(parts)) / 3
    with pytest.raises(DataError, match="one of the corpora has too few documents"):
        hold_out(parts, 0.999)


@pytest.mark.parametrize("content", ["[]", '{"shards": 5}', '{"shards": {}, "left_out": {}}', '{"shards": {"a": 1}}'])
def test_a_manifest_of_another_form_is_made_anew(tmp_path: Path, content: str):
    corpus = open_corpus([write(tmp_path / "a.txt", "가나다라\n마바사아\n")])
    blocks = build_blocks(corpus, wordpiece(), tmp_path / "cache", 16)
    (manifest,) = (tmp_path / "cache").glob("*/manifest.json")
    manifest.write_text(content)
    again = build_blocks(corpus, wordpiece(), tmp_path / "cache", 16)
    assert len(again) == len(blocks) and json.loads(manifest.read_text())["shards"]


def test_at_least_one_document_is_held_out(tmp_path: Path):
    path = write(tmp_path / "a.txt", "가나다라\n마바사아\n")
    blocks = build_blocks(open_corpus([path]), wordpiece(), tmp_path / "cache", 16)
    training, held_out = blocks.split(1e-9)
    assert (len(training), len(held_out)) == (1, 1) and training.content != held_out.content
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(DataError, match="must be between 0 and 1"):
            blocks.split(share)
    with pytest.raises(DataError, match="too few documents to hold some out"):
        training.split(0.5)


def test_joined(tmp_path: Path):
    tokenizer = wordpiece()
    first, second = (
        build_blocks(open_corpus([write(tmp_path / name, text)]), tokenizer, tmp_path / "cache", 16)
        for name, text in (("a", "가나다라\n마바사아\n"), ("b", "자차가나다\n"))
    )
    both, other_way = Blocks.joined([first, second]), Blocks.joined([second, first])
    assert content(both) == content(first) + content(second) and len(both) == 3
    assert both.counts["documents"] == 3 and both.lengths.tolist() == [6, 6, 7]
    assert len({first.content, second.content, both.content, other_way.content}) == 4


def test_some_rows(plain: Path, tmp_path: Path, small_shards):
    """Of several shards, also of those of which nothing is left; they are held out as all others are."""
    blocks = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    rows, draws = content(blocks), np.random.default_rng(0)
    for kept in (draws.random(len(rows)) < 0.5, np.arange(len(rows)) == len(rows) - 1, np.ones(len(rows), bool)):
        some = blocks.where(kept)
        assert content(some) == [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]
        assert some.lengths.tolist() == list(map(len, content(some))) and some.counts == blocks.counts
    some, others = blocks.where(kept := draws.random(len(rows)) < 0.5), blocks.where(~kept)
    contents = [blocks.content, some.content, others.content, blocks.where(kept, "why").content]
    assert len(set(contents)) == 4 and blocks.where(kept).content == some.content
    limit = max(hashes_of(blocks.split(0.3)[1]))
    assert [hash <= limit for hash in hashes_of(some.split(0.3)[1])].count(False) == 0


# --------------------------------------------------------------------------------------------------------------------
# The cache
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.seconds
def test_several_processes_write_the_same_bytes(plain: Path, tmp_path: Path, small_shards):
    corpus, done = open_corpus([plain]), []
    one = build_blocks(corpus, wordpiece(), tmp_path / "one", 32, progress=lambda *pair: done.append(pair))
    two = build_blocks(corpus, wordpiece(), tmp_path / "two", 32, processes=2)
    assert shards(tmp_path / "one") == shards(tmp_path / "two") and len(shards(tmp_path / "one")) == len(done) > 4
    assert one.content == two.content and one.counts == two.counts
    assert done[-1][0] == done[-1][1] and [a for a, _ in done] == sorted({a for a, _ in done})


def test_finished_blocks_are_found_again_by_content(plain: Path, tmp_path: Path, monkeypatch):
    cache = tmp_path / "cache"
    built = build_blocks(open_corpus([plain]), wordpiece(), cache, 32)
    others = [
        build_blocks(open_corpus([plain]), wordpiece(), cache, 33),
        build_blocks(open_corpus([plain]), wordpiece(["XX"]), cache, 32),
        build_blocks(open_corpus([plain], documents="lines"), wordpiece(), cache, 32),
        build_blocks(open_corpus([plain], lower_case=True), wordpiece(), cache, 32),
        build_blocks(open_corpus([write(tmp_path / "b.txt", plain.read_bytes() + b"\n")]), wordpiece(), cache, 32),
    ]
    assert len({blocks.content for blocks in [built, *others]}) == 6
    copy = write(tmp_path / "copy" / "elsewhere.txt", plain.read_bytes())
    monkeypatch.setattr(corpus_readers.Corpus, "parts", None)  # nothing is read any more
    again = build_blocks(open_corpus([copy]), wordpiece(), cache, 32)
    assert content(again) == content(built) and again.content == built.content and again.counts == built.counts


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.seconds)])
def test_an_interrupted_build_goes_on(processes: int, plain: Path, tmp_path: Path, small_shards, monkeypatch):
    whole = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "whole", 32)
    shares: list[float] = []

    def interrupt(done: int, characters: int) -> None:
        shares.append(done / characters)
        if len(shares) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32, processes, interrupt)
    there = shards(tmp_path / "cache")
    assert 2 <= len(there) < len(shards(tmp_path / "whole")) and not list(tmp_path.glob("cache/*/manifest.json"))
    written = []
    write_shard = corpus_module._write_shard

    def note(encoder, path: Path, parts: list) -> None:
        written.append(path.name)
        write_shard(encoder, path, parts)

    def show(done: int, characters: int) -> None:
        shares.append(done / characters)

    monkeypatch.setattr(corpus_module, "_write_shard", note)
    resumed = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32, progress=show)
    assert not set(written) & set(there) and shares[-1] == 1
    assert shards(tmp_path / "cache") == shards(tmp_path / "whole")
    assert resumed.counts == whole.counts and content(resumed) == content(whole)


@pytest.mark.parametrize("damage", ["cut off", "zeros", "gone", "empty"])
def test_a_damaged_shard_is_made_anew(damage: str, plain: Path, tmp_path: Path, small_shards):
    build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    before = shards(tmp_path / "cache")
    victim = sorted(tmp_path.glob("cache/*/shard-*.arrow"))[1]
    match damage:
        case "cut off":
            victim.write_bytes(victim.read_bytes()[:-100])
        case "zeros":
            victim.write_bytes(bytes(victim.stat().st_size))
        case "gone":
            victim.unlink()
        case "empty":
            victim.write_bytes(b"")
    build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    assert shards(tmp_path / "cache") == before


def test_a_shard_with_another_token_is_made_again_and_named(plain: Path, tmp_path: Path, small_shards):
    built = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    right = [built.row(number).tolist() for number in range(len(built))]
    shard = sorted((tmp_path / "cache").glob("*/shard-*"))[1]
    content = shard.read_bytes()
    at = content.index(built._stretches[1].shard.values.tobytes())
    shard.unlink()  # the map of `built` must not see the damage
    shard.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    again = build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    assert [again.row(number).tolist() for number in range(len(again))] == right
    assert again.damaged == [shard] and shard.read_bytes() == content
    assert not build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32).damaged


def test_what_a_killed_build_was_writing_is_not_taken_and_goes_away(plain: Path, tmp_path: Path, small_shards):
    build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    [folder] = (tmp_path / "cache").iterdir()
    (folder / "manifest.json").unlink()
    left = write(folder / ".shard-00001.arrow.0123456789abcdef.tmp", b"ARROW1")
    with whole_file(folder / "shard-00002.arrow") as being_written:  # as by another process
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
        assert not left.exists() and being_written.exists()


def test_a_file_that_changes_during_the_build(plain: Path, tmp_path: Path, small_shards):
    def edit(done: int, characters: int) -> None:
        if done < characters / 2:
            with plain.open("a") as file:
                file.write("가나다라\n")

    with pytest.raises(DataError, match=r"plain\.txt was changed while it was read: start again when it is at rest"):
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32, progress=edit)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.seconds
def test_a_worker_that_dies(plain: Path, tmp_path: Path, small_shards, monkeypatch):
    encoder = corpus_module._ShardEncoder
    monkeypatch.setattr(encoder, "__reduce__", lambda self: (os._exit, (1,)), raising=False)
    with pytest.raises(DataError, match="a process that tokenized the corpus died"):
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32, processes=2)


def test_a_full_disk(plain: Path, tmp_path: Path, small_shards, monkeypatch):
    replace, written = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        written.append(target)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"shard-00002\.arrow could not be written: No space left on device; with room"):
        build_blocks(open_corpus([plain]), wordpiece(), tmp_path / "cache", 32)
    [folder] = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["shard-00000.arrow", "shard-00001.arrow"]


# --------------------------------------------------------------------------------------------------------------------
# As processes of their own: limits on files and memory
# --------------------------------------------------------------------------------------------------------------------

BUILD = """
import resource, sys, threading, time
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_corpus import wordpiece
from processors.pretraining import corpus
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import open_corpus
from processors.task import DataError

memory = [0]

def watch_memory():
    # Without the pages of mapped files, which the kernel takes back when it needs them.
    while True:
        memory.append(int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) // 1024)
        time.sleep(0.02)

if __name__ == "__main__":
    threading.Thread(target=watch_memory, daemon=True).start()
    corpus.SHARD_CHARACTERS = {shard}
    if {limit}:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        blocks = build_blocks(open_corpus([Path({path!r})]), wordpiece(), Path({cache!r}), 128, processes={processes})
    except DataError as error:
        sys.exit(f"DataError: {{error}}")
    of_workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(len(blocks), blocks.counts["tokens"], max(memory), of_workers)
"""


def building(path: Path, cache: Path, processes: int = 1, limit: int = 0, shard: int = corpus_module.SHARD_CHARACTERS):
    """The build in a process of its own. limit: bytes that a file may have. shard: characters."""
    settings = {"path": str(path), "cache": str(cache), "processes": processes, "limit": limit, "shard": shard}
    script = write(
        cache.parent / "build.py", BUILD.format(root=str(ROOT), tests=str(ROOT / "tests" / "unit"), **settings)
    )
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, str(script)], text=True, **pipes)


@pytest.mark.seconds
@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_cannot_grow(processes: int, tmp_path: Path):
    path = write(tmp_path / "a.txt", as_plain_text(random_documents(3000, seed=5)))
    with building(path, tmp_path / "cache", processes, limit=50_000) as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1 and "could not be written: File too large; with room for it" in said
    assert "Traceback" not in said and not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert len(build_blocks(open_corpus([path]), wordpiece(), tmp_path / "cache", 128)) > 3000


@pytest.mark.seconds
def test_a_killed_build_goes_on(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "a.txt", as_plain_text(random_documents(3000, seed=7)))
    monkeypatch.setattr(corpus_module, "SHARD_CHARACTERS", 20_000)
    whole = build_blocks(open_corpus([path]), wordpiece(), tmp_path / "whole", 128)
    with building(path, tmp_path / "cache", processes=2, shard=20_000) as process:
        deadline = time.monotonic() + 60
        while len(shards(tmp_path / "cache")) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=60)  # returns when its workers, which hold the pipes, have ended too
    assert 2 <= len(shards(tmp_path / "cache")) < len(shards(tmp_path / "whole"))
    resumed = build_blocks(open_corpus([path]), wordpiece(), tmp_path / "cache", 128)
    assert shards(tmp_path / "cache") == shards(tmp_path / "whole") and resumed.counts == whole.counts


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path):
    """Six and 22 shards of text, and a line of 100 MB: the parent and each of two workers stay below 0.5 GB.

    If all texts were held at once, the longer one would take 80 MB more.
    """
    text = as_plain_text(random_documents(20_000, seed=6))
    peaks = {}
    for name, repetitions in (("short", 12_000_000 // len(text)), ("long", 44_000_000 // len(text))):
        with (tmp_path / name).open("w", encoding="utf-8") as file:
            for _ in range(repetitions):
                file.write(text + "\n")
    with (tmp_path / "line").open("w", encoding="utf-8") as file:
        line = text.replace("\n", " ")
        for _ in range(100_000_000 // len(line.encode()) + 1):
            file.write(line)
    assert (tmp_path / "long").stat().st_size > 80e6 and (tmp_path / "line").stat().st_size > 100e6
    for name in ("short", "long", "line"):
        with building(tmp_path / name, tmp_path / f"cache-{name}", processes=2, shard=2_000_000) as process:
            out, said = process.communicate()
        assert process.returncode == 0, said
        peaks[name] = list(map(int, out.split()[2:]))
    growth = np.array(peaks["long"]) - np.array(peaks["short"])
    assert growth.max() < 50, peaks  # MiB: of the heap's fragments
    assert max(map(max, peaks.values())) < 512, peaks
