"""Synthetic TyDi QA v1.0: questions about Korean pages, a few in other languages. Used by `make_sample_data.py`."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from sample_data.sample_facts import FACTS, QUESTION_RULES
from sample_data.sample_formats import FAMILY, THUMB, Sample, owned_rng
from sample_data.sample_grammar import render
from sample_data.sample_morphology import with_particle
from sample_data.sample_pages import TOLD, Page, Span, ask, located, make_page, page_length
from sample_data.sample_questions import AWKWARD

TRAIN_EXAMPLES, DEV_EXAMPLES = 930, 120
ANNOTATORS = {"train": 1, "dev": 3}

Json = dict[str, Any]
# What one annotator says: a span, "YES" or "NO", "passage" (the answer is somewhere in it), or None.
Judgement = Span | str | None

# Title, text and question of the rows in other languages.
OTHER_LANGUAGES = {
    "english": ("Garam", "Garam is a small town by the sea.\nIts lighthouse was built in ⟦0|{age}⟧.",
                "When was the lighthouse of Garam built?"),
    "japanese": ("ガラム", "ガラムは海辺の小さな町である。\n灯台は⟦0|{age}年⟧に建てられた。",
                 "ガラムの灯台はいつ建てられたか？"),
    "russian": ("Гарам", "Гарам — небольшой город у моря.\nМаяк построили в ⟦0|{age}⟧ году.", "Когда построили маяк?"),
    "arabic": ("غرام", "غرام بلدة صغيرة على البحر.\nبنيت منارتها عام ⟦0|{age}⟧.", "متى بنيت منارة غرام؟"),
    "finnish": ("Garam", "Garam on pieni kaupunki meren rannalla.\nMajakka rakennettiin vuonna ⟦0|{age}⟧.",
                "Milloin Garamin majakka rakennettiin?"),
    "thai": ("การัม", "การัมเป็นเมืองเล็กริมทะเล\nประภาคารสร้างในปี ⟦0|{age}⟧", "ประภาคารของการัมสร้างเมื่อใด"),
}  # fmt: skip
# Line separators that do not end a line of JSON Lines, and characters of one to four bytes before and in the answers.
LINE_ENDS = (
    "줄 나누기", f"\n첫 줄\u2028둘째 줄\x85셋째\x0b 줄\x1c 넷째 줄\r\n{FAMILY}é한\u1100\u1161 {THUMB} 끝에서 "
    f"⟦0|가람 🦕 é섬⟧에 갔다.\n\n다음 날에는 ⟦1|누리섬{THUMB}⟧", ["끝에서 간 곳은?", "다음 날에 간 곳은?"],
)  # fmt: skip
FLOWER = "\n다온시의 꽃은 ⟦0|장미⟧이다. 나무는 소나무이다.\n꽃이 ⟦1|장미⟧라는 것은 모두 안다."


def bytes_of(text: str, start: int, end: int) -> Json:
    """Two character offsets in the form of TyDi QA, which counts bytes of UTF-8."""
    return {
        "plaintext_start_byte": len(text[:start].encode()),
        "plaintext_end_byte": len(text[:end].encode()),
    }


def example(
    rng: random.Random, language: str, title: str, text: str, question: str, judgements: Sequence[Judgement], near: int
) -> Json:
    """One line of a TyDi QA file. near: a character of the passage that judgements without a span are about."""
    passages = [match.span() for match in re.finditer(r"[^\n]+", text)]
    annotations = []
    for judgement in judgements:
        span, place = {"plaintext_start_byte": -1, "plaintext_end_byte": -1}, near
        if isinstance(judgement, tuple):
            answer, place = judgement
            span = bytes_of(text, place, place + len(answer))
        passage = next(i for i, (_, end) in enumerate(passages) if place < end)
        annotations.append({
            "annotation_id": rng.getrandbits(64),
            "minimal_answer": span,
            "passage_answer": {"candidate_index": -1 if judgement is None else passage},
            "yes_no_answer": judgement if judgement in ("YES", "NO") else "NONE",
        })  # fmt: skip
    return {
        "annotations": annotations,
        "document_plaintext": text,
        "document_title": title,
        "document_url": f"https://{'ko' if language == 'korean' else language[:2]}.wikipedia.org/wiki/{quote(title)}",
        "example_id": rng.getrandbits(63),
        "language": language,
        "passage_answer_candidates": [bytes_of(text, *span) for span in passages],
        "question_text": question,
    }


def judged(rng: random.Random, span: Span, count: int) -> list[Judgement]:
    """The judgements of `count` annotators about an answer: of several, some may find a shorter answer, or none."""
    judgements: list[Judgement] = [span] * count
    if count > 1:
        chance = rng.random()
        shorter = re.match(r"\d+[만억]?|", span[0])[0] or span[0][:-1] or span[0]
        if chance < 0.2:
            judgements[rng.randrange(count)] = (shorter, span[1])
        elif chance < 0.35:
            judgements[rng.randrange(count)] = None
        elif chance < 0.42:
            judgements = rng.sample([span, None, "passage"], 3)
    return judgements


def awkward_examples(rng: random.Random, part: str) -> Iterator[Json]:
    """Rows that break offsets, rare kinds of answers (in the dev file), and rows in other languages."""
    count = ANNOTATORS[part]
    passages = [*AWKWARD[part], LINE_ENDS]
    for i, (title, marked, questions) in enumerate(passages):
        if i % 3 and title != LINE_ENDS[0]:  # inside a longer page, at its end or at its start
            more = "\n".join(render("{filler}", rng, None, QUESTION_RULES) for _ in range(10))
            marked = f"\n{more}\n{marked}" if i % 2 else f"{marked}\n{more}"
        text, spans = located(marked)
        for n in sorted({0, len(questions) - 1}):
            if "\n" not in spans[n][0]:  # an answer is in one passage
                yield example(rng, "korean", title, text, questions[n], [spans[n]] * count, spans[n][1])
    if part == "dev":
        text, spans = located(FLOWER)
        for question, judgements in (
            ("다온시의 꽃은 장미인가?", [spans[0], "YES", spans[0]]),
            ("다온시의 꽃은 무엇인가?", [spans[0], spans[1], None]),
            ("다온시에 꽃이 있는가?", ["passage", None, "passage"]),
        ):
            yield example(rng, "korean", "다온시", text, question, judgements, 1)
    for language, (title, pattern, question) in OTHER_LANGUAGES.items():
        text, spans = located(render("\n" + pattern, rng, None, QUESTION_RULES))
        yield example(rng, language, title, text, question, [spans[0]] * count, spans[0][1])


def page_examples(rng: random.Random, page: Page, count: int) -> Iterator[Json]:
    """Three or four questions about a page, one about a long page. Most have an answer; one in twenty is yes or no."""
    paragraphs = [" ".join(sentences) for _, section in page.sections for sentences in section]
    text, spans = located("\n" + "\n".join(paragraphs))
    for number in rng.sample(sorted(spans), rng.randint(3, 4) if len(text) < 2000 else 1):
        (kind, x, name), chance = page.facts[number], rng.random()
        question, judgements = page.question(rng, number), judged(rng, spans[number], count)
        if chance < 0.05:
            value = spans[number][0] if chance < 0.03 else render(FACTS[kind][name].value, rng, None, QUESTION_RULES)
            question = f"{x}의 {with_particle(name, '은')} {value}인가?"
            judgements = ["YES" if value == spans[number][0] else "NO"] * count
        elif chance < 0.2:
            lacking = [name for name in list(FACTS[kind])[:TOLD] if (kind, x, name) not in page.facts.values()]
            question = ask(rng, kind, x, rng.choice(lacking))
            judgements = ["passage" if rng.random() < 0.2 else None for _ in range(count)]
        yield example(rng, "korean", page.title, text, question, judgements, spans[number][1])


def make_tydiqa(seed: int, rows: int | None) -> Sample:
    """tydiqa: TyDi QA v1.0's two files, one example a line, and the dev file once more, compressed."""
    files = {}
    for part, size in (("dev", DEV_EXAMPLES), ("train", rows or TRAIN_EXAMPLES)):
        rng = owned_rng(seed, f"tydiqa/{part}")
        examples, made = list(awkward_examples(rng, part)), 0
        while len(examples) < size:
            page = make_page(rng, page_length(rng, made))
            examples += list(page_examples(rng, page, ANNOTATORS[part]))[: size - len(examples)]
            made += 1
        rng.shuffle(examples)
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in examples]
        files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"] = "".join(lines).encode()
    # Without a time in the header, the bytes are the same every time (a different version of zlib may change them).
    files["tydiqa/tydiqa-v1.0-dev.jsonl.gz"] = gzip.compress(files["tydiqa/tydiqa-v1.0-dev.jsonl"], mtime=0)
    return Sample(files, [])
