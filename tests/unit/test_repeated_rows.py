"""Rows that stand in two splits, or twice with other labels, and rows that lose a long word, are counted."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from models import ModelError
from models.tokenizers import build_tokenizer
from models.word_limit import MOST, rows_beyond_limit, set_word_limit, word_limit
from processors import TASKS
from processors.features import token_ids
from processors.qa.questions import Questions
from processors.repeated_rows import count_repeats
from processors.sentence_files import Sentences
from processors.splits import stratified_split
from processors.task import Rows
from small_tokenizers import roberta, wordpiece
from workflows.settings import FineTuningConfig

OTHER_LABEL, IN_TRAIN, IN_DEV = (
    "rows that occur again with another label",
    "rows that are also training rows",
    "rows that are also development rows",
)


def counted(**splits) -> dict[str, dict[str, int]]:
    count_repeats(splits)
    return {name: dict(rows.counts) for name, rows in splits.items()}


def test_texts_by_hand():
    train = Rows(["가", "가", "나", "다", "다", "", "", " ", " "], None, [0, 1, 0, 1, 1, 0, 1, 0, 1])
    dev = Rows(["라", "다"], None, [0, 0])
    test = Rows(["다", "라", "다", "", "마"], None, [1, 0, 0, 0, 0])
    assert counted(train=train, dev=dev, test=test) == {
        "train": {OTHER_LABEL: 2},  # 가 twice; 다 has the same label twice, and empty texts are not looked at
        "dev": {IN_TRAIN: 1},
        "test": {OTHER_LABEL: 2, IN_TRAIN: 2, IN_DEV: 3},
    }


def test_pairs_are_the_same_if_both_sides_are():
    train = Rows(["가", "가"], ["나", "다"], [0.5, 1.5])
    test = Rows(["가", "나", "가"], ["다", "가", "라"], [1.5, 0.5, 0.5])
    assert counted(train=train, test=test) == {"train": {}, "test": {IN_TRAIN: 1}}


def test_sentences_and_questions():
    train = Sentences([["가", "나"], ["가", "나"], ["다"]], [[0, 0], [0, 1], [1]])
    test = Sentences([["다"], ["가"]], [[1], [0]])
    assert counted(train=train, test=test) == {"train": {OTHER_LABEL: 2}, "test": {IN_TRAIN: 1}}
    train = Questions(["글", "둘"], ["1", "2"], ["누구?", "누구?"], [0, 1], [("가",), ("나",)])
    test = Questions(["둘"], ["3", "4"], ["누구?", "어디?"], [0, 0], [("나",), ("둘",)])
    assert counted(train=train, test=test) == {"train": {}, "test": {IN_TRAIN: 1}}


def test_both_parts_of_a_file_that_is_split():
    task = dataclasses.replace(TASKS["fake-news"], held_out_share=0.5)
    rows = Rows([str(i // 4) for i in range(40)], None, [i % 2 for i in range(40)])
    train, test = stratified_split(task, rows, seed=1)
    found = counted(train=train, test=test)
    assert found["test"][IN_TRAIN] == sum(text in train.first for text in test.first) > 0


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_a_plain_search(seed: int):
    draw = random.Random(seed)
    train, test = (
        Rows([f"{draw.randrange(12)}" for _ in range(20)], None, [draw.randrange(2) for _ in range(20)])
        for _ in range(2)
    )
    pairs = list(zip(train.first, train.labels, strict=True))
    expected = sum(any(t == text and la != label for t, la in pairs) for text, label in pairs)
    found = counted(train=train, test=test)
    assert found["train"].get(OTHER_LABEL, 0) == expected
    assert found["test"].get(IN_TRAIN, 0) == sum(text in train.first for text in test.first)


# --------------------------------------------------------------------------------------------------------------------
# Long words
# --------------------------------------------------------------------------------------------------------------------

LONG = "가" * 101


def test_words_beyond_the_limit_are_counted_as_the_tokenizer_sees_them():
    tokenizer = wordpiece()
    assert word_limit(tokenizer) == 100
    texts = [
        "가" * 100,
        LONG,
        f"앞 {LONG}",
        "가" * 60 + "." + "가" * 60,
        f"{LONG}\u00a0{LONG}",
        "가" * 60 + "\u3000" + "가" * 60,
    ]
    assert rows_beyond_limit(tokenizer, texts) == 3
    unknown = [ids.count(tokenizer.unk_token_id) for ids in token_ids(tokenizer, [LONG])]
    assert unknown == [1]


def test_a_limit_that_was_raised_is_saved(tmp_path: Path):
    tokenizer = wordpiece()
    set_word_limit(tokenizer, 150)
    assert rows_beyond_limit(tokenizer, [LONG, "가" * 151]) == 1
    tokenizer.save_pretrained(tmp_path / "saved")
    again = build_tokenizer(None, tmp_path / "saved")
    assert word_limit(again) == 150 and rows_beyond_limit(again, [LONG]) == 0
    settings = tmp_path / "saved" / "tokenizer_config.json"
    content = settings.read_text(encoding="utf-8")
    for wrong, shown in (('"150"', "'150'"), ("15000000000", "15000000000")):
        settings.write_text(content.replace("150", wrong), encoding="utf-8")
        message = f"max_word_characters in tokenizer_config.json is no number of characters: {shown}"
        with pytest.raises(ModelError, match=re.escape(message)):
            build_tokenizer(None, tmp_path / "saved")


def test_the_limit_has_a_limit():
    """Beyond it, what looks for long words cannot count."""
    tokenizer = wordpiece()
    set_word_limit(tokenizer, MOST)
    assert rows_beyond_limit(tokenizer, [LONG]) == 0
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        FineTuningConfig(task="nsmc", max_word_characters=MOST + 1)


def test_a_tokenizer_without_a_limit():
    tokenizer = roberta()
    assert word_limit(tokenizer) is None and rows_beyond_limit(tokenizer, [LONG]) == 0
    with pytest.raises(ModelError, match="max_word_characters 200: this tokenizer has no limit that can be set"):
        set_word_limit(tokenizer, 200)
