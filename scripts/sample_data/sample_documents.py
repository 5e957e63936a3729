"""Synthetic long documents with questions, in the formats of TyDi QA and KorQuAD 2.1. Used by `make_sample_data.py`.

A page states facts of one to three subjects, a person, a film, a town, as the paragraphs of `sample_questions.py` do,
and hides them among sentences on other things. ⟦n|...⟧ stands around the answer to question n; in HTML these nest.
The vocabulary is not trained on the pages: they are made of its words, and what is awkward in them would crowd it.
"""

from __future__ import annotations

import gzip
import html
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sample_data.sample_facts import FACTS, QUESTION_RULES
from sample_data.sample_formats import FAMILY, THUMB, Sample, json_file, owned_rng
from sample_data.sample_grammar import render, with_particle
from sample_data.sample_questions import AWKWARD, SUBJECTS

TYDIQA_TRAIN, TYDIQA_DEV = 930, 120  # examples
KORQUAD_2_TRAIN, KORQUAD_2_DEV = 900, 120  # questions
LONG_PAGE = 15_000  # characters of the longest page of each part
TOLD = 5  # facts of a kind that pages tell: with all of them, so few questions would be too few to learn from
ANNOTATORS = {"train": 1, "dev": 3}
HEADINGS = {"person": "사람", "film": "영화", "town": "고장"}

Json = dict[str, Any]
Span = tuple[str, int]  # an answer, and the character it starts at

# What other languages' rows say: title, text, question.
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
# Line ends that are none in JSON Lines, and letters of one to four bytes before and in the answers.
LINE_ENDS = (
    "줄 나누기", f"\n첫 줄\u2028둘째 줄\x85셋째\x0b 줄\x1c 넷째 줄\r\n{FAMILY}é한\u1100\u1161 {THUMB} 끝에서 "
    f"⟦0|가람 🦕 é섬⟧에 갔다.\n\n다음 날에는 ⟦1|누리섬{THUMB}⟧", ["끝에서 간 곳은?", "다음 날에 간 곳은?"],
)  # fmt: skip
FLOWER = "\n다온시의 꽃은 ⟦0|장미⟧이다. 나무는 소나무이다.\n꽃이 ⟦1|장미⟧라는 것은 모두 안다."

EDIT = '<span>[</span><a href="/w/edit">편집</a><span>]</span>'
# KorQuAD 2.1: title, page with attributes, questions.
AWKWARD_PAGES: dict[str, list[tuple[str, str, list[str]]]] = {
    "train": [
        ("첫 글자와 끝 글자",
         '⟦0|김미르⟧는 <a href="/wiki/별" title="별">별</a>을 처음 센 사람이고, 센 별의 수는 ⟦1|삼백⟧',
         ["별을 처음 센 사람은?", "센 별의 수는?"]),
        ("표와 표", '⟦0|<table class="wikitable">\n<tbody><tr>\n<th colspan="2" scope="col">가람시</th></tr>\n<tr>\n'
         '<th rowspan="2">학교</th>\n<td>⟦1|<table border="1">\n<tbody><tr><td>⟦2|가람고등학교⟧</td>'
         '<td rowspan="3" colspan="2">⟦3|1921년⟧</td></tr></tbody></table>⟧\n</td></tr>\n<tr>\n'
         '⟦4|<td class="b">한별<br/>중학교</td>⟧</tr></tbody></table>⟧\n<p>표에 없는 것은 <b>⟦5|강</b>과 산⟧</p>',
         ["가람시의 표는?", "표 안의 표는?", "고등학교의 이름은?", "고등학교가 생긴 해는?", "고등학교 아래의 칸은?",
          "표에 없는 것은?"]),
        ("누리섬", '<!DOCTYPE html>\n<html lang="ko">\n<head>\n<title>누리섬 - 위키백과</title>\n</head>\n<body>\n'
         "<h1>누리섬</h1>\n<p>섬의 이름은   \n\n  ⟦0|누리섬⟧이고, 배는 "
         '⟦1|<a href="/wiki/가람">가람</a> <i>해운</i>의 <b>달빛</b>⟧호이며, 역은 <b>⟦2|누리</b>섬⟧역이다.</p>\n'
         f'<h2><span id="역사">⟦3|역사⟧</span>{EDIT}</h2>\n<p>⟦4|다온\n\n   등대⟧는 '
         '⟦5|1936년<sup id="c1"><a href="#1">[1]</a></sup> 봄⟧에 섰다.</p>\n</body>\n</html>',
         ["섬의 이름은?", "배의 이름은?", "역의 이름은?", "첫째 제목은?", "등대의 이름은?", "등대가 선 때는?"]),
        ("긴 답", f'<div id="toc"><ul>\n<li>⟦0|역사{EDIT}</li>\n<li>기록⟧</li>\n</ul></div>\n⟦1|<ul>\n'
         '<li><a href="/wiki/국수">국수</a></li>\n<li>떡</li>\n</ul>⟧\n<dl><dt>값</dt><dd>⟦2|３천 원⟧</dd></dl>',
         ["차례에 있는 것은?", "파는 것은?", "값은?"]),
        ("글자", f"<p>{FAMILY} {THUMB} ＫＴＸ　역은 ⟦0|A&amp;B 상사⟧ 앞에 있고, 1 &lt; 2는&nbsp;"
         '⟦1|\u1103\u1161\u110b\u1169\u11ab⟧의 인사다.<br/>값은 "⟦2|$1,234.50⟧"이다.</p>',
         ["역은 어디 앞에 있는가?", "어디의 인사인가?", "값은?"]),
        ("되풀이", "<p>가람시 옆에 <b>가람시</b> 공원이 있고, 그 뒤에 있는 역의 이름도 <i>⟦0|가람시⟧</i>이다.</p>",
         ["역의 이름은?"]),
    ],
    "dev": [
        ("끝과 처음", '⟦0|<b>온새미</b> 박사⟧가 찾은 별의 이름은 <i class="x">⟦1|꼬리별</i>⟧',
         ["별을 찾은 사람은?", "별의 이름은?"]),
        ("축제",
         '⟦3|<table class="out">\n<tbody><tr>\n<th rowspan="2">축제</th>\n<td>⟦0|국수 축제⟧</td></tr>\n<tr>\n<td>'
         f'<table class="in">\n<tbody><tr><td>{FAMILY}</td>\n⟦1|<td colspan="2">눈꽃 축제</td>⟧</tr></tbody></table>'
         f"</td></tr></tbody></table>⟧\n<h2>표{EDIT}</h2>\n"
         '<p>표는 《⟦2|새벽　<a href="/wiki/2">２번</a>⟧》이고, 축제가 열리는 거리는 ⟦4|축제⟧ 거리이다.</p>',
         ["위에 적힌 축제는?", "아래에 적힌 축제의 칸은?", "표의 이름은?", "축제의 표는?", "무슨 거리인가?"]),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """A page before it has a format.

    facts: number of an answer -> kind, subject and name of the fact. table: the first subject's facts that no sentence
    states, name and marked value. sections: for each subject its kind and its paragraphs, of marked sentences.
    """

    title: str
    facts: dict[int, tuple[str, str, str]]
    table: list[tuple[str, str]]
    sections: list[tuple[str, list[list[str]]]]

    def question(self, rng: random.Random, number: int) -> str:
        kind, x, name = self.facts[number]
        return ask(rng, kind, x, name)


def ask(rng: random.Random, kind: str, x: str, name: str) -> str:
    """A question for a fact of the subject."""
    return render(rng.choice(FACTS[kind][name].questions.split(" | ")), rng, {"x": x})


def located(marked: str) -> tuple[str, dict[int, Span]]:
    """A text without its ⟦n|...⟧, which may nest, and of every n the answer and where it starts.

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
    """Characters of the next page: some hundreds, for one in thirty one or two thousand, for the first very many."""
    if made == 0:
        return LONG_PAGE
    return rng.randint(900, 2800) if rng.random() < 1 / 30 else rng.randint(300, 360)


def make_page(rng: random.Random, length: int, tabled: int = 0) -> Page:
    """A page of about `length` characters, `tabled` of whose facts are left to a table."""
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


# TyDi QA. A judgement is what one annotator says: a span, "YES" or "NO", "passage" (somewhere in it), or None.
Judgement = Span | str | None


def bytes_of(text: str, start: int, end: int) -> Json:
    """Two character offsets as the format has them: in bytes of UTF-8."""
    return {
        "plaintext_start_byte": len(text[:start].encode()),
        "plaintext_end_byte": len(text[:end].encode()),
    }


def example(
    rng: random.Random, language: str, title: str, text: str, question: str, judgements: Sequence[Judgement], near: int
) -> Json:
    """One line of a TyDi QA file. near: a character in the passage that the answer is in, or that it is about."""
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
    """What `count` annotators make of an answer: of three, one or two may find another one, or none."""
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
    """What can be wrong with offsets, kinds of answers that occur once, and the other languages."""
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
    """Three or four questions about a page, or one; eight in ten have an answer, one in twenty yes or no."""
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
    for part, size in (("dev", TYDIQA_DEV), ("train", rows or TYDIQA_TRAIN)):
        rng = owned_rng(seed, f"tydiqa/{part}")
        examples, made = list(awkward_examples(rng, part)), 0
        while len(examples) < size:
            page = make_page(rng, page_length(rng, made))
            examples += list(page_examples(rng, page, ANNOTATORS[part]))[: size - len(examples)]
            made += 1
        rng.shuffle(examples)
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in examples]
        files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"] = "".join(lines).encode()
    # No time in its header: the same bytes every time (with another version of zlib other ones, of the same content).
    files["tydiqa/tydiqa-v1.0-dev.jsonl.gz"] = gzip.compress(files["tydiqa/tydiqa-v1.0-dev.jsonl"], mtime=0)
    return Sample(files, [])


# KorQuAD 2.1.


def without_attributes(page: str) -> str:
    """A page as `context` has it: no attributes but colspan and rowspan.

    >>> without_attributes('<td class="a" colspan="2"><br/>')
    '<td colspan="2"><br>'
    """

    def strip(tag: re.Match[str]) -> str:
        kept = re.findall(r'(?:col|row)span="\d+"', tag[2])
        return f"<{' '.join([tag[1], *kept])}>"

    return re.sub(r"<(\w+)([^<>]*)>", strip, page)


def linked(rng: random.Random, sentence: str) -> str:
    """A sentence with the tags of a text around or inside its answer, or none, and perhaps the mark of a note."""

    def tagged(match: re.Match[str]) -> str:
        n, value = match[1], match[2]
        link, chance, cut = f'<a href="/wiki/{n}">', rng.random(), len(value) // 2
        if chance < 0.15:
            return f"{link}⟦{n}|{value}⟧</a>"
        if chance < 0.25:
            return f"⟦{n}|{link}{value}</a>⟧"
        if chance < 0.35 and cut:
            return f"⟦{n}|{link}{value[:cut]}</a>{value[cut:]}⟧"
        return match[0]

    note = f'<sup class="reference"><a href="#n">[{rng.randint(1, 9)}]</a></sup>' if rng.random() < 0.1 else ""
    return re.sub(r"⟦(\d+)\|([^⟧]*)⟧", tagged, html.escape(sentence, quote=False)) + note


def table_of(rng: random.Random, page: Page, number: int) -> str:
    """The page's table, with the mark of `number` around it; the last two facts stand in a table of their own."""
    rows = []
    for name, mark in page.table:
        value = re.sub(r"⟦(\d+)\|", r"⟦\1|<td>", mark)[:-1] + "</td>⟧" if rng.random() < 0.25 else f"<td>{mark}</td>"
        rows.append(f"<tr>\n<th>{name}</th>\n{value}</tr>")
    inner = "\n".join(rows[-2:])
    title, frame = html.escape(page.title), '<table class="{}">\n<tbody>{}</tbody></table>'
    outer = "\n".join([
        f'<tr>\n<th colspan="2">{title}</th></tr>', *rows[:-2],
        f'<tr>\n<th rowspan="2">기록</th>\n<td>{frame.format("in", inner)}</td></tr>',
        "<tr>\n<td><small>자세한 기록은 없다.</small></td></tr>",
    ])  # fmt: skip
    return f"⟦{number}|{frame.format('infobox', outer)}⟧"


def html_of(rng: random.Random, page: Page) -> str:
    """The page in HTML, with marks and attributes."""
    title = html.escape(page.title)
    parts = [
        '<!DOCTYPE html>\n<html class="client-nojs" lang="ko">\n<head>\n<meta charset="UTF-8"/>\n'
        f"<title>{title} - 위키백과, 우리 모두의 백과사전</title>\n\n</head>\n"
        f'<body class="ns-0">\n<div id="content">\n<h1>{title}</h1>\n<div>'
    ]
    if page.table:
        parts.append(table_of(rng, page, len(page.facts)))
    for kind, paragraphs in page.sections:
        parts.append(f'<h2><span id="{kind}">{HEADINGS[kind]}</span><span class="edit">{EDIT}</span></h2>')
        for sentences in paragraphs:
            items = [linked(rng, sentence) for sentence in sentences]
            if rng.random() < 0.2:
                parts.append("<ul>" + "\n".join(f"<li>{item}</li>" for item in items) + "</ul>")
            else:
                parts.append("<p>" + " ".join(items) + "\n</p>")
    return "\n".join([*parts, "</div></div>\n</body>\n</html>"])


def document(title: str, marked: str, questions: dict[int, str]) -> Json:
    """One entry of `data`, without ids. questions: by the numbers of their answers; the first is the first."""
    raw, raw_spans = located(marked)
    context, spans = located(without_attributes(marked))
    qas = []
    for number, question in questions.items():
        text, start = spans[number]
        raw_text, raw_start = raw_spans[number]
        answer = {
            "text": text, "answer_start": start, "html_answer_text": raw_text, "html_answer_start": raw_start,
        }  # fmt: skip
        qas.append({"question": question, "answer": answer})
    url = f"https://ko.wikipedia.org/wiki/{title.replace(' ', '_')}"
    return {"title": title, "url": url, "context": context, "raw_html": raw, "qas": qas}


def make_korquad_2(seed: int, rows: int | None) -> Sample:
    """korquad-2: KorQuAD 2.1's two folders; the training pages are in two files."""
    files, running = {}, 0
    for part, size in (("dev", KORQUAD_2_DEV), ("train", rows or KORQUAD_2_TRAIN)):
        rng = owned_rng(seed, f"korquad-2/{part}")
        documents = [document(title, page, dict(enumerate(asked))) for title, page, asked in AWKWARD_PAGES[part]]
        missing, made = size - sum(len(entry["qas"]) for entry in documents), 0
        while missing > 0:
            page = make_page(rng, page_length(rng, made), tabled=rng.choice([0, 0, 3]))
            numbers = rng.sample(sorted(page.facts), min(5, len(page.facts), missing))
            questions = {number: page.question(rng, number) for number in numbers}
            if page.table and len(numbers) == 5 and rng.random() < 0.2:
                del questions[numbers[-1]]
                questions[len(page.facts)] = f"{page.title} 문서의 표는?"
            documents.append(document(page.title, html_of(rng, page), questions))
            missing, made = missing - len(questions), made + 1
        rng.shuffle(documents)
        for entry in documents:
            for qa in entry["qas"]:
                qa["id"] = str(running)
                running += 1
        shares = [documents] if part == "dev" else [documents[0::2], documents[1::2]]
        for i, share in enumerate(shares):
            content = {"version": f"KorQuAD_2.1_{part} (synthetic)", "data": share}
            files[f"korquad_2/{part}/korquad2.1_{part}_{i:02}.json"] = json_file(content)
    return Sample(files, [])
