"""A corpus in which names and numbers recur, for Splinter's pretraining, and a few questions that it helps to answer.

Recurring span selection teaches a model to find the sentence that says the same as the one around a [QUESTION], and to
copy the span from there. So each document of the corpus tells each of its facts twice, in different words:

    솔도서관의 대표는 서가온. ... 서가온 씨가 솔도서관을 이끈다. ...

Other facts with answers of the same kind stand in between, so that a model needs both words (the place and the verb) to
tell which fact is meant. In the paragraphs with questions, each fact is told once, and a question tells it again:
솔도서관을 이끄는 사람은? From a few questions a model can learn the kind of an answer, but hardly which one of that
kind is right. The corpus, the training questions and the dev questions have no name, place, title or number in common,
but are made of the same syllables. Used by `make_sample_data.py`.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sample_data.sample_formats import FAMILY, THUMB, Sample, json_file, owned_rng
from sample_data.sample_grammar import render
from sample_data.sample_questions import unmarked

CORPUS = "splinter_corpus.jsonl"
FOLDER = "few_shot/korquad"  # the task reads korquad/, as for KorQuAD's questions; data_dir is few_shot here
DOCUMENTS, TRAIN_QUESTIONS, DEV_QUESTIONS = 10_000, 300, 200
PARTS = {"corpus": 3, "train": 1, "dev": 1}  # the shares of all names that each part gets
# The number of places, of kinds of facts, and of facts of each kind: in a document, which tells each fact twice, and in
# a paragraph with questions, which tells each once.
DOCUMENT_SIZES = [(1, 1, 3), (2, 1, 4), (1, 2, 2), (2, 2, 3)]
PARAGRAPH_SIZES = [(1, 2, 3), (2, 2, 3), (2, 2, 4)]
QUESTIONS_OF_PARAGRAPH = 4
FILLERS_SHARE = 0.2  # share of the documents with a filler

STEMS = list("솔달별꽃새숲빛강산들봄돌콩쑥벗샘옥금은동북종칼활붓먹실솜누홍청백황남서매란국죽학용범곰양닭쥐벌콕")
INSTITUTIONS = "도서관 박물관 미술관 학교 병원 식물원 과학관 극장 서점 천문대 식당 공장 은행 시장 목장".split()
TOWN_STEMS = "부안경청양평덕진순장군영홍화연동무광옥의", "주천산성포평덕양진동원녕창암곡구도읍남북"
TOWNS = "시 군 읍 마을".split()
SURNAMES = "한윤서강문유차백도송남전"
GIVEN = "가나다라마보새소아은이지하해유", "온람솜울슬늬담봄빛별율결솔름리"
COLORS = "푸른 붉은 하얀 검은 작은 오랜 낡은 둥근 조용한 차가운 따뜻한 가벼운".split()
THINGS = "등대 나침반 시계 난로 지도 우산 사전 의자 구두 피리 거울 항아리 다리 열쇠 수레".split()
YEARS = range(1500, 2000)
# Sentences without a fact. They make the corpus contain the question words.
FILLERS = [
    "누구인가 하고 묻는 사람이 있다.", "어디인가 가 본 곳이다.", "언제인가 들은 이야기다.", "무엇인가 더 있다.",
    "또 무엇이 있을까?", "왜 그럴까?",
]  # fmt: skip

Json = dict[str, Any]


@dataclass(frozen=True)
class PlaceFact:
    """A fact that can be told about a place: the kind of its value, and the noun and verb that name the fact."""

    kind: str
    noun: str
    verb: str
    adnominal: str

    def words(self, place: str, value: str = "") -> dict[str, str]:
        """The entries for the slots of `Forms`."""
        return {"s": place, "v": value, "n": self.noun, "verb": self.verb, "adnominal": self.adnominal}


@dataclass(frozen=True)
class Forms:
    """Patterns that tell facts of one kind, and patterns that ask for them.

    A value {v} always stands as a separate word, because spans end where words do. Particles are parts of words, so a
    place {s} with two different particles is not a recurring span: it is never asked for, and tells the values apart.
    """

    told: tuple[str, ...]
    asked: tuple[str, ...]


def forms(particle: str, noun: str, after: str, asks: str) -> Forms:
    """The patterns of one kind.

    particle: the place's particle. noun: the word for a value, with its particle. after: the word after a value. asks:
    the question word for a value.
    """
    return Forms(
        (
            "{s}의 {n/은} {v}.",
            "{s}의 {n/은}? {v}.",
            f"{{s/{particle}}} {{adnominal}} {noun}? {{v}}.",
            f"{{v}} {after} {{s/{particle}}} {{verb}}.",
            f"{{s/은}} {{v}} {after} {{verb}}.",
        ),
        ("{s}의 {n/은}?", f"{{s/{particle}}} {{adnominal}} {noun}?", f"{{s}}의 {{n/은}} {asks}?"),
    )


FORMS = {
    "person": forms("을", "사람은", "씨가", "누구인가"),
    "town": forms("이", "곳은", "쪽에", "어디인가"),
    "title": forms("이", "것은", "하나를", "무엇인가"),
    "number": forms("이", "때는", "봄에", "언제인가"),
}
FACTS = [
    PlaceFact("person", "대표", "이끈다", "이끄는"), PlaceFact("person", "설계자", "그렸다", "그린"),
    PlaceFact("person", "후원자", "돕는다", "돕는"), PlaceFact("person", "주인", "샀다", "산"),
    PlaceFact("person", "경비", "지킨다", "지키는"), PlaceFact("person", "청소부", "닦는다", "닦는"),
    PlaceFact("town", "자리", "있다", "있는"), PlaceFact("town", "새집", "옮긴다", "옮기는"),
    PlaceFact("town", "분점", "생긴다", "생기는"), PlaceFact("town", "뿌리", "살았다", "살던"),
    PlaceFact("title", "자랑", "아낀다", "아끼는"), PlaceFact("title", "보물", "숨긴다", "숨기는"),
    PlaceFact("title", "선물", "보낸다", "보내는"), PlaceFact("title", "짐", "버린다", "버리는"),
    PlaceFact("number", "시작", "열었다", "연"), PlaceFact("number", "이사", "떠났다", "떠난"),
    PlaceFact("number", "변화", "바뀌었다", "바뀐"), PlaceFact("number", "사고", "무너졌다", "무너진"),
]  # fmt: skip
KINDS = list(FORMS)
PLACE = re.compile(r"\{s[^}]*\}")

# (title, context, questions); in the context ⟦n|...⟧ is the answer to question n, counted from 0.
AWKWARD: dict[str, list[tuple[str, str, list[str]]]] = {
    "train": [
        ("그림 글자",
         f"{FAMILY} 무지개서점 {THUMB} 잔치는 🇰🇷 ⟦0|누리섬⟧에서 열렸다 🦕. 솔바람서점 잔치는 가람섬에서 열렸다.",
         ["무지개서점 잔치가 열린 곳은?"]),
        ("따옴표", "무지개극장의 대표는 \"⟦0|'바람'⟧ 한하늘\"이다. 솔바람극장의 대표는 ⟦1|한하눌⟧이다.",
         ["\"무지개극장\"의 대표는 누구라고 '하는가'?", "솔바람극장의 대표는?"]),
        ("토큰처럼 생긴 말", "무지개학교의 표는 ⟦0|[SEP]⟧이고, 솔바람학교의 표는 ⟦1|[MASK]⟧이다.",
         ["무지개학교의 표는?", "솔바람학교의 표는?"]),
    ],
    "dev": [
        ("그림 글자", f"구름은행 {FAMILY} 옆에는 ⟦0|물빛섬⟧, 안개은행 {THUMB} 옆에는 ⟦1|물및섬⟧이 있다.",
         ["구름은행 옆에 있는 것은? 🤔", "안개은행 옆에 있는 것은?"]),
        ("따옴표", "구름병원의 자랑은 \"⟦0|\"달\"의 ‘뒤’⟧\"이고 [UNK]는 안개병원의 자랑이다.",
         ["'구름병원'의 \"자랑\"은?"]),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Entities:
    """The names and numbers of one part, which no other part has. places: pairs of stem and institution."""

    places: list[tuple[str, str]]
    towns: list[str]
    given: list[str]
    titles: list[str]
    numbers: list[str]

    def draw_places(self, rng: random.Random, count: int) -> list[str]:
        """Places that begin with different syllables: 솔도서관, 별극장."""
        chosen: dict[str, str] = {}
        while len(chosen) < count:
            stem, institution = rng.choice(self.places)
            chosen.setdefault(stem, stem + institution)
        return list(chosen.values())

    def draw_values(self, rng: random.Random, kind: str, count: int) -> list[str]:
        """Different values of a kind."""
        match kind:
            case "person":
                return [rng.choice(SURNAMES) + given for given in rng.sample(self.given, count)]
            case "town":
                return [stem + rng.choice(TOWNS) for stem in rng.sample(self.towns, count)]
            case "title":
                return rng.sample(self.titles, count)
            case _:
                return rng.sample(self.numbers, count)


def entities_of_parts(seed: int) -> dict[str, Entities]:
    """Divides all names and numbers among PARTS."""
    rng = owned_rng(seed, "recurring/entities")
    pools = [
        list(itertools.product(STEMS, INSTITUTIONS)),
        [a + b for a, b in itertools.product(*TOWN_STEMS)],
        [a + b for a, b in itertools.product(*GIVEN)],
        [f"{color} {thing}" for color, thing in itertools.product(COLORS, THINGS)],
        [f"{year}년" for year in YEARS],
    ]
    shares = zip(*(divided(rng, pool) for pool in pools), strict=True)
    return {part: Entities(*share) for part, share in zip(PARTS, shares, strict=True)}


def divided(rng: random.Random, pool: Sequence[Any]) -> list[list[Any]]:
    """The pool in random order, divided by the shares of PARTS."""
    shuffled = rng.sample(pool, len(pool))
    ends = [len(pool) * share // sum(PARTS.values()) for share in itertools.accumulate(PARTS.values())]
    return [shuffled[start:end] for start, end in itertools.pairwise([0, *ends])]


def draw_facts(rng: random.Random, entities: Entities, size: tuple[int, int, int]) -> list[tuple[PlaceFact, str, str]]:
    """Different facts, each with place and value, in random order. size: from DOCUMENT_SIZES or PARAGRAPH_SIZES."""
    count, kinds, of_kind = size
    places, facts = entities.draw_places(rng, count), []
    for kind in rng.sample(KINDS, kinds):
        drawn = rng.sample([fact for fact in FACTS if fact.kind == kind], of_kind)
        values = entities.draw_values(rng, kind, of_kind)
        facts += [(fact, rng.choice(places), value) for fact, value in zip(drawn, values, strict=True)]
    return rng.sample(facts, len(facts))


def two_wordings(rng: random.Random, kind: str) -> tuple[str, str]:
    """Two random patterns that tell a fact of this kind, with different particles after the place."""
    first, *others = rng.sample(FORMS[kind].told, len(FORMS[kind].told))
    return first, next(other for other in others if PLACE.findall(other) != PLACE.findall(first))


def make_document(rng: random.Random, entities: Entities) -> str:
    """Three to six facts, each told twice."""
    facts = draw_facts(rng, entities, rng.choice(DOCUMENT_SIZES))
    told = [render(form, rng, fact.words(s, v)) for fact, s, v in facts for form in two_wordings(rng, fact.kind)]
    if rng.random() < FILLERS_SHARE:
        told.append(rng.choice(FILLERS))
    return " ".join(rng.sample(told, len(told)))


def make_corpus(seed: int, entities: Entities) -> bytes:
    """The corpus as JSON lines, with one document on each line."""
    rng = owned_rng(seed, "recurring/corpus")
    texts = [make_document(rng, entities) for _ in range(DOCUMENTS)]
    return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()


def make_article(rng: random.Random, entities: Entities) -> Json:
    """A paragraph that tells some facts once, with questions about some of them."""
    facts = draw_facts(rng, entities, rng.choice(PARAGRAPH_SIZES))
    told = [
        render(rng.choice(FORMS[fact.kind].told), rng, fact.words(s, f"⟦{n}|{v}⟧"))
        for n, (fact, s, v) in enumerate(facts)
    ]
    context, answers = unmarked(" ".join(told))
    asked = rng.sample(range(len(facts)), min(QUESTIONS_OF_PARAGRAPH, len(facts)))
    questions = [(ask(rng, *facts[n][:2]), *answers[n]) for n in asked]
    return article(facts[0][1], context, questions)


def ask(rng: random.Random, fact: PlaceFact, place: str) -> str:
    return render(rng.choice(FORMS[fact.kind].asked), rng, fact.words(place))


def article(title: str, context: str, questions: list[tuple[str, str, int]]) -> Json:
    """An article with one paragraph, without ids. questions: (question, answer, the character at which it starts)."""
    qas = [{"question": asked, "answers": [{"text": text, "answer_start": at}]} for asked, text, at in questions]
    return {"title": title, "paragraphs": [{"context": context, "qas": qas}]}


def make_part(seed: int, part: str, entities: Entities, count: int) -> Json:
    """The content of one file with `count` questions."""
    rng, articles = owned_rng(seed, f"recurring/{part}"), []
    for title, marked, questions in AWKWARD[part]:
        context, answers = unmarked(marked)
        articles.append(article(title, context, [(asked, *answers[n]) for n, asked in enumerate(questions)]))
    missing = count - sum(len(questions) for *_, questions in AWKWARD[part])
    while missing > 0:
        articles.append(make_article(rng, entities))
        paragraph = articles[-1]["paragraphs"][0]
        paragraph["qas"] = paragraph["qas"][:missing]
        missing -= len(paragraph["qas"])
    rng.shuffle(articles)
    for a, one in enumerate(articles):
        for q, qa in enumerate(one["paragraphs"][0]["qas"]):
            qa["id"] = f"few-shot-{part}-{a}-{q}"
    return {"version": f"few-shot {part} (synthetic)", "data": articles}


def make_few_shot(seed: int, rows: int | None) -> Sample:
    """korquad-few-shot: two files in KorQuAD 1.0's format, and a pretraining corpus with a vocabulary of its own."""
    entities = entities_of_parts(seed)
    files = {CORPUS: make_corpus(seed, entities["corpus"])}
    for part, count in (("train", rows or TRAIN_QUESTIONS), ("dev", DEV_QUESTIONS)):
        files[f"{FOLDER}/KorQuAD_v1.0_{part}.json"] = json_file(make_part(seed, part, entities[part], count))
    return Sample(files, [])
