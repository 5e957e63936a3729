"""Synthetic long pages with questions, which `sample_tydiqa.py` and `sample_korquad_2.py` put into their formats.

A page states facts about one to three subjects (a person, a film, a town), as the paragraphs of `sample_questions.py`
do, and hides them among sentences about other things. ⟦n|...⟧ stands around the answer to question n; these may nest.
The vocabulary is not trained on the pages: they consist of its words, and their awkward parts would crowd it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from sample_data.sample_facts import FACTS, QUESTION_RULES
from sample_data.sample_grammar import render
from sample_data.sample_questions import SUBJECTS

LONG_PAGE = 15_000  # characters of the longest page of each part
TOLD = 5  # facts of each kind that pages tell: with all of them, so few questions would be too few to learn from

Span = tuple[str, int]  # an answer, and the character it starts at


@dataclass(frozen=True)
class Page:
    """A page before it has a format.

    facts: number of an answer -> kind, subject and name of its fact. table: facts about the first subject that no
    sentence states, as name and marked value. sections: for each subject its kind and its paragraphs, which are lists
    of marked sentences.
    """

    title: str
    facts: dict[int, tuple[str, str, str]]
    table: list[tuple[str, str]]
    sections: list[tuple[str, list[list[str]]]]

    def question(self, rng: random.Random, number: int) -> str:
        kind, x, name = self.facts[number]
        return ask(rng, kind, x, name)


def ask(rng: random.Random, kind: str, x: str, name: str) -> str:
    """A question about the fact `name` of the subject x."""
    return render(rng.choice(FACTS[kind][name].questions.split(" | ")), rng, {"x": x})


def located(marked: str) -> tuple[str, dict[int, Span]]:
    """A text without its marks ⟦n|...⟧, which may nest, and for each n the answer and the character where it starts.

    >>> located("⟦0|가람⟧은 ⟦1|<b>⟦2|섬⟧</b>⟧")
    ('가람은 <b>섬</b>', {0: ('가람', 0), 2: ('섬', 7), 1: ('<b>섬</b>', 4)})
    """
    plain, end, opened, spans = "", 0, [], {}
    for match in re.finditer(r"⟦(\d+)\||⟧", marked):
        plain, end = plain + marked[end : match.start()], match.end()
        if match[1]:
            opened.append((int(match[1]), len(plain)))
        else:
            number, start = opened.pop()
            spans[number] = (plain[start:], start)
    return plain + marked[end:], spans


def page_length(rng: random.Random, made: int) -> int:
    """The length of the next page in characters: some 330, for one in thirty up to 2,800, for the first LONG_PAGE."""
    if made == 0:
        return LONG_PAGE
    return rng.randint(900, 2800) if rng.random() < 1 / 30 else rng.randint(300, 360)


def make_page(rng: random.Random, length: int, tabled: int = 0) -> Page:
    """A page of about `length` characters, with `tabled` of its facts in a table instead of sentences."""
    kinds = rng.sample(list(FACTS), rng.randint(1, 2) if length < 2000 else 3)
    subjects: list[tuple[str, str, list[str]]] = []
    facts, table, values = {}, [], set()
    for kind in kinds:
        x = render(SUBJECTS[kind], rng, None, QUESTION_RULES)
        sentences = [render(f"{{{kind}_intro}}", rng, {"x": x}, QUESTION_RULES)]
        for name in rng.sample(list(FACTS[kind])[:TOLD], 4):
            fact, value = FACTS[kind][name], x
            while value == x or value in values:
                value = render(fact.value, rng, None, QUESTION_RULES)
            values.add(value)
            mark = f"⟦{len(facts)}|{value}⟧"
            facts[len(facts)] = (kind, x, name)
            if len(table) < tabled:
                table.append((name, mark))
            else:
                sentences.append(render(rng.choice(fact.sentences.split(" | ")), rng, {"x": x, "v": mark}))
        subjects.append((kind, x, sentences))
    written = sum(len(located(sentence)[0]) + 1 for *_, sentences in subjects for sentence in sentences)
    while written < length:
        filler = render("{filler}", rng, None, QUESTION_RULES)
        rng.choice(subjects)[2].append(filler)
        written += len(filler) + 1
    sections = []
    for kind, _, (intro, *rest) in subjects:
        rng.shuffle(rest)
        paragraphs, rest = [], [intro, *rest]
        while rest:
            count = rng.randint(4, 9)
            paragraphs.append(rest[:count])
            rest = rest[count:]
        sections.append((kind, paragraphs))
    return Page(subjects[0][1], facts, table, sections)
