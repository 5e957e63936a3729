"""Token ids against those of transformers, and a cache that is never taken for what it is not."""

import itertools
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import normalizers
from transformers import BertTokenizer

from growth import expect_linear
from processors import features
from processors.arrow_files import DamagedFileError, read_batches, write_batches
from processors.features import ROWS_IN_BATCH, SCHEMA, Features, SpecialTokens, build_features, longest_first
from processors.task import DataError, Rows
from small_tokenizers import SYLLABLES, WORDS, kobert, roberta, wordpiece

TOKENIZERS = {"bert": wordpiece, "roberta": roberta, "kobert": kobert}
SPECIAL_COUNT = {"bert": (2, 3), "roberta": (2, 4), "kobert": (2, 3)}


def random_texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = [*WORDS, "?", "가나다라마바사", "[SEP]", "</s>", ""]
    return [" ".join(rng.choices(words, k=rng.choice([0, 1, 2, 3, 5, 8, 13]))) for _ in range(count)]


def content(built: Features) -> list[tuple[list[int], list[int]]]:
    return [tuple(part.tolist() for part in built.row(index)) for index in range(len(built))]


def rows_of(*texts: str) -> Rows:
    return Rows(list(texts), None, None)


@pytest.fixture(scope="module")
def bert() -> BertTokenizer:
    return wordpiece()


# --------------------------------------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("max_seq_len", [3, 8, 13, 64])
def test_single_texts_are_those_of_transformers(name: str, max_seq_len: int, tmp_path: Path):
    tokenizer, texts = TOKENIZERS[name](), random_texts(200, seed=max_seq_len)
    built = build_features(Rows(texts, None, None), tokenizer, max_seq_len, tmp_path)
    expected = tokenizer(texts, truncation=True, max_length=max_seq_len, return_token_type_ids=True)
    assert content(built) == list(zip(expected["input_ids"], expected["token_type_ids"], strict=True))


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("max_seq_len", [6, 11, 12, 64])
def test_pairs_are_those_of_transformers(name: str, max_seq_len: int, tmp_path: Path):
    tokenizer, room = TOKENIZERS[name](), max_seq_len - SPECIAL_COUNT[name][1]
    first, second = random_texts(200, seed=1), random_texts(200, seed=2)
    built = content(build_features(Rows(first, second, None), tokenizer, max_seq_len, tmp_path))
    tokens = [tokenizer(side, add_special_tokens=False)["input_ids"] for side in (first, second)]
    compared = 0
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        both_cut = min(len(tokens[0][row]), len(tokens[1][row])) > room // 2
        if both_cut and room % 2:  # the odd token is the first text's here, the longer one's there
            assert len(built[row][0]) <= max_seq_len
            continue
        # As lists: a single empty second text would count as none at all.
        expected = tokenizer([a], [b], truncation="longest_first", max_length=max_seq_len, return_token_type_ids=True)
        assert built[row] == (expected["input_ids"][0], expected["token_type_ids"][0])
        compared += 1
    assert compared > 50


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("is_pair", [False, True])
def test_special_tokens(name: str, is_pair: bool):
    assert SpecialTokens.of(TOKENIZERS[name](), is_pair).count == SPECIAL_COUNT[name][is_pair]


def one_by_one(first: int, second: int, room: int) -> tuple[int, int]:
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


def test_longest_first_takes_one_token_after_the_other():
    cases = list(itertools.product(range(21), repeat=3))
    assert [longest_first(*case) for case in cases] == [one_by_one(*case) for case in cases]


def test_rows_by_hand(bert: BertTokenizer, tmp_path: Path):
    """가나 is a word of the vocabulary only if it is one of every third; its syllables are ids 5.. and ##15.."""
    assert bert.convert_ids_to_tokens([5, 6, 15, 16]) == ["가", "나", "##가", "##나"]
    rows = Rows(["나 가나 ?", "", "가 나 다 라"], ["나", "가", ""], None)
    built = build_features(rows, bert, 6, tmp_path)
    assert content(built) == [
        ([2, 6, 5, 3, 6, 3], [0, 0, 0, 0, 1, 1]),  # 나 가 ##나 [UNK] | 나: two of five tokens do not fit into three
        ([2, 3, 5, 3], [0, 0, 1, 1]),
        ([2, 5, 6, 7, 3, 3], [0, 0, 0, 0, 0, 1]),
    ]
    assert (built.cut_rows, built.cut_tokens) == (2, 2 + 1)
    assert built.unknown_share == 0
    assert built.lengths.tolist() == [6, 4, 6]


def test_unknown_tokens_are_counted(bert: BertTokenizer, tmp_path: Path):
    built = build_features(rows_of("가 ? 나 ?", "? ?", "다"), bert, 5, tmp_path)
    # [CLS] 가 ? 나 [SEP], the second ? cut off; [CLS] ? ? [SEP]; [CLS] 다 [SEP]
    assert (built.unknown_share, built.cut_rows, built.cut_tokens) == (3 / 12, 1, 1)


@pytest.mark.parametrize("is_pair, special", [(False, 2), (True, 3)])
def test_max_seq_len_must_leave_room(bert: BertTokenizer, is_pair: bool, special: int, tmp_path: Path):
    rows = Rows(["가"], ["나"] if is_pair else None, None)
    with pytest.raises(DataError, match=f"^max_seq_len {special} leaves no room for text beside {special} special"):
        build_features(rows, bert, special, tmp_path)
    assert len(build_features(rows, bert, special + 1, tmp_path).row(0)[0]) == special + 1
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_padded(bert: BertTokenizer, tmp_path: Path):
    built = build_features(Rows(["가", "나 다", ""], ["라", "마", "바"], None), bert, 16, tmp_path)
    batch = built.padded(np.array([1, 0, 1]), pad_id=9)
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[2, 6, 7, 3, 9, 3], [2, 5, 3, 8, 3, 9], [2, 6, 7, 3, 9, 3]],
        "attention_mask": [[1] * 6, [1] * 5 + [0], [1] * 6],
        "token_type_ids": [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]],
    }
    assert all(array.dtype == np.int64 for array in batch.values())
    fixed = built.padded(np.array([2]), pad_id=0, length=8)
    assert fixed["input_ids"].tolist() == [[2, 3, 10, 3, 0, 0, 0, 0]]
    assert fixed["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_a_pair_of_100_000_characters(bert: BertTokenizer, tmp_path: Path):
    def build(size: int) -> Features:
        rows = Rows(["가나 " * (size // 3 + 1), "가" * size], ["다라 " * (size // 3 + 1), "나"], None)
        return build_features(rows, bert, 512, Path(tempfile.mkdtemp(dir=tmp_path)))  # found again nowhere

    expect_linear(build, 5_000)
    built = build(100_000)
    assert built.lengths.tolist() == [512, 3 + 1 + 1]  # a word of 100,000 characters is one [UNK]
    assert built.cut_rows == 1


# --------------------------------------------------------------------------------------------------------------------
# Many rows, several processes
# --------------------------------------------------------------------------------------------------------------------


def test_rows_across_the_borders_of_batches_and_in_two_processes(bert: BertTokenizer, tmp_path: Path):
    count = 2 * ROWS_IN_BATCH + 3
    texts = [" ".join(SYLLABLES[int(digit)] for digit in str(number)) for number in range(count)]
    built = build_features(Rows(texts, texts, None), bert, 16, tmp_path / "one")

    def ids(number: int) -> list[int]:
        digits = [5 + int(digit) for digit in str(number)]
        return [2, *digits, 3, *digits, 3]

    assert len(built) == count
    assert [built.row(number)[0].tolist() for number in range(count)] == [ids(number) for number in range(count)]
    assert built.lengths.tolist() == [3 + 2 * len(str(number)) for number in range(count)]
    border = np.array([ROWS_IN_BATCH, 0, 2 * ROWS_IN_BATCH + 2, ROWS_IN_BATCH - 1])
    batch = built.padded(border, pad_id=0)
    assert [row[row > 0].tolist() for row in batch["input_ids"]] == [ids(number) for number in border]

    spread = build_features(Rows(texts, texts, None), bert, 16, tmp_path / "two", threads=2)
    assert spread.table.path.read_bytes() == built.table.path.read_bytes()
    assert spread.table.path.name == built.table.path.name


# --------------------------------------------------------------------------------------------------------------------
# The cache
# --------------------------------------------------------------------------------------------------------------------


def test_the_same_content_is_found_again(bert: BertTokenizer, tmp_path: Path, monkeypatch):
    first = build_features(Rows(["가 나"], ["다"], [1]), bert, 8, tmp_path)
    assert not first.table.was_cached
    monkeypatch.setattr(features, "in_processes", None)  # nothing is tokenized any more
    again = build_features(Rows(["가 나"], ["다"], [0]), wordpiece(), 8, tmp_path)  # labels are not in it
    assert again.table.was_cached and again.table.path == first.table.path
    assert content(again) == content(first)


def test_other_content_is_another_file(bert: BertTokenizer, tmp_path: Path):
    lower, other = wordpiece(), wordpiece()
    lower.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    other.add_tokens(["하"])
    built = [
        build_features(Rows(["가", "나"], None, None), bert, 8, tmp_path),
        build_features(Rows(["가", "나 "], None, None), bert, 8, tmp_path),
        build_features(Rows(["나", "가"], None, None), bert, 8, tmp_path),
        build_features(Rows(["가나"], None, None), bert, 8, tmp_path),
        build_features(Rows(["가"], ["나"], None), bert, 8, tmp_path),
        build_features(Rows(["가", "나"], None, None), bert, 9, tmp_path),
        build_features(Rows(["가", "나"], None, None), kobert(), 8, tmp_path),
        build_features(Rows(["가", "나"], None, None), lower, 8, tmp_path),
        build_features(Rows(["가", "나"], None, None), other, 8, tmp_path),
    ]
    assert not any(one.table.was_cached for one in built)
    assert len({one.table.path for one in built}) == len(built)


def test_truncating_with_the_tokenizer_elsewhere_does_not_cut_rows(bert: BertTokenizer, tmp_path: Path):
    tokenizer = wordpiece()
    tokenizer(["가 나 다"], truncation=True, max_length=3, padding="max_length")  # leaves settings in the Rust object
    built = build_features(rows_of("가 나 다"), tokenizer, 8, tmp_path)
    assert content(built)[0][0] == [2, 5, 6, 7, 3]


def test_what_was_interrupted_is_not_taken(bert: BertTokenizer, tmp_path: Path, monkeypatch):
    rows = Rows([SYLLABLES[number % 10] for number in range(ROWS_IN_BATCH + 1)], None, None)
    whole = features.in_processes

    def interrupted(*arguments):
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(features, "in_processes", interrupted)
        build_features(rows, bert, 8, tmp_path)
    assert list(tmp_path.iterdir()) == []
    built = build_features(rows, bert, 8, tmp_path)
    # A kill leaves half of the file under a temporary name.
    half = built.table.path.read_bytes()[: built.table.path.stat().st_size // 2]
    built.table.path.unlink()
    (tmp_path / f".{built.table.path.name}.{'0' * 16}.tmp").write_bytes(half)
    again = build_features(rows, bert, 8, tmp_path)
    assert not again.table.was_cached and len(again) == ROWS_IN_BATCH + 1
    assert again.row(ROWS_IN_BATCH)[0].tolist() == [2, 5 + ROWS_IN_BATCH % 10, 3]


def test_two_builders_with_one_process_number_both_succeed(bert: BertTokenizer, tmp_path: Path, monkeypatch):
    """As in two containers that share a cache: the second begins and ends while the first is writing."""
    rows = Rows([SYLLABLES[number % 10] for number in range(ROWS_IN_BATCH + 1)], None, None)
    whole = features.in_processes
    second = []

    def overtaken(*arguments):
        batches = whole(*arguments)
        yield next(batches)
        if not second:
            second.append(None)
            second[0] = build_features(rows, bert, 8, tmp_path)
        yield from batches

    monkeypatch.setattr(features, "in_processes", overtaken)
    first = build_features(rows, bert, 8, tmp_path)
    assert not first.table.was_cached and not second[0].table.was_cached
    assert [path.name for path in tmp_path.iterdir()] == [first.table.path.name]
    for built in (first, second[0]):
        assert len(built) == ROWS_IN_BATCH + 1
        assert built.row(ROWS_IN_BATCH)[0].tolist() == [2, 5 + ROWS_IN_BATCH % 10, 3]


BUILDER = """
import os, sys
from pathlib import Path
os.getpid = lambda: 1
from processors.features import build_features
from processors.task import Rows
from small_tokenizers import wordpiece
rows = Rows([f"가 나 다 {number}" for number in range(20_000)], None, None)
tokenizer = wordpiece()
print("ready", flush=True)
sys.stdin.readline()
print(len(build_features(rows, tokenizer, 8, Path(sys.argv[1]))))
"""


@pytest.mark.seconds
def test_two_processes_that_are_both_number_1_build_one_cache_at_once(tmp_path: Path):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "cache")]
    builders = [subprocess.Popen(command, env=environment, encoding="utf-8", **pipes) for _ in range(2)]
    for builder in builders:
        assert builder.stdout.readline() == "ready\n", builder.communicate()[1]
    for builder in builders:
        builder.stdin.write("go\n")
        builder.stdin.flush()
    said = [builder.communicate(timeout=120) for builder in builders]
    assert [out for out, _ in said] == ["20000\n"] * 2, said
    assert len(list((tmp_path / "cache").iterdir())) == 1


def arrow(schema: pa.Schema, **columns: list) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
    return sink.getvalue().to_pybytes()


ONE_ROW = {"input_ids": [[2, 3]], "token_type_ids": [[0, 0]], "unknown_tokens": [0], "cut_tokens": [0]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"\0" * len(data),
        lambda data: data[:-300] + b"\xff" * 200 + data[-100:],
        lambda data: random.Random(0).randbytes(len(data)),
        lambda data: arrow(SCHEMA, **ONE_ROW),  # of fewer rows
        lambda data: arrow(pa.schema({"x": pa.int32()}), x=[1, 2, 3]),
    ],
    ids=["empty", "a byte short", "half", "zeros", "overwritten", "random", "fewer rows", "another table"],
)
def test_a_damaged_file_is_made_anew(damage, bert: BertTokenizer, tmp_path: Path):
    rows = rows_of("가 나", "다", "")
    built = build_features(rows, bert, 8, tmp_path)
    whole = built.table.path.read_bytes()
    built.table.path.unlink()  # the map of `built` must not see the damage
    built.table.path.write_bytes(damage(whole))
    again = build_features(rows, bert, 8, tmp_path)
    assert not again.table.was_cached
    assert content(again) == [([2, 5, 6, 3], [0] * 4), ([2, 7, 3], [0] * 3), ([2, 3], [0] * 2)]
    assert again.table.path.read_bytes() == whole
    assert build_features(rows, bert, 8, tmp_path).table.was_cached


def test_a_byte_that_changed_is_never_a_token(bert: BertTokenizer, tmp_path: Path):
    """At any place in the file: in the values, between them, or in what Arrow says about them."""
    rows = rows_of("가 나", "다", "")
    built = build_features(rows, bert, 8, tmp_path)
    whole, right, path = built.table.path.read_bytes(), content(built), built.table.path
    assert not built.table.was_damaged
    remade = 0
    for position in range(0, len(whole), 7):
        path.unlink()
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        again = build_features(rows, bert, 8, tmp_path)
        assert content(again) == right
        assert again.table.was_damaged != again.table.was_cached
        remade += again.table.was_damaged
    assert remade > 20


@pytest.mark.parametrize("kept", [0, 1])
def test_a_file_with_fewer_batches_is_damaged(kept: int, tmp_path: Path):
    """Each batch has the right checksum. A changed byte in the footer can make such a file of a whole one."""
    batches = [pa.RecordBatch.from_pydict(ONE_ROW, schema=SCHEMA)] * 2
    with pa.OSFile(str(tmp_path / "whole"), "wb") as sink:
        write_batches(sink, SCHEMA, batches)
    schema, found = read_batches(tmp_path / "whole")
    assert schema == SCHEMA and found == batches
    whole = pa.ipc.open_file(tmp_path / "whole")
    with pa.ipc.new_file(tmp_path / "cut", SCHEMA) as writer:
        for number in range(kept):
            batch, metadata = whole.get_batch_with_custom_metadata(number)
            writer.write_batch(batch, custom_metadata=metadata)
    with pytest.raises(DamagedFileError, match="cut"):
        read_batches(tmp_path / "cut")


def test_a_cache_folder_that_cannot_be(bert: BertTokenizer, tmp_path: Path):
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"could not be written: .*--cache_dir takes another folder$"):
        build_features(rows_of("가"), bert, 8, tmp_path / "cache")
