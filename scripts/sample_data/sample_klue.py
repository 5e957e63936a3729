"""Synthetic data for KLUE's six tasks, in the form of the official files. Used by `make_sample_data.py`.

Inference, similarity, entities and questions are those of the tasks that ask for the same, made with seeds of their
own. The vocabulary is not trained on any of these texts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from sample_data.sample_classification import make_kornli, make_korsts
from sample_data.sample_entities import make_naver_ner
from sample_data.sample_formats import FAMILY, THUMB, Sample, json_file, owned_rng
from sample_data.sample_grammar import RULES, parse_rules, render
from sample_data.sample_questions import DEV_QUESTIONS, TRAIN_QUESTIONS, make_part

TRAIN_ROWS, DEV_ROWS = 1000, 200
Json = dict[str, Any]

KLUE_RULES = RULES | parse_rules("""
정치: {person} 위원장 | 선거 | 정당 | 투표 | 시장 선거 | 국회

경제: 은행 | 시장 가격 | 회사 돈 | 백화점 | 전자 회사

사회: 경찰관 | 소방관 | 병원 | 학교 사고 | 버스 정류장

생활문화: 여행 | 요리 | 식당 | 전시 | 소설책

세계: 외국 대통령 | 세계 대회 | 바다 건너 나라 | 해외 여행

IT과학: 컴퓨터 | 로봇 | 우주선 | 과학 연구소 | 인공위성

스포츠: 축구 | 야구 | 수영 | 테니스 대회 | 감독 교체

headline_end: 소식 | 이야기 | 발표 | 시작 | 논의 | 행사 열려 | 관심 모아 | 준비 중

titled: {city} {topic_word} {headline_end} | {year}년 {topic_word} {headline_end}
| {topic_word}, {city}에서 {headline_end} | [단독] {topic_word} {headline_end} | {topic_word} 앞둔 {city}…{headline_end}

firm: 전자 | 은행 | 대학교 | 신문 | 병원 | 연구소

org: {city}{firm} | {city} {firm}
""")
TOPICS = ("정치", "경제", "사회", "생활문화", "세계", "IT과학", "스포츠")
# label -> the rules of subject and object, and what is said about them
RELATIONS: dict[str, tuple[str, str, list[str]]] = {
    "no_relation": ("person", "city", ["{s/은} {year}년에 {o} 이야기를 들었다.", "{o/과} {s/은} 아무 사이가 아니다."]),
    "per:place_of_birth": ("person", "city", ["{s/은} {o}에서 태어났다.", "{o/은} {s/이} 태어난 곳이다."]),
    "per:title": ("person", "post", ["{s} {o/이} {year}년에 말했다.", "{year}년에 {o/이} 된 {s/은} 웃었다."]),
    "per:employee_of": ("person", "org", ["{s/은} {o}에서 일한다.", "{o} 직원 {s/이} 상을 받았다."]),
    "org:founded_by": ("org", "person", ["{s/은} {o/이} 세운 곳이다.", "{o/이} {year}년에 {s/을} 세웠다."]),
    "org:place_of_headquarters": ("org", "city", ["{s/은} 본사가 {o}에 있다.", "{o}에 본사를 둔 {s/이} 커졌다."]),
}  # fmt: skip
AWKWARD_TITLES = [
    ('"인생작"이라더니…\\ 축구 감독', "스포츠"), (f"{FAMILY} 여행 {THUMB}", "생활문화"), ("null", "사회"),
    ("外國 대통령 방문", "세계"), ("  은행  공백  ", "경제"), ("국회\t탭\n줄", "정치"), ("ＩＴ 로봇", "IT과학"),
]  # fmt: skip
# Sentence, subject, object, label: markers inside words, at both ends, and around characters that are unknown.
AWKWARD_RELATIONS = [
    ("한결은대장", "한결", "대장", "per:title"), ("가람시의 '누리(累理)'는", "누리", "가람시", "no_relation"),
    (f"{THUMB}도담 {FAMILY}", "도담", FAMILY, "no_relation"), ("1995년, A은행(B)…", "A은행", "B", "org:founded_by"),
]  # fmt: skip
TYPES = {"PER": "PS", "LOC": "LC", "ORG": "OG", "DAT": "DT", "TIM": "TI", "NUM": "QT"}


def guid(name: str, part: str, number: int) -> str:
    """`klue-nli-v1_train_00007`, as in the official files."""
    return f"{name}-v1_{part}_{number:05}"


def make_klue_tc(seed: int, rows: int | None) -> Sample:
    """klue-tc: titles of news, whose words tell one of seven topics."""

    def make(rng: random.Random, number: int) -> Json:
        label = TOPICS[number % len(TOPICS)]
        title = render("{titled}", rng, {"topic_word": render(f"{{{label}}}", rng, None, KLUE_RULES)}, KLUE_RULES)
        return {"title": title, "label": label}

    awkward = [{"title": title, "label": label} for title, label in AWKWARD_TITLES]
    return Sample(json_parts(seed, "ynat", rows, make, awkward, "title"), [])


def make_klue_re(seed: int, rows: int | None) -> Sample:
    """klue-re: a sentence about two entities, for six of the thirty relations."""

    def make(rng: random.Random, number: int) -> Json:
        label = list(RELATIONS)[number % len(RELATIONS)]
        subject_rule, object_rule, patterns = RELATIONS[label]
        names = {"s": "", "o": ""}
        while names["s"] in names["o"] or names["o"] in names["s"]:
            for key, rule in (("s", subject_rule), ("o", object_rule)):
                names[key] = render(f"{{{rule}}}", rng, None, KLUE_RULES)
        return relation(render(rng.choice(patterns), rng, names), names["s"], names["o"], label)

    awkward = [relation(*row) for row in AWKWARD_RELATIONS]
    return Sample(json_parts(seed, "klue-re", rows, make, awkward, "sentence"), [])


def relation(sentence: str, subject: str, object: str, label: str) -> Json:
    """A row of klue-re. `end_idx` is that of the last character."""

    def entity(word: str) -> Json:
        start = sentence.index(word)
        return {"word": word, "start_idx": start, "end_idx": start + len(word) - 1, "type": "POH"}

    entities = {"subject_entity": entity(subject), "object_entity": entity(object)}
    return {"sentence": sentence, **entities, "label": label, "source": "synthetic"}


def json_parts(
    seed: int, name: str, rows: int | None, make: Callable[[random.Random, int], Json], awkward: list[Json], text: str
) -> dict[str, bytes]:
    """The two files of a task; no text (the value under `text`) is in both."""
    files: dict[str, bytes] = {}
    taken: set[str] = set()
    for part, count in (("dev", DEV_ROWS), ("train", rows or TRAIN_ROWS)):
        rng = owned_rng(seed, f"{name}/{part}")
        made = list(awkward) if part == "train" else []
        while len(made) < count:
            row = make(rng, len(made))
            if row[text] not in taken:
                made.append(row)
        taken.update(row[text] for row in made)
        rng.shuffle(made)
        content = [{"guid": guid(name, part, number), **row} for number, row in enumerate(made)]
        files[f"klue/{name}-v1.1/{name}-v1.1_{part}.json"] = json_file(content)
    return files


def table(content: bytes) -> list[list[str]]:
    """The rows of a TSV file of another task, without the header."""
    return [line.split("\t") for line in content.decode().removesuffix("\n").split("\n")[1:]]


def make_klue_nli(seed: int, rows: int | None) -> Sample:
    """klue-nli: the pairs of KorNLI's sample, with premise and hypothesis in JSON."""
    source = make_kornli(seed + 1, rows or TRAIN_ROWS).files
    files = {}
    for part, name in (("train", "multinli.train.ko"), ("dev", "xnli.dev.ko")):
        content = [
            {
                "guid": guid("klue-nli", part, n),
                "source": "synthetic",
                "premise": a,
                "hypothesis": b,
                "gold_label": label,
            }
            for n, (a, b, label) in enumerate(table(source[f"kornli/{name}.tsv"]))
        ]
        files[f"klue/klue-nli-v1.1/klue-nli-v1.1_{part}.json"] = json_file(content)
    return Sample(files, [])


def make_klue_sts(seed: int, rows: int | None) -> Sample:
    """klue-sts: the pairs of KorSTS's sample; the score stands there exactly, rounded, and as 0 or 1."""
    source = make_korsts(seed + 1, rows or TRAIN_ROWS).files
    files = {}
    for part in ("train", "dev"):
        content = []
        for number, row in enumerate(table(source[f"korsts/sts-{part}.tsv"])):
            score = float(row[4])
            labels = {"label": round(score, 1), "real-label": score, "binary-label": int(score >= 3)}
            pair = {"sentence1": row[5], "sentence2": row[6], "labels": labels}
            content.append({"guid": guid("klue-sts", part, number), "source": "synthetic", **pair})
        files[f"klue/klue-sts-v1.1/klue-sts-v1.1_{part}.json"] = json_file(content)
    return Sample(files, [])


def make_klue_ner(seed: int, rows: int | None) -> Sample:
    """klue-ner: the sentences of Naver NER's sample with a label for each character, for six of its types."""
    source = make_naver_ner(seed + 1, rows or TRAIN_ROWS).files
    files = {}
    for part, name in (("train", "train"), ("dev", "test")):
        lines = ["## 문장 구분자 : \\n\\n", "## 컬럼명 : CHAR\tNE_TAG"]
        for number, row in enumerate(source[f"naver-ner/{name}.tsv"].decode().removesuffix("\n").split("\n")):
            words, labels = (side.split(" ") for side in row.split("\t"))
            lines.append(f"## {guid('klue-ner', part, number)}-synthetic\t{' '.join(words)}")
            lines += [*character_lines(words, labels), ""]
        files[f"klue/klue-ner-v1.1/klue-ner-v1.1_{part}.tsv"] = ("\n".join(lines) + "\n").encode()
    return Sample(files, [])


def character_lines(words: list[str], labels: list[str]) -> list[str]:
    """A line for each character, spaces too. An entity of several words goes on over the space between them."""
    lines: list[str] = []
    for word, label in zip(words, labels, strict=True):
        kind, _, place = label.partition("-")
        kind = TYPES.get(kind, "")
        if lines:
            lines.append(f" \t{f'I-{kind}' if kind and place == 'I' else 'O'}")
        for number, character in enumerate(word):
            starts = place == "B" and number == 0
            lines.append(f"{character}\t{f'B-{kind}' if kind and starts else f'I-{kind}' if kind else 'O'}")
    return lines


def make_klue_mrc(seed: int, rows: int | None) -> Sample:
    """klue-mrc: questions as in the sample of SQuAD 2.0's form, with `guid` and `question_type` (3: no answer)."""
    files = {}
    for part, count in (("dev", DEV_QUESTIONS), ("train", rows or TRAIN_QUESTIONS)):
        content, _ = make_part(seed, f"klue-mrc-v1_{part}", count, 0.36)
        content["version"] = "v1.1"
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    qa["guid"] = re.sub(r"-(\d+)-(\d+)-(\d+)$", r"_\1_\2_\3", qa.pop("id"))
                    qa["question_type"] = 3 if qa["is_impossible"] else 1
        files[f"klue/klue-mrc-v1.1/klue-mrc-v1.1_{part}.json"] = json_file(content)
    return Sample(files, [])
