"""Synthetic paragraphs with questions, in the formats of KorQuAD 1.0 and SQuAD 2.0. Used by `make_sample_data.py`.

A paragraph states eight or nine facts about one person, film or town; `sample_facts.py` has the facts. In the awkward
passages of this file, ⟦n|...⟧ marks the answer to question n, so that nobody has to count characters.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from sample_data.sample_facts import FACTS, QUESTION_RULES
from sample_data.sample_formats import FAMILY, THUMB, Sample, json_file, owned_rng
from sample_data.sample_grammar import render

TRAIN_QUESTIONS, DEV_QUESTIONS = 1200, 200
LONG_EVERY = 60  # one paragraph of 60, beginning with the first, is longer than any window
LONG_SENTENCES = 90  # sentences about other things in a long paragraph
SUBJECTS = {"person": "{human}", "film": "{title}", "town": "{town}"}
COLLECTIONS = {"person": "인물", "film": "영화", "town": "고장"}  # in the titles of articles about several subjects
FACT_NAME = re.compile("|".join(name for facts in FACTS.values() for name in facts if len(name) > 1))

Json = dict[str, Any]

LONG_ANSWER = (
    "낮에는 등대를 지키고 밤에는 별을 세며, 비가 오면 우산을 고치고 눈이 오면 아이들에게 썰매를 만들어 주되, "
    "누구에게도 돈은 받지 않고 다만 이야기 하나씩을 받아 공책에 적어 두는 일"
)
LONG_QUESTION = (
    "섬에서 태어나 배를 타고 뭍으로 나와 시장에서 떡을 팔고 우체국에서 편지를 나르고 극장에서 표를 받고 학교에서 종을 "
    "치고 산에서 나무를 심고 다시 배를 타고 섬으로 돌아가 등대를 지키면서 밤마다 공책에 이야기를 적었다고 하는, 그래서 "
    "사람들이 살아 있을 때부터 이야기 할아버지라고 불렀다는 등대지기 도가온이 그 공책에 붙인 이름은 무엇인가?"
)
# (title, context, questions); in the context ⟦n|...⟧ is the answer to question n, counted from 0.
AWKWARD: dict[str, list[tuple[str, str, list[str]]]] = {
    "train": [
        ("첫 글자와 끝 글자", "⟦0|김미르⟧는 별을 처음 센 사람이고, 센 별의 수는 ⟦1|삼백⟧",
         ["별을 처음 센 사람은?", "별의 수는?"]),
        ("되풀이", "가람시 옆에 가람시 공원이 있고, 공원 뒤에 있는 역의 이름도 ⟦0|가람시⟧이다. 가람시청은 없다.",
         ["공원 뒤에 있는 역의 이름은?"]),
        ("그림 글자", f"{FAMILY} 가족 {THUMB} ❤️ 모임이 🇰🇷 ⟦0|누리섬⟧에서 열렸다 🦕. 회비는 ⟦1|３천 원⟧\U0001f9ff이다.",
         ["모임이 열린 곳은 어디인가? 🤔", "회비는 얼마인가?"]),
        ("전각 문자", "ＫＴＸ　역에서　⟦0|ＡＢＣ　호텔⟧까지　１０분이다。 ⟦1|首爾⟧에서는 한 시간이다。",
         ["역에서 10분인 ＨＯＴＥＬ은?", "한 시간이 걸리는 곳은?"]),
        ("공백", "  첫째  줄에는   ⟦0|두  칸⟧씩 띈다.\n\n\t둘째 줄은\u00a0비어 있다.\r\n"
         "셋째\u200b 줄의 색은 ⟦1|푸른\n빛⟧이다.  ", ["첫째 줄은 몇 칸씩 띄는가?", "셋째  줄의 색은?"]),
        ("따옴표", "그는 \"⟦0|'괜찮다'⟧\"라고 했고, 《⟦1|\"달\"의 ‘뒤’⟧》(⟦2|1999년⟧)라는 책을 썼다. "
         "값은 \\⟦3|$1,234.50⟧이다.", ["그는 뭐라고 했는가?", "책의 제목은?", "책은 언제 나왔는가?", "책의 값은?"]),
        ("조사", "⟦0|서라울⟧에서⟦1|다온⟧으로간⟦2|정하람⟧은⟦3|1953년⟧에돌아왔다.",
         ["어디에서?", "어디로?", "누가?", "언제?"]),
        ("풀어쓴 한글", "\u110b\u116d\u1105\u1175\u1109\u1161 \u1112\u1161\u11ab\u1107\u1167\u11af의 식당은 "
         "⟦0|별내음⟧에 있다. 그 옆은 ⟦1|\u1103\u1161\u110b\u1169\u11ab⟧이다.", ["식당은 어디에 있는가?", "그 옆은?"]),
        ("등대지기", f"도가온이 한 일은 ⟦0|{LONG_ANSWER}⟧이었다. 그 공책의 이름은 ⟦1|이야기 주머니⟧이다.",
         ["도가온이 한 일은?", LONG_QUESTION]),
        ("한 문장", "⟦0|노아름⟧은 가수다.", ["가수는 누구인가?"]),
        ("토큰처럼 생긴 말", "[CLS] [SEP] ##가 아니라 ⟦0|[UNK]⟧가 답이고 그다음은 ⟦1|##나⟧이다.",
         ["답은?", "[SEP] 그다음은?"]),
        ("한 글자", "답은 ⟦0|A⟧, ⟦1|b⟧, ⟦2|.⟧, 그리고 ⟦3|셋⟧", ["첫째 답은?", "둘째 답은?", "마침표는?", "몇인가?"]),
    ],
    "dev": [
        ("끝과 처음", "⟦0|온새미 박사⟧가 찾은 별의 이름은 ⟦1|꼬리별⟧", ["별을 찾은 사람은?", "별의 이름은?"]),
        ("축제", f"{FAMILY} ❤️ 축제는 축제 거리에서 열리고, 축제 거리의 옛 이름도 ⟦0|축제⟧ 거리이다. "
         "표는 《⟦1|새벽　２번⟧》이다.\n끝.", ["축제 거리의 옛 이름은 무슨 거리인가?", "표의 이름은? 🎫"]),
        ("한 문장", "⟦0|모다솜⟧은 화가다.", ["화가는 누구인가?"]),
        ("다온", "\u1103\u1161\u110b\u1169\u11ab에서 ⟦0|한별⟧까지는  ⟦1|12킬로미터⟧이다.",
         ["다온에서 어디까지?", "얼마나 먼가?"]),
    ],
}  # fmt: skip
PREDICT_QUESTIONS: Json = {
    "version": "sample",
    "data": [{"title": "예측", "paragraphs": [
        {"context": "한바람은 사진가이다. 한바람의 고향은 누리섬이다. 키는 178센티미터이다. 강이슬을 스승으로 모셨다. "
                    "취미는 등산이다. 받은 상은 가람예술상이다. 집에서 거북이를 기른다.",
         "qas": [{"id": "predict-0", "question": "한바람의 고향은 어디인가?"},
                 {"id": "predict-1", "question": "한바람의 스승은 누구인가?"}]},
        {"context": "《은빛 나침반》은 지금도 사랑받는 영화이다. 감독은 문하늬이다. 주연은 서노을이다. "
                    "제작비 35억 원이 들었다. 관객 120만 명을 모았다. 장르는 모험극이다. 촬영지는 다온군이다.",
         "qas": [{"id": "predict-2", "question": "《은빛 나침반》의 제작비는 얼마인가?"}]},
    ]}],
}  # fmt: skip


def unmarked(context: str) -> tuple[str, dict[int, tuple[str, int]]]:
    """A context without its marks ⟦n|...⟧, and for each n the answer and the character at which it starts.

    >>> unmarked("나는 ⟦0|가람⟧에 산다")
    ('나는 가람에 산다', {0: ('가람', 3)})
    """
    plain, answers, end = "", {}, 0
    for match in re.finditer(r"⟦(\d+)\|([^⟧]*)⟧", context):
        plain += context[end : match.start()]
        answers[int(match[1])] = (match[2], len(plain))
        plain, end = plain + match[2], match.end()
    return plain + context[end:], answers


def apart(text: str) -> str:
    """A marked context, or a question, with spaces around answers and names of facts, to train the vocabulary on.

    With so few patterns, the tokenizer's training would merge particles with the words before them (서라 ##울이다).
    Then no span of tokens would be the answer, and 고향은 in a question would share no token with 고향이다.

    >>> apart("고향은 ⟦0|가람⟧이다")
    ' 고향 은  가람 이다'
    """
    return re.sub(r"⟦\d+\|([^⟧]*)⟧", r" \1 ", FACT_NAME.sub(r" \g<0> ", text))


def make_context(rng: random.Random, kind: str, long: bool) -> tuple[str, str, list[str]]:
    """A subject, the marked context about it, and the names of its facts in the order of their numbers."""
    facts = FACTS[kind]
    x = render(SUBJECTS[kind], rng, None, QUESTION_RULES)
    stated, values = rng.sample(list(facts), rng.randint(8, 9)), {x}
    sentences = []
    for n, name in enumerate(stated):
        value = x
        while value in values:
            value = render(facts[name].value, rng, None, QUESTION_RULES)
        values.add(value)
        sentences.append(render(rng.choice(facts[name].sentences.split(" | ")), rng, {"x": x, "v": f"⟦{n}|{value}⟧"}))
    sentences += [
        render("{filler}", rng, None, QUESTION_RULES) for _ in range(LONG_SENTENCES if long else rng.randint(0, 3))
    ]
    rng.shuffle(sentences)
    if rng.random() < 0.7:
        sentences.insert(0, render(f"{{{kind}_intro}}", rng, {"x": x}, QUESTION_RULES))
    return x, " ".join(sentences), stated


def gold_answers(answer: tuple[str, int], rng: random.Random, dev: bool) -> list[Json]:
    """The answers in the files' format; some dev questions have a second answer, which is shorter or the same."""
    text, start = answer
    found = [{"text": text, "answer_start": start}]
    if dev and rng.random() < 1 / 3:
        shorter = re.match(r"\d+[만억]?|", text)[0] or text
        found.append({"text": shorter, "answer_start": start})
    return found


def make_qas(
    rng: random.Random, kind: str, x: str, answers: Mapping[str, tuple[str, int]], dev: bool, impossible: float
) -> list[Json]:
    """Four to six questions, without ids; a share `impossible` of them asks for facts that the paragraph lacks."""
    facts = FACTS[kind]
    unstated = rng.sample([name for name in facts if name not in answers], len(facts) - len(answers))
    qas = []
    for name in rng.sample(list(answers), rng.randint(4, 6)):
        lacking = rng.random() < impossible and bool(unstated)
        asked = unstated.pop() if lacking else name
        qa: Json = {"question": render(rng.choice(facts[asked].questions.split(" | ")), rng, {"x": x})}
        if lacking:
            # An answer that looks right: the value of a different fact of the same kind, where there is one.
            alike = [answers[other] for other in answers if facts[other].value == facts[asked].value]
            qa |= {"answers": [], "is_impossible": True}
            if alike:
                qa["plausible_answers"] = gold_answers(rng.choice(alike), rng, False)
        else:
            qa["answers"] = gold_answers(answers[name], rng, dev)
            if impossible:
                qa["is_impossible"] = False
        qas.append(qa)
    return qas


def awkward_articles(part: str, impossible: bool) -> list[Json]:
    """The awkward passages as articles, without ids. impossible: every second one gets an unanswerable question."""
    articles: list[Json] = []
    for title, marked, questions in AWKWARD[part]:
        context, answers = unmarked(marked)
        qas: list[Json] = []
        for n, question in enumerate(questions):
            text, start = answers[n]
            qas.append({"question": question, "answers": [{"text": text, "answer_start": start}]})
        if impossible:
            qas = [qa | {"is_impossible": False} for qa in qas]
        if impossible and len(articles) % 2 == 0:
            qas.append({"question": "여기에 없는 것은 무엇인가?", "answers": [], "is_impossible": True})
        articles.append({"title": title, "paragraphs": [{"context": context, "qas": qas}]})
    return articles


def make_part(seed: int, name: str, count: int, impossible: float) -> tuple[Json, list[str]]:
    """The content of one file with `count` questions, and its texts for the vocabulary, without the awkward ones.

    An article has one paragraph and its subject as the title, or several paragraphs about subjects of one kind.
    """
    rng, dev = owned_rng(seed, f"korquad/{name}"), name.endswith("dev")
    articles = awkward_articles("dev" if dev else "train", impossible > 0)
    missing = count - sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])
    texts: list[str] = []
    made = 0
    while missing > 0:
        kind, size = rng.choice(list(FACTS)), rng.randint(1, 4)
        title, paragraphs = f"{render('{stem}', rng, None, QUESTION_RULES)}의 {COLLECTIONS[kind]}", []
        while len(paragraphs) < size and missing > 0:
            x, marked, stated = make_context(rng, kind, long=made % LONG_EVERY == 0)
            context, answers = unmarked(marked)
            qas = make_qas(rng, kind, x, {name: answers[n] for n, name in enumerate(stated)}, dev, impossible)[:missing]
            missing, made = missing - len(qas), made + 1
            title = x if size == 1 else title
            paragraphs.append({"context": context, "qas": qas})
            texts += [apart(text) for text in (marked, *(qa["question"] for qa in qas))]
        articles.append({"title": title, "paragraphs": paragraphs})
    rng.shuffle(articles)
    for a, article in enumerate(articles):
        for p, paragraph in enumerate(article["paragraphs"]):
            for q, qa in enumerate(paragraph["qas"]):
                qa["id"] = f"{name}-{a}-{p}-{q}"
    return {"version": f"{name} (synthetic)", "data": articles}, texts


def make_korquad(seed: int, rows: int | None) -> Sample:
    """korquad: KorQuAD 1.0's two files, and two of SQuAD 2.0's form, where a third of the questions has no answer."""
    files: dict[str, bytes] = {}
    texts = []
    for version, impossible in (("KorQuAD_v1.0", 0.0), ("KorQuAD_v2.0_sample", 0.36)):
        for part, count in (("dev", DEV_QUESTIONS), ("train", rows or TRAIN_QUESTIONS)):
            content, plain = make_part(seed, f"{version}_{part}", count, impossible)
            files[f"korquad/{version}_{part}.json"] = json_file(content)
            texts += plain
    return Sample(files, texts)
