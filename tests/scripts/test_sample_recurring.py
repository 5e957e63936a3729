"""python3 -m pytest tests/scripts/test_sample_recurring.py

The sample of korquad-few-shot: a corpus in which spans recur, and questions on other names and numbers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from models.vocabulary import train_wordpiece
from processors.pretraining.recurring_spans import RecurringSpans, SplinterVocabulary, recurs_in
from sample_data import sample_recurring
from sample_data.sample_recurring import (
    COLORS,
    CORPUS,
    FACTS,
    FOLDER,
    FORMS,
    GIVEN,
    INSTITUTIONS,
    PLACE,
    STEMS,
    SURNAMES,
    THINGS,
    TOWN_STEMS,
    TOWNS,
)

ROOT = Path(__file__).parents[2]
# What entities look like, whatever part they are of; one that is the start of a longer word is followed by a particle.
PATTERNS = {
    "person": rf"(?<!\S)[{SURNAMES}][{GIVEN[0]}][{GIVEN[1]}](?= |\.|$)",
    "town": rf"(?<!\S)[{TOWN_STEMS[0]}][{TOWN_STEMS[1]}](?:{'|'.join(TOWNS)})(?= |\.|$)",
    "place": rf"(?<!\S)[{''.join(STEMS)}](?:{'|'.join(INSTITUTIONS)})",
    "title": rf"(?:{'|'.join(COLORS)}) (?:{'|'.join(THINGS)})",
    "number": r"1\d\d\d년",
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return sample_recurring.make_few_shot(42, None).files


@pytest.fixture(scope="module")
def texts(files: dict[str, bytes]) -> dict[str, list[str]]:
    """All texts of each part."""
    found = {"corpus": [json.loads(line)["text"] for line in files[CORPUS].decode().splitlines()]}
    for part in ("train", "dev"):
        found[part] = [text for context, qa in asked(files, part) for text in (context, qa["question"])]
    return found


def asked(files: dict[str, bytes], part: str) -> list[tuple[str, dict]]:
    """Context and question of each question."""
    articles = json.loads(files[f"{FOLDER}/KorQuAD_v1.0_{part}.json"])["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [(paragraph["context"], qa) for paragraph in paragraphs for qa in paragraph["qas"]]


def test_files_and_their_formats(files: dict[str, bytes], texts: dict[str, list[str]]) -> None:
    assert set(files) == {CORPUS, f"{FOLDER}/KorQuAD_v1.0_train.json", f"{FOLDER}/KorQuAD_v1.0_dev.json"}
    assert len(set(texts["corpus"])) > 0.99 * len(texts["corpus"]) == 9_900
    for part, count in (("train", 300), ("dev", 200)):
        content = json.loads(files[f"{FOLDER}/KorQuAD_v1.0_{part}.json"])
        assert set(content) == {"version", "data"}
        assert all(set(one) == {"title", "paragraphs"} and len(one["paragraphs"]) == 1 for one in content["data"])
        assert len({qa["id"] for _, qa in asked(files, part)}) == len(asked(files, part)) == count
        for context, qa in asked(files, part):
            assert set(qa) == {"id", "question", "answers"} and len(qa["answers"]) == 1
            text, start = qa["answers"][0]["text"], qa["answers"][0]["answer_start"]
            assert text and context[start : start + len(text)] == text


def test_the_seed_decides(files: dict[str, bytes]) -> None:
    assert sample_recurring.make_few_shot(42, None).files == files
    other = sample_recurring.make_few_shot(7, 60).files
    assert not any(other[name] == content for name, content in files.items())
    assert len(asked(other, "train")) == 60 and len(asked(other, "dev")) == 200


def test_no_two_parts_have_an_entity_in_common(texts: dict[str, list[str]]) -> None:
    found = {
        (part, kind): set(re.findall(pattern, "\n".join(of_part), flags=re.MULTILINE))
        for part, of_part in texts.items()
        for kind, pattern in PATTERNS.items()
    }
    for kind in PATTERNS:
        assert len(found["corpus", kind]) > 100 and min(len(found[part, kind]) for part in ("train", "dev")) > 20
        for one, other in (("corpus", "train"), ("corpus", "dev"), ("train", "dev")):
            assert not found[one, kind] & found[other, kind]


def test_answers_are_of_no_other_part(files: dict[str, bytes], texts: dict[str, list[str]]) -> None:
    everywhere = {part: "\n".join(of_part) for part, of_part in texts.items()}
    for part, others in (("train", ("corpus", "dev")), ("dev", ("corpus", "train"))):
        answers = {qa["answers"][0]["text"] for _, qa in asked(files, part)}
        assert len(answers) > 100
        assert not [answer for answer in answers for other in others if answer in everywhere[other]]


def test_every_fact_can_be_told_with_two_particles(texts: dict[str, list[str]]) -> None:
    for forms in FORMS.values():
        places = [PLACE.findall(form) for form in forms.told]
        assert all(len(found) == 1 for found in places) and all(places.count(found) < len(places) for found in places)
        assert all(form.count("{v}") == 1 for form in forms.told)
    assert len({fact.noun for fact in FACTS} | {fact.verb for fact in FACTS}) == 2 * len(FACTS)
    assert not [text for of_part in texts.values() for text in of_part if re.search(r"[{}|⟦⟧]|  ", text)]


def test_nearly_all_documents_fit_a_row_and_have_a_recurring_span(texts: dict[str, list[str]], tmp_path: Path) -> None:
    """In the tokens that pretraining makes; those know all characters of the questions, but for the awkward ones."""
    config = json.loads((ROOT / "config" / "splinter" / "sample.json").read_text(encoding="utf-8"))
    tokenizer = train_wordpiece(texts["corpus"], tmp_path / "vocabulary", config["vocab_size"])
    documents = tokenizer(texts["corpus"][:1000])["input_ids"]
    lengths = np.array([len(ids) for ids in documents])
    assert np.mean(lengths <= config["max_seq_length"]) > 0.99
    ids = np.full((len(documents), lengths.max()), tokenizer.pad_token_id)
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    ids[mask] = np.concatenate(documents)
    tokens = [*tokenizer.convert_ids_to_tokens(range(len(tokenizer))), "[QUESTION]"]
    special = tokenizer.pad_token_id, tokenizer.unk_token_id
    vocabulary = SplinterVocabulary.of_tokens(tokens, tokenizer.all_special_ids, len(tokens) - 1, *special)
    assert recurs_in(ids, mask.astype(np.int64), vocabulary, RecurringSpans()).mean() > 0.95
    unknown = [text for text in texts["train"] + texts["dev"] if special[1] in tokenizer(text)["input_ids"]]
    assert 0 < len(unknown) < 0.1 * len(texts["train"] + texts["dev"])


def test_awkward_cases_are_there(files: dict[str, bytes]) -> None:
    for part in ("train", "dev"):
        rows = asked(files, part)
        assert any("\u200d" in context[: qa["answers"][0]["answer_start"]] for context, qa in rows)
        assert any('"' in qa["question"] and "'" in qa["question"] for _, qa in rows)
        assert any(re.search(r"\[(SEP|UNK|MASK)\]", context) for context, _ in rows)
        # [QUESTION] may be in no text, as it asks there.
        assert not any("[QUESTION]" in context + qa["question"] for context, qa in rows)
    assert {"한하늘", "한하눌"} <= {
        word for context, _ in asked(files, "train") for word in re.findall(r"한하[늘눌]", context)
    }
