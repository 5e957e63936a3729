"""KLUE-NER: the file of characters, and which token labels which characters, by hand and as KLUE-baseline has it."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from processors import TASKS
from processors.character_tokens import (
    NO_TOKEN,
    WordTokens,
    aligned_places,
    build_character_features,
    first_characters,
    label_names,
    published_places,
    spread_labels,
)
from processors.klue_ner import character_lines, read_klue_ner
from processors.sentence_files import Sentences, read_unlabelled
from processors.task import DataError
from small_tokenizers import SYLLABLES, wordpiece

TASK = TASKS["klue-ner"]
O = TASK.labels.index("O")  # noqa: E741
OFFICIAL = """## 주석 : ##
## 컬럼명 : CHAR\tNE_TAG
## klue-ner-v1_dev_00000-wikitree\t<한솔:PS>은  봄(<3일:DT>)
한\tB-PS
솔\tI-PS
은\tO
 \tO
 \tO
봄\tO
(\tO
3\tB-DT
일\tI-DT
)\tO

## klue-ner-v1_dev_00001
#\tO
\t
서\tB-LC
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "klue-ner-v1.1_dev.tsv"


def names(ids: list[int]) -> str:
    return " ".join(TASK.labels[id] for id in ids)


# The file


def test_sentences(file: Path):
    for line_end in ("\n", "\r\n"):
        file.write_text(OFFICIAL, encoding="utf-8", newline=line_end)
        rows = read_klue_ner(TASK, file)
        assert rows.words == [["한솔은", "봄(3일)"], ["#"], ["서"]]
        assert [names(ids) for ids in rows.labels] == ["B-PS I-PS O O O B-DT I-DT O", "O", "B-LC"]
    assert TASK.labels[:2] == ("B-PS", "I-PS") and len(TASK.labels) == 13 and TASK.labels[-1] == "O"


def test_sentences_to_be_labelled(file: Path):
    sentences = [["한솔은", "봄(3일)"], ["#"], ["서"]]
    file.write_text(OFFICIAL, encoding="utf-8")
    rows = read_unlabelled(TASK, file)
    assert (rows.words, rows.labels) == (sentences, None) and "klue-ner" in "".join(rows.counts)
    characters = [line.split("\t")[0] for line in OFFICIAL.splitlines() if not line.startswith("##")]
    file.write_text("\r\n".join(characters), encoding="utf-8", newline="")
    assert read_unlabelled(TASK, file).words == sentences
    file.write_text("한솔은  봄(3일)\n\n#\n", encoding="utf-8")
    assert read_unlabelled(TASK, file).words == [["한솔은", "봄(3일)"], [], ["#"]]
    file.write_text("한\tO\n솔\tO\tO\n", encoding="utf-8")
    with pytest.raises(DataError, match=r":2: 3 columns instead of at most 2"):
        read_unlabelled(TASK, file)


@pytest.mark.parametrize(
    "line, message",
    [
        ("한", "1 column instead of 2"),
        ("한\tB-PS\tO", "3 columns instead of 2"),
        ("한솔\tB-PS", "'한솔' is not one character"),
        ("\tB-PS", "'' is not one character"),
        ("한\tPS-B", "unknown label 'PS-B': known are B-PS, I-PS, B-LC"),
    ],
)
def test_malformed_lines(file: Path, line: str, message: str):
    file.write_text(f"가\tO\n{line}\n\n나\tO\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_klue_ner(TASK, file)
    assert str(caught.value).startswith(f"{file}:2: {message}")
    assert read_klue_ner(TASK, file, skip_bad_rows=True).words == [["나"]]
    file.write_text(f"가\tO\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match="no sentence is left"):
        read_klue_ner(TASK, file, skip_bad_rows=True)


def test_written_sentences_are_read_again(file: Path):
    file.write_text(OFFICIAL, encoding="utf-8")
    rows = read_klue_ner(TASK, file)
    labels = [[TASK.labels[id] for id in ids] for ids in rows.labels]
    file.write_text(character_lines(rows.words, labels), encoding="utf-8")
    assert read_klue_ner(TASK, file) == rows


# Tokens and characters


def word(text: str, tokens: str) -> WordTokens:
    return WordTokens(text, [None if token == "?" else token for token in tokens.split()])


def shown(places: list[tuple[int, bool]] | None) -> str:
    """`0 0+ 1`: the token of each character, with + where it goes on."""
    return "" if places is None else " ".join(f"{at}{'+' * goes_on}" for at, goes_on in places)


@pytest.mark.parametrize(
    "words, firsts, aligned, published",
    [
        ([word("안녕", "안녕"), word("하세요", "하 세요")], [0, 2, 3], "0 0+ 1 2 2+", "0 0+ 1 2 2+"),
        # KLUE-baseline does not leave the [UNK] at the end of a word: the next word is read from it, and so on.
        ([word("찝찝이", "?"), word("가나", "가 나")], [0, 3, 4], "0 0+ 0+ 1 2", "0 0+ 0+ 0 1"),
        # Before the comma it does; the token after that is the comma once more.
        ([word("베쏭,제5", "? , 제 5"), word("가", "가")], [0, 0, 0, 0, 5], "0 0+ 1 2 3 4", "0 0+ 1 1 2 3"),
        # A known token in such a word is one character for it, so that there is no label for the last.
        ([word("미나뷁", "미나 ?")], [0, 0], "0 0+ 1", "0 1"),
        ([word("뷁햏", "? ?")], [0, 0], "0 1", "0 0"),
    ],
)
def test_places(words: list[WordTokens], firsts: list[int], aligned: str, published: str):
    assert first_characters(words) == firsts
    assert shown(aligned_places(words)) == aligned
    assert shown(published_places(words, 100)) == published


def test_tokens_beyond_the_room_are_not_scored():
    words = [word("가나다", "가 나 다"), word("뷁뷁", "?"), word("라마", "라 마")]
    assert shown(published_places(words, 2)) == "0 1"
    assert shown(published_places(words, 3)) == "0 1 2"
    assert shown(published_places(words, 4)) == "0 1 2 3 3+ 3"
    # After an [UNK] the token of the [SEP] is read.
    assert shown(published_places([word("뷁,가", "? , 가")], 1)) == "0 1"


def test_characters_without_a_token_and_tokens_without_a_character():
    dropped, longer = word("가\u200b나", "가 나"), word("㎡", "m2")
    assert shown(aligned_places([dropped, longer])) == "0 1 -1 2"
    assert first_characters([dropped, longer, word("가", "가")]) == [0, 1, 3, 4]
    assert first_characters([word("…", ". . .")]) == [0, NO_TOKEN, NO_TOKEN]
    assert shown(aligned_places([word("…", ". . .")])) == "0"
    assert published_places([longer], 9) is None  # two characters are one too many
    assert first_characters([WordTokens("가", ["", "가"])]) == [NO_TOKEN, 0]


@pytest.mark.parametrize("unending", [word("뷁가", "? 나"), word("뷁\u200b", "? 가나"), word("뷁가가가", "? 가가")])
def test_words_that_klue_baseline_finds_no_end_of(unending: WordTokens):
    assert published_places([unending], 9) is None


def klue_baselines_characters(words: list[WordTokens], room: int) -> list[tuple[int, bool]]:
    """What KLUE-baseline's two loops do, one step after the other; `n` is the token that is read next."""
    found: list[tuple[int, bool]] = []
    n = 0
    for each in words:
        if n >= room:
            return found
        if None not in each.tokens:
            for token in each.tokens:
                if n >= room:
                    break
                found += [(n, i > 0) for i in range(len(token))]
                n += 1
            continue
        spread: list[str] = []
        i = j = 0
        again = False
        while not (i == len(each.word) and j == len(each.tokens) - 1):
            assert i <= len(each.word)
            token = each.tokens[j]
            spread.append("more" if again else "unknown" if token is None else "known")
            i += 1 if token is None else len(token)
            if token is None and j + 1 < len(each.tokens) and each.tokens[j + 1] is not None:
                again = each.word[i] != each.tokens[j + 1][0]
                j += not again
            else:
                j, again = j + 1, False
            if j == len(each.tokens):
                j, again = j - 1, True
        after_unknown = False
        for kind in spread:
            if n >= room:
                break
            if kind == "unknown":
                after_unknown = True
            n += kind == "known" and after_unknown
            found.append((n, kind == "more"))
            if kind == "known":
                n += not after_unknown
                after_unknown = False
    assert len(found) <= sum(len(each.word) for each in words)
    return found


def test_random_sentences_as_in_klue_baseline():
    rng = random.Random(5)
    failing = 0
    for _ in range(2000):
        words = []
        for _ in range(rng.randint(1, 5)):
            parts = ["".join(rng.choice("가나다,") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 4))]
            tokens = [None if rng.random() < 0.3 else part for part in parts]
            text = "".join(parts) + rng.choice(["", "", "", "라"])
            words.append(WordTokens(text, tokens))
        room = rng.choice([3, 6, 100])
        try:
            expected = klue_baselines_characters(words, room)
        except (AssertionError, IndexError):
            expected, failing = None, failing + 1
        assert published_places(words, room) == expected
    assert 20 < failing < 1000


# Features


def sentence(rng: random.Random) -> list[str]:
    return ["".join(rng.choice(SYLLABLES + "?") for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(1, 6))]


def test_features(tmp_path: Path):
    tokenizer, rng = wordpiece(), random.Random(6)
    rows = Sentences([sentence(rng) for _ in range(60)], None)
    features = build_character_features(rows, tokenizer, 12, tmp_path)
    again = build_character_features(rows, tokenizer, 12, tmp_path)
    assert not features.table.was_cached and again.table.was_cached
    for row, words in enumerate(rows.words):
        ids = tokenizer(" ".join(words))["input_ids"]
        assert features.row(row)[0].tolist() == [*ids[:-1][:11], ids[-1]]
        assert features.table.numbers["cut_tokens"][row] == max(0, len(ids) - 12)
        positions, _ = features.places("aligned", row)
        assert len(positions) == sum(map(len, words)) and positions.max() < features.lengths[row] - 1
        assert (positions == NO_TOKEN).any() == (len(ids) > 12)
    assert features.cut_rows == sum(len(tokenizer(" ".join(words))["input_ids"]) > 12 for words in rows.words) > 0


def test_labels_of_tokens_and_of_characters(tmp_path: Path):
    tokenizer = wordpiece()
    assert tokenizer.tokenize("가가마 나") == ["가가", "##마", "나"]
    rows = Sentences([["가가마", "나"], ["다"]], [[0, 1, O, 2], [4]])
    features = build_character_features(rows, tokenizer, 16, tmp_path)
    labels = features.label_ids(np.array([0, 1]), rows.labels, O, 6, -100)
    assert labels.tolist() == [[O, 0, O, 2, O, -100], [O, 4, O, -100, -100, -100]]
    predicted = spread_labels(TASK, np.array([O, 0, 3, 12, O]), features.places("aligned", 0))
    assert label_names(TASK, predicted) == ["B-PS", "I-PS", "I-LC", "O"]
    short = build_character_features(rows, tokenizer, 3, tmp_path)
    assert label_names(TASK, spread_labels(TASK, np.array([O, 0, O]), short.places("aligned", 0))) == (
        ["B-PS", "I-PS", "?", "?"]
    )
    assert short.label_ids(np.array([0]), rows.labels, O, 3, -100).tolist() == [[O, 0, O]]


def test_types_may_hold_what_labels_begin_with():
    task = dataclasses.replace(TASK, labels=("B-SUB-PS", "I-SUB-PS", "O"))
    places = np.array([0, 0, 1, 1]), np.array([False, True, False, True])
    assert label_names(task, spread_labels(task, np.array([0, 1]), places)) == [
        "B-SUB-PS", "I-SUB-PS", "I-SUB-PS", "I-SUB-PS",
    ]  # fmt: skip
