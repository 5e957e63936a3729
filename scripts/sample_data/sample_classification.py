"""Synthetic texts for the classification tasks, in the tasks' official file formats. Used by `make_sample_data.py`.

The texts come from the grammar in `sample_grammar.py` and from the awkward rows in this file.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping, Sequence

from sample_data.sample_formats import FAMILY, THUMB, Row, Sample, json_file, numbered, owned_rng, quoted, tsv
from sample_data.sample_grammar import RULES, render, review, scene

EVAL_ROWS = 300  # in a dev or test file

# Rows that break readers, by task and file name (without suffix): the text or texts, then the label.
AWKWARD: dict[str, dict[str, list[Row]]] = {
    "nsmc": {
        "ratings_train": [
            ('주인공이 "다녀올게"라고 할 때 눈물이 났다', "1"), ("null", "0"),
            ('"인생작"이라더니 "낭비"였다', "0"), ("NA", "0"), ("007", "1"), ("1e5", "1"), ("", "0"),
            (f"{FAMILY} 온 가족이 즐겁게 봤습니다 ❤️", "1"), (f"연기 정말 좋아요 {THUMB}😂", "1"), ("-", "0"),
            ("  앞뒤에 공백이 있어도 정말 훌륭했다  ", "1"), ("ㅋㅋㅋㅋㅋㅋㅋㅋ 노잼", "0"), ("ﾻﾻ 꿀잼", "1"),
            ("名作 중의 名作, 美친 연출", "1"), ("OST가 so good, must see!", "1"), ("재밌다..진짜...\\", "1"),
            ("ＯＳＴ　최고！！　강추", "1"),
            ("\u110c\u1162\u1106\u1175\u110b\u1165\u11b9\u1102\u1166\u110b\u116d", "0"),  # 재미없네요, decomposed
            ("줄 구분자\u2028가 있어도\x85한 줄이다. 지루했다", "0"), ("&lt;감독판&gt;이 훨씬 낫다 &amp; 강추", "1"),
            ("\ufeff형편없는\u00a0영화\u200b", "0"),
        ],
        "ratings_test": [
            ('"기대 이상"이라는 말을 믿어 보세요', "1"), ("   ", "0"), ("nan", "0"), ("None", "0"), ("008", "1"),
            ("🇰🇷 한국 영화의 자랑 👏", "1"), (" 돈이 아까웠다", "0"), ("ㅠㅠㅠㅠ 감동", "1"), ("最惡의 결말", "0"),
            ("worst movie ever... 시간 낭비", "0"), ("ＣＧ　최악！", "0"), ('"', "0"), ("2e3", "1"),
        ],
    },
    "kornli": {
        "multinli.train.ko": [
            ('"엄마, 저 왔어요." 그가 말했다.', "그는 한마디도 하지 않았다.", "contradiction"),
            ('"상처! 설명해 주시겠습니까?', "누군가 설명을 듣고 싶어 한다.", "entailment"),
            (f"{FAMILY} 가족이 공원에 있다.", "공원에 사람이 있다.", "entailment"), ("007", "007", "entailment"),
            (" 소년이 DVD를 본다. ", "少年이 ＤＶＤ를 보지 않았다. ", "contradiction"), ("null", "NA", "neutral"),
            ("ㅋㅋㅋ", "누군가 처음으로 웃었다 😂", "neutral"),
        ],
    },
    "paws": {
        "translated_train": [
            ("NS", "이 문장은 번역되지 않았다.", "0"), ("", "왼쪽이 빈 줄이다.", "0"), ("오른쪽이 빈 줄이다.", "", "1"),
            ('"새벽 열차"는 1995년에 나온 노래다.', '1995년에 나온 노래 "새벽 열차"다.', "1"), ("null", "NA", "0"),
            ("Kathy는 Peter와 서울(首爾)에 산다 🙂", "Peter는 Kathy와 서울(首爾)에 산다 🙂", "1"), ("007", "007", "1"),
        ],
        "dev_2k": [("", "왼쪽이 빈 개발용 줄이다.", "1"), ('"T"는 글자다.', "글자 ``T''다.", "1")],
        "test_2k": [("오른쪽이 빈 시험용 줄이다.", "", "0"), ('"IPA"는 소리다.', "소리는 ``IPA''다.", "1")],
    },
    "korsts": {
        "sts-train": [
            ('"슈퍼맨" 셔츠를 입은 개가 잔다.', "슈퍼맨 셔츠를 입은 개가 자고 있다.", "4.75"), ("null", "NA", "1.2"),
            (f"소년이 웃는다 {THUMB}", "소년이 웃고 있다.", "4"), (" 공백이 있는 문장 ", "空白이 있는 문장", "3.400"),
            ("CD를 듣는다ㅋㅋ", "ＣＤ를 듣는다", "4.000"), ("007", "007", "5"), ("1e5", "100000", "0"),
        ],
    },
    "question-pair": {  # not quoted further: in the real files, too, only some quotes follow CSV's rules
        "train": [
            ('"가족끼리 ""사랑해요""라는 말이 어색해"', "사랑한다고 고백해 볼까", "1"), ("", "왼쪽이 빈 질문", "1"),
            ("null", "null", "0"), ("NA", "007", "1"), ("1e5", "1e5", "0"), ("오른쪽이 빈 질문", "", "0"),
            ("심심해ㅠㅠ", "심심하다 😂", "0"), (" 春夏秋冬 중에 언제가 좋아 ", "점심 뭐 먹지", "1"),
            ("wifi 비번 뭐야", "ＷＩＦＩ　비번 알려줘", "0"),
        ],
        "dev": [("", "왼쪽이 빈 개발용 질문", "1"), ("졸려ㅋㅋㅋ", f"졸리다 {THUMB}", "0")],
        "test": [("오른쪽이 빈 시험용 질문", "", "1"), ("배고파ㅠㅠ", "배고프다 🍜", "0")],
    },
    "hate-speech": {
        "train": [
            ("'소금꽃' 무대 인사", "null", "none", "none"), ("[단독] 새 예고편", "007", "none", "none"),
            ('한바람 "나는 행복해"', '"행복"이라는 말이 참 좋네요', "none", "none"), ("속보", "NA", "none", "none"),
            ("축제 시작", f"{FAMILY} 다 같이 가요 ❤️", "none", "none"), ("맛집", " 맛이 엉망ㅋㅋ ", "none", "offensive"),
            ("제작 발표회", "OMG so boring &gt;&lt; 지겹다", "none", "offensive"),
            ("속편 확정", "감독 腦가 없나 ＴＶ나 봐라", "none", "offensive"),
            ("예고편 반응", "달나라 놈들은 다 꺼져라😡", "others", "hate"),
        ],
    },
    "fake-news": {
        "mission2_train": [
            ("null", "NA", "0"), ("007", "1e5", "1"), ("가족의 날", f"{FAMILY} 행사가 열렸다 {THUMB}", "0"),
            ('"쉼표, 따옴표" 그리고\n줄', '첫 줄, 쉼표.\r\n\r\n둘째 ""겹따옴표"".\n\n  들여 쓴 줄\t탭 ', "0"),
            ("&lt;속보&gt; 쌀 &amp; 꿀", "&quot;값이&nbsp;내렸다&quot;고 한다.<br/>\n(끝) &#128077;", "0"),
            ("(충격) 外界人 발견", "ＵＦＯ를 봤다는 충격적인 소문이 돌았다ㅋㅋ Believe it or not.", "1"),
        ],
    },
    "modu-sentiment": {  # the paragraphs, their scores, the document's score
        "EXSA2002108040": [
            ('"볼 만해요"라고 \\말했다', "\ud83d 반쪽 이모지", "1,1", "1"), ("null", "NA", "", "0,0,0", "0"),
            ("007", "1e5", "2,2", "2"), (f"  최고 {FAMILY} {THUMB}  ", "名作! ＯＳＴ도 good ㅋㅋ", "2,2", "2"),
            ("줄이\n바뀐 문단\t최악", "-2", "-2"),
        ],
    },
}  # fmt: skip
PREDICT_TEXTS = [
    "연기도 연출도 정말 훌륭했다. 또 보고 싶다", "전개가 뻔하고 지루해서 중간에 나왔다", "올해 최고의 영화! 강추ㅋㅋ",
    "핵노잼... 시간 낭비였음", "결말이 전혀 지루하지 않았다", "배우들은 좋지만 각본이 너무 엉성하고 유치했어요",
    "엄마랑 봤는데 눈물이 났어요ㅠㅠ", "돈이 아까웠다;; 비추",
]  # fmt: skip


def make_parts(
    seed: int, task: str, counts: Mapping[str, int], labels: Sequence[str], make: Callable[[random.Random, str], Row],
    texts: slice, taken: set[Row] | None = None,
) -> tuple[dict[str, list[Row]], list[str]]:  # fmt: skip
    """Makes shuffled rows for each file of a task, and returns them with the texts in them.

    counts: the number of rows by file, evaluation files first, so that they do not depend on the training rows.
    make: (random generator, label) -> a row. The labels take turns, and a row whose texts are taken is made again.
    texts: the columns that hold texts. taken: texts that must not occur; all new ones are added.
    The awkward rows are included in the rows but not in the texts, as their rare characters would crowd the vocabulary.
    """
    taken = set() if taken is None else taken
    parts: dict[str, list[Row]] = {}
    plain: list[str] = []
    for name, count in counts.items():
        rng = owned_rng(seed, f"{task}/{name}")
        rows = list(AWKWARD[task].get(name, ()))
        taken.update(row[texts] for row in rows)
        tries = 0
        while len(rows) < count:
            row = make(rng, labels[len(rows) % len(labels)])
            tries = tries + 1 if row[texts] in taken else 0
            if tries == 0:
                taken.add(row[texts])
                rows.append(row)
                plain += row[texts]
            elif tries == 1000:
                raise ValueError(f"{task}/{name}: the grammar makes no more than {len(rows):,} of {count:,} rows")
        rng.shuffle(rows)
        parts[name] = rows
    return parts, plain


def make_nsmc(seed: int, rows: int | None) -> Sample:
    """nsmc: id, document, label (0 negative, 1 positive); a document with a quote is written as in CSV."""
    rng = owned_rng(seed, "nsmc/long")
    long_row = (". ".join(review(rng, "1") for _ in range(200)), "1")
    parts, texts = make_parts(
        seed, "nsmc", {"ratings_test": 400, "ratings_train": (rows or 2000) - 1}, "01",
        lambda rng, label: (review(rng, label), label), slice(0, 1), {(text,) for text in PREDICT_TEXTS},
    )  # fmt: skip
    parts["ratings_train"].append(long_row)
    files = {}
    for name, start in (("ratings_train", 1000001), ("ratings_test", 2000001)):
        written = [(quoted(text), label) for text, label in parts[name]]
        files[f"nsmc/{name}.txt"] = tsv("id document label", numbered(written, start))
    return Sample(files, texts + PREDICT_TEXTS)


def make_kornli(seed: int, rows: int | None) -> Sample:
    """kornli: sentence1, sentence2, gold_label. One row in four has none of the tell-tale words of its label."""

    def maker(style: str) -> Callable[[random.Random, str], Row]:
        def make(rng: random.Random, label: str) -> Row:
            words, hard = scene(rng), "_hard" if rng.random() < 1 / 4 else ""
            return render(f"{{{style}_premise}}", rng, words), render(f"{{{label}{hard}}}", rng, words), label

        return make

    labels = ("entailment", "contradiction", "neutral")
    counts = {"xnli.test.ko": EVAL_ROWS, "xnli.dev.ko": EVAL_ROWS, "multinli.train.ko": rows or 1500}
    taken: set[Row] = set()
    parts, texts = make_parts(seed, "kornli", counts, labels, maker("mnli"), slice(0, 2), taken)
    counts = {"snli_1.0_train.ko": rows or 1500}
    snli, more = make_parts(seed, "kornli", counts, labels, maker("snli"), slice(0, 2), taken)
    header = "sentence1 sentence2 gold_label"
    return Sample({f"kornli/{name}.tsv": tsv(header, part) for name, part in (parts | snli).items()}, texts + more)


def make_paws(seed: int, rows: int | None) -> Sample:
    """paws: id, sentence1, sentence2, label; 0: the two arguments have changed places, 1: a paraphrase."""

    def make(rng: random.Random, label: str) -> Row:
        base = rng.choice(["person", "city"])
        words = {name: rng.choice(RULES[name]) for name in ("person", "city", "year", "post", "skill")}
        x, y = rng.sample(RULES[base], 2)
        first, second = rng.choice(RULES[f"paws_{base}"]).split(" > ")
        mark = f"{{{'same' if label == '1' else 'swap'}_mark}} " if rng.random() < 0.6 else ""
        if label == "1":
            x2, y2 = x, y
        else:
            x2, y2, second = y, x, rng.choice([first, second])
        sentence1 = render(first, rng, words | {"x": x, "y": y})
        return sentence1, render(mark + second, rng, words | {"x": x2, "y": y2}), label

    counts = {"test_2k": EVAL_ROWS, "dev_2k": EVAL_ROWS, "translated_train": rows or 1500}
    parts, texts = make_parts(seed, "paws", counts, "01", make, slice(0, 2))
    header = "id sentence1 sentence2 label"
    return Sample({f"paws/{name}.tsv": tsv(header, numbered(part, 1)) for name, part in parts.items()}, texts)


def make_korsts(seed: int, rows: int | None) -> Sample:
    """korsts: genre, filename, year, id, score, sentence1, sentence2. The score is within 0.4 of the rule's level."""

    def make(rng: random.Random, level: str) -> Row:
        words = scene(rng)
        first, second = render("{sts5}", rng, words), render(f"{{sts{level}}}", rng, words)
        score = int(level) + rng.choice([0, 0, 0.2, 0.25, 0.333, 0.4, -0.2, -0.25, -0.4])
        return first, second, f"{min(5.0, max(0.0, score)):.3f}"

    counts = {"sts-test": EVAL_ROWS, "sts-dev": EVAL_ROWS, "sts-train": rows or 1500}
    parts, texts = make_parts(seed, "korsts", counts, "012345", make, slice(0, 2))
    files = {}
    for name, part in parts.items():
        source = ("main-captions", "MSRvid", "2012test")
        table = [(*source, f"{i:04}", score, a, b) for i, (a, b, score) in enumerate(part)]
        files[f"korsts/{name}.tsv"] = tsv("genre filename year id score sentence1 sentence2", table)
    return Sample(files, texts)


def make_question_pair(seed: int, rows: int | None) -> Sample:
    """question-pair: question1, question2, is_duplicate; 0 means the same, 1 different (as in the real data)."""
    intents = ["how", "want", "hate_it", "fear", "done"]

    def make(rng: random.Random, label: str) -> Row:
        topic, other = rng.sample(RULES["topic"], 2)
        intent = "how" if rng.random() < 0.7 else rng.choice(intents)
        topic2, intent2 = topic, intent
        if label == "1" and rng.random() < 0.2:
            topic2 = other
        elif label == "1":
            topic2, intent2 = rng.choice([topic, other]), rng.choice([name for name in intents if name != intent])
        return render(f"{{{intent}}}", rng, {"t": topic}), render(f"{{{intent2}}}", rng, {"t": topic2}), label

    counts = {"test": EVAL_ROWS, "dev": EVAL_ROWS, "train": rows or 1500}
    parts, texts = make_parts(seed, "question-pair", counts, "01", make, slice(0, 2))
    header = "question1 question2 is_duplicate"
    return Sample({f"question-pair/{name}.tsv": tsv(header, part) for name, part in parts.items()}, texts)


def make_hate_speech(seed: int, rows: int | None) -> Sample:
    """hate-speech: title, comment, bias, hate. The targets are made-up films, dishes and moon people.

    In one row of 25 the comment was written for a different label, because real annotators disagree too.
    """
    rules = {"none": "kind_comment", "offensive": "rude_comment", "hate": "mean_comment"}

    def make(rng: random.Random, written: str) -> Row:
        label = rng.choice(list(rules)) if rng.random() < 0.06 else written
        comment, bias = render(f"{{{rules[written]}}}", rng), "others" if label == "hate" else "none"
        if label != "none" and rng.random() < 0.2:
            comment, bias = render("{gender_comment}", rng, {"x": comment}), "gender"
        return render("{headline}", rng), comment, bias, label

    parts, texts = make_parts(
        seed, "hate-speech", {"val": EVAL_ROWS, "train": rows or 1500}, list(rules), make, slice(1, 2)
    )
    files = {}
    for name, part in parts.items():
        table = [(quoted(title, '",'), quoted(comment), bias, hate) for title, comment, bias, hate in part]
        files[f"hate-speech/{name}.tsv"] = tsv("title comment bias hate", table)
    return Sample(files, texts)


def make_fake_news(seed: int, rows: int | None) -> Sample:
    """fake-news: seqid, title, content, label (1 fake) as CSV; mission2 is UTF-8 with a BOM, mission1 CP949."""

    def make(rng: random.Random, label: str) -> Row:
        count = rng.randint(5, 15)
        false = max(2, count // 3) if label == "1" else 0
        patterns = rng.sample(RULES["news_fact"], count - false) + rng.sample(RULES["news_false"], false)
        if not false and rng.random() < 0.3:  # true articles mention rumours too
            patterns[0] = rng.choice(RULES["news_denial"])
        rng.shuffle(patterns)
        content = rng.choice([" ", " ", "\n", "\n\n"]).join(render(pattern, rng) for pattern in patterns)
        title = render("{clickbait}" if false and rng.random() < 0.6 else "{news_title}", rng)
        return title, content, label

    counts = {"mission2_train": (rows or 300) - 1, "mission1_train": (rows or 100) - 1}
    parts, texts = make_parts(seed, "fake-news", counts, "01", make, slice(0, 2))
    files = {}
    for name, encoding in (("mission2_train", "utf-8-sig"), ("mission1_train", "cp949")):
        rng = owned_rng(seed, f"fake-news/{name}/long")
        long_row = ("서라울 소식 모음", " ".join(render("{news_fact}", rng) for _ in range(150)), "0")
        table = [("seqid", "title", "content", "label"), *numbered([*parts[name], long_row], 1)]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(table)
        files[f"fake_news/{name}.csv"] = file.getvalue().encode(encoding)
    return Sample(files, texts)


def make_modu_sentiment(seed: int, rows: int | None) -> Sample:
    """modu-sentiment: documents of one to six paragraphs, scored -2 to 2; one paragraph in eight deviates by one."""
    graded = {
        "-2": {"adj": "{n2}", "deg": "{deg2}", "react": "{neg_react}", "verdict": "{neg_verdict}"},
        "-1": {"adj": "{n1}", "deg": "{deg1}", "react": "{mild_neg}", "verdict": "{mild_neg}"},
        "1": {"adj": "{p1}", "deg": "{deg1}", "react": "{mild_pos}", "verdict": "{mild_pos}"},
        "2": {"adj": "{p2}", "deg": "{deg2}", "react": "{pos_react}", "verdict": "{pos_verdict}"},
    }

    def make(rng: random.Random, label: str) -> Row:
        drifts = [rng.choice([-1, 1]) if rng.random() < 1 / 8 else 0 for _ in range(rng.randint(1, 6))]
        scores = [str(min(2, max(-2, int(label) + drift))) for drift in drifts]
        forms = [
            render("{plain_core}" if score == "0" else "{review}", rng, graded.get(score))
            + rng.choice(["", ".", "ㅋㅋ"])
            for score in scores
        ]
        return (*forms, ",".join(scores), label)

    name = "EXSA2002108040"
    parts, texts = make_parts(
        seed, "modu-sentiment", {name: rows or 600}, ["-2", "-1", "0", "1", "2"], make, slice(0, -2)
    )
    documents = [
        {
            "id": f"{name}.{i}",
            "metadata": {"movie_id": str(10000 + i)},
            "document_score": int(score),
            "paragraph": [
                {"paragraph_id": f"{name}.{i}.{j}", "paragraph_form": form, "paragraph_score": int(paragraph_score)}
                for j, (form, paragraph_score) in enumerate(zip(forms, scores.split(","), strict=True), 1)
            ],
        }
        for i, (*forms, scores, score) in enumerate(parts[name], 1)
    ]
    metadata = {"title": "규칙으로 지은 감성 문서 (국립국어원 말뭉치가 아님)"}
    content = {"id": name, "metadata": metadata, "document": documents}
    return Sample({f"modu_sentiment/{name}.json": json_file(content)}, texts)
