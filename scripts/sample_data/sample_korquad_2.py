"""Synthetic KorQuAD 2.1: HTML pages whose answers may hold tags, lists and tables. Used by `make_sample_data.py`."""

from __future__ import annotations

import html
import random
import re
from typing import Any

from sample_data.sample_formats import FAMILY, THUMB, Sample, json_file, owned_rng
from sample_data.sample_pages import Page, located, make_page, page_length

TRAIN_QUESTIONS, DEV_QUESTIONS = 900, 120
HEADINGS = {"person": "사람", "film": "영화", "town": "고장"}

Json = dict[str, Any]

EDIT = '<span>[</span><a href="/w/edit">편집</a><span>]</span>'
# KorQuAD 2.1: title, page with attributes, questions.
AWKWARD: dict[str, list[tuple[str, str, list[str]]]] = {
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


def without_attributes(page: str) -> str:
    """A page in the form of `context`: without attributes except for colspan and rowspan.

    >>> without_attributes('<td class="a" colspan="2"><br/>')
    '<td colspan="2"><br>'
    """

    def strip(tag: re.Match[str]) -> str:
        kept = re.findall(r'(?:col|row)span="\d+"', tag[2])
        return f"<{' '.join([tag[1], *kept])}>"

    return re.sub(r"<(\w+)([^<>]*)>", strip, page)


def linked(rng: random.Random, sentence: str) -> str:
    """A sentence that may have link tags around or inside its answer, and a footnote mark at its end."""

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
    """The page's table, marked as answer `number`; the last two facts are in a table inside it."""
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
    """One entry of `data`, without ids. questions: the questions by the number of their answer, in the file's order."""
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
    for part, size in (("dev", DEV_QUESTIONS), ("train", rows or TRAIN_QUESTIONS)):
        rng = owned_rng(seed, f"korquad-2/{part}")
        documents = [document(title, page, dict(enumerate(asked))) for title, page, asked in AWKWARD[part]]
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
