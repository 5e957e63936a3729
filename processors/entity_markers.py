"""Markers around the two entities of a sentence, as KLUE-baseline puts them for relation extraction.

`비틀즈가 조지 해리슨의 ...` becomes `<subj>비틀즈</subj>가 <obj>조지 해리슨</obj>의 ...`. The markers are tokens of
their own. A tokenizer takes the text after one of them for a new word: the particle `가` would be a word and not the
end of one (`##가`), which `rejoined` puts right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from processors.pretraining.word_starts import mark_of_words
from processors.task import Malformed

SUBJECT, OBJECT = ("<subj>", "</subj>"), ("<obj>", "</obj>")
MARKERS = (*SUBJECT, *OBJECT)
END_MARKERS = (SUBJECT[1], OBJECT[1])


def mark_entities(row: Mapping[str, Any], counts: Counter[str]) -> str:
    """The `sentence` of a row of KLUE-RE with markers around `subject_entity` and `object_entity`.

    Raises Malformed where a part is missing, an entity is outside the sentence, or both are at the same place.
    """
    sentence = row.get("sentence")
    if not isinstance(sentence, str):
        raise Malformed('no text "sentence"')
    places = {}
    for key, markers in (("subject_entity", SUBJECT), ("object_entity", OBJECT)):
        entity = row.get(key)
        start, end = _range_of(entity, key, len(sentence))
        if entity.get("word") != sentence[start : end + 1]:
            counts['entities whose "word" is not what stands at their start_idx'] += 1
        places[start, end] = markers
    if len(places) < 2:
        raise Malformed("subject_entity and object_entity are at the same place")
    (first, first_markers), (second, second_markers) = sorted(places.items())
    if second[0] <= first[1]:
        counts["rows whose entities overlap"] += 1
    # Where entities overlap, the text that they share stands there twice, as in KLUE-baseline.
    return "".join(
        (
            sentence[: first[0]],
            *_marked(sentence, first, first_markers),
            sentence[first[1] + 1 : second[0]],
            *_marked(sentence, second, second_markers),
            sentence[second[1] + 1 :],
        )
    )


def _marked(sentence: str, place: tuple[int, int], markers: tuple[str, str]) -> tuple[str, str, str]:
    return markers[0], sentence[place[0] : place[1] + 1], markers[1]


def _range_of(entity: Any, key: str, length: int) -> tuple[int, int]:
    """The first and the last character of an entity. Raises Malformed."""
    if not isinstance(entity, dict):
        raise Malformed(f'no object "{key}"')
    numbers = [entity.get(name) for name in ("start_idx", "end_idx")]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise Malformed(f"{key} has no start_idx and end_idx, two whole numbers")
    start, end = numbers
    if not 0 <= start <= end < length:
        raise Malformed(f"{key} is at {start}-{end}, outside the sentence of {length} characters")
    return start, end


def add_markers(tokenizer: Any, markers: tuple[str, ...]) -> None:
    """Adds the markers that the vocabulary does not have yet, in place."""
    new = [marker for marker in markers if marker not in tokenizer.get_vocab()]
    if new:
        tokenizer.add_tokens(new, special_tokens=True)


def continuation_of(tokenizer: Any) -> str:
    """How the vocabulary marks tokens: `##` goes on with a word (WordPiece), `▁` begins one (SentencePiece).

    "" where neither occurs.
    """
    vocabulary = tokenizer.get_vocab()
    mark = mark_of_words(vocabulary)
    if mark is None:
        return "##" if any(token.startswith("##") for token in vocabulary) else ""
    return mark if mark == "▁" else ""


def rejoined(tokenizer: Any, text: str, ids: list[int], mark: str) -> list[int]:
    """The token ids of a marked text, in which what follows an end marker without a space goes on with its word.

    mark: the tokenizer's `continuation_of`. With WordPiece a token that begins with a Hangul syllable becomes its `##`
    form; if the vocabulary does not have that, [UNK]. With SentencePiece the token loses its `▁`.
    """
    result = list(ids)
    for marker in END_MARKERS:
        _, found, after = text.partition(marker)
        id = tokenizer.convert_tokens_to_ids(marker)
        if not found or not after or after.startswith(" ") or id not in result[:-1]:
            continue
        at = result.index(id) + 1
        token = tokenizer.convert_ids_to_tokens(result[at])
        if mark == "##" and "가" <= token[0] <= "힣":
            result[at] = tokenizer.convert_tokens_to_ids(mark + token)
        elif mark == "▁" and token.startswith(mark):
            result[at : at + 1] = [tokenizer.convert_tokens_to_ids(token[1:])] if token != mark else []
    return result
