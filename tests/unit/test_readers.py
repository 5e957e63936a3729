"""Readers of the eight tasks' files: rows as they stand in the file, and an error with its place for what is none."""

import json
from collections import Counter
from pathlib import Path

import pytest

from processors import TASKS
from processors.task import DataError, Rows, read_text

DATA = Path(__file__).parents[3] / "shared" / "data"
KEPT, DROPPED = "rows with an empty text kept", "rows with an empty text dropped"
HEADERS = {
    "nsmc": "id\tdocument\tlabel",
    "kornli": "sentence1\tsentence2\tgold_label",
    "paws": "id\tsentence1\tsentence2\tlabel",
    "korsts": "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2",
    "question-pair": "question1\tquestion2\tis_duplicate",
    "hate-speech": "title\tcomment\tbias\thate",
}
NSMC = HEADERS["nsmc"] + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.txt"


def read(task: str, path: Path, content: str | bytes, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TASKS[task].read(TASKS[task], path, encoding, skip_bad_rows)


def problem(task: str, path: Path, content: str | bytes, encoding: str = "utf-8", skip_bad_rows: bool = False) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        read(task, path, content, encoding, skip_bad_rows)
    return str(error.value).replace(str(path), path.name)


def texts(path: Path, content: str | bytes, encoding: str = "utf-8") -> list[str]:
    return read("nsmc", path, content, encoding).first


# --------------------------------------------------------------------------------------------------------------------
# Tab-separated files
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task, lines, first, second, labels, counts",
    [
        ("nsmc", ["7\t좋다\t1", "8\t\t0"], ["좋다", ""], None, [1, 0], {KEPT: 1}),
        ("kornli", ["가\t나\tneutral", "다\t\tcontradiction"], ["가", "다"], ["나", ""], [2, 0], {KEPT: 1}),
        ("paws", ["1\t가\t나\t1", "2\t\t나\t0", "3\t다\t \t0"], ["가"], ["나"], [1], {DROPPED: 2}),
        (
            "korsts",
            ["g\tf\t2012\t1\t3.800\t가\t나", "g\tf\t1\t1\t5\t다\t"],
            ["가", "다"],
            ["나", ""],
            [3.8, 5],
            {KEPT: 1},
        ),
        ("question-pair", ["가\t나\t1", "\t나\t0", "다\t라\t0"], ["가", "다"], ["나", "라"], [1, 0], {DROPPED: 1}),
        ("hate-speech", ["제목\t댓글\tothers\toffensive", "\t둘\tnone\tnone"], ["댓글", "둘"], None, [1, 0], {}),
    ],
)
def test_rows_of_each_format(task: str, lines: list, first: list, second: list, labels: list, counts: dict, file: Path):
    rows = read(task, file, "\n".join([HEADERS[task], *lines]) + "\n")
    assert (rows.first, rows.second, rows.labels) == (first, second, labels)
    assert [type(label) for label in rows.labels] == [float if task == "korsts" else int] * len(labels)
    assert dict(rows.counts) == counts


AWKWARD = [
    "null",
    "NA",
    "NaN",
    "007",
    '"따옴표',
    '그는 ""정말""이라고',
    "'",
    "😀👨‍👩‍👧 ㅋㅋ",
    "한 줄\u2028두 줄\u2029세\u0085네\x0b다\x0c라\x1c마",
    " 앞뒤 ",
    "\\n \\t",
    "#",
    "a,b;c|d",
    "\x00",
    "각",
    "가" * 100_000,
]


def test_texts_stay_as_they_are(file: Path):
    content = NSMC + "".join(f"{number}\t{text}\t0\n" for number, text in enumerate(AWKWARD))
    assert texts(file, content) == AWKWARD
    assert texts(file, content.replace("\n", "\r\n")) == AWKWARD
    assert texts(file, "\ufeff" + content) == AWKWARD
    assert texts(file, content[:-1]) == AWKWARD  # the last line without its end
    assert texts(file, content + "\n\r\n\n") == AWKWARD  # blank lines at the end


def test_lines_are_counted_as_editors_do(file: Path):
    content = NSMC + "1\t한 줄\u2028두 줄\u0085세 줄\t0\n2\t좋다\n"
    assert problem("nsmc", file, content).startswith("data.txt:3: 2 columns instead of 3 (id, document, label)")


@pytest.mark.parametrize(
    "line, what",
    [
        ("1\t좋다", "2 columns instead of 3 (id, document, label)"),
        ("1\t좋\t다\t0", "4 columns instead of 3 (id, document, label)"),
        ("", "1 column instead of 3 (id, document, label); the line is blank"),
        (
            '1\t"탭이\t있다"\t0',
            "4 columns instead of 3 (id, document, label); "
            "a quoted text may hold no separator here: quotes are part of the text",
        ),
        ("1\t좋다\t2", "unknown label '2': known are 0, 1"),
        ("1\t좋다\t", "unknown label '': known are 0, 1"),
        ("1\t좋다\t" + "3" * 99, "unknown label '" + "3" * 40 + "': known are 0, 1"),
    ],
)
def test_malformed_rows(line: str, what: str, file: Path):
    content = f"{NSMC}0\t가\t1\n{line}\n2\t나\t0\n"
    assert problem("nsmc", file, content) == f"data.txt:3: {what}"
    rows = read("nsmc", file, content, skip_bad_rows=True)
    assert (rows.first, rows.labels) == (["가", "나"], [1, 0])
    assert dict(rows.counts) == {f"malformed rows left out (first {file}:3: {what})": 1}


@pytest.mark.parametrize(
    "score, what",
    [
        ("셋", "the score '셋' is not a number"),
        ("", "the score '' is not a number"),
        ("3,5", "the score '3,5' is not a number"),
        ("nan", "the score nan is not between 0 and 5"),
        ("inf", "the score inf is not between 0 and 5"),
        ("6", "the score 6 is not between 0 and 5"),
        ("-0.1", "the score -0.1 is not between 0 and 5"),
    ],
)
def test_scores_of_korsts(score: str, what: str, file: Path):
    assert problem("korsts", file, f"{HEADERS['korsts']}\ng\tf\ty\ti\t{score}\t가\t나\n") == f"data.txt:2: {what}"


def test_five_malformed_rows_are_shown_and_the_others_counted(file: Path):
    bad = [f"{number}\t가\t9\n" for number in range(7)]
    lines = problem("nsmc", file, NSMC + "0\t나\t0\n" + "".join(bad)).split("\n")
    assert lines[:5] == [f"data.txt:{line}: unknown label '9': known are 0, 1" for line in range(3, 8)]
    assert lines[5:] == ["... and 2 more malformed rows in data.txt (--skip_bad_rows leaves them out)"]
    assert len(problem("nsmc", file, NSMC + "".join(bad[:5])).split("\n")) == 5
    rows = read("nsmc", file, NSMC + "0\t나\t0\n" + "".join(bad), skip_bad_rows=True)
    assert (rows.first, list(rows.counts.values())) == (["나"], [7])


@pytest.mark.parametrize(
    "header, what",
    [
        ("1\t좋다\t0", "the header line is missing: expected id document label (tab-separated), found '1 좋다 0'"),
        ("label\tid\tdocument", "the columns are in a different order: label id document; expected id document label"),
        ("id\tdocument", "the header is 'id document'; expected id document label (tab-separated)"),
        ("id,document,label", "the header line is missing: expected id document label (tab-separated)"),
        ("id\tdocument\tlabel\tx", "the header is 'id document label x'; expected id document label"),
        (
            "<!DOCTYPE html>" + "x" * 200,
            "the header line is missing: expected id document label (tab-separated)",
        ),
    ],
)
def test_headers(header: str, what: str, file: Path):
    found = problem("nsmc", file, f"{header}\n1\t좋다\t0\n")
    assert found.startswith(f"data.txt:1: {what}")
    assert len(found) < 250


def test_files_without_rows(file: Path):
    assert problem("nsmc", file, "") == "data.txt: there is nothing in it"
    assert problem("nsmc", file, b"\xef\xbb\xbf\r\n \n") == "data.txt: there is nothing in it"
    assert problem("nsmc", file, NSMC) == "data.txt: no rows, only a header"
    only_bad = problem("nsmc", file, NSMC + "1\t가\n", skip_bad_rows=True)
    assert only_bad.startswith("data.txt: no rows are left (malformed rows left out (first ")
    assert problem("paws", file, HEADERS["paws"] + "\n1\t\t나\t0\n") == f"data.txt: no rows are left ({DROPPED}: 1)"


def test_missing_files(tmp_path: Path):
    (tmp_path / "ratings_train.tsv").touch()
    with pytest.raises(DataError, match=r"/ratings_train\.txt: no such file; the folder holds ratings_train\.tsv$"):
        read_text(tmp_path / "ratings_train.txt")
    with pytest.raises(DataError, match=r"/nsmc/x: no such file; there is no such folder$"):
        read_text(tmp_path / "nsmc" / "x")
    with pytest.raises(DataError, match=r": is a folder, a file is expected$"):
        read_text(tmp_path)


# --------------------------------------------------------------------------------------------------------------------
# Encodings
# --------------------------------------------------------------------------------------------------------------------


def test_cp949_is_recognised_and_read(file: Path):
    korean = (NSMC + "1\t좋다\t1\n2\t똠방각하\t0\n").encode("cp949")
    found = problem("nsmc", file, korean)
    # The header is 18 bytes and "1\t" two more; the first byte of 좋 is no start of a UTF-8 character.
    assert (
        found
        == "data.txt:2: not UTF-8 at byte 20; the whole file reads as CP949: --encoding cp949, or convert it with iconv"
    )
    assert texts(file, korean, "cp949") == ["좋다", "똠방각하"]
    found = problem("nsmc", file, (NSMC + "1\t각\t1\n").encode(), "cp949")
    assert (
        found.endswith("the whole file reads as UTF-8: --encoding utf-8, or convert it with iconv")
        and ":2: not CP949 at byte" in found
    )


@pytest.mark.parametrize(
    "content, what",
    [
        (NSMC.encode() + b"1\tgood\t1\n2\t\xff\t0\n", ":3: not UTF-8 at byte 29"),
        # The offset counts the byte order mark, as an editor of bytes does.
        (b"\xef\xbb\xbf" + NSMC.encode() + b"1\tgood\t1\n2\t\xff\t0\n", ":3: not UTF-8 at byte 32"),
        ((NSMC + "1\t좋다\t0").encode()[:-3], ":2: not UTF-8 at byte 23"),
        ((NSMC + "1\t좋다\t0").encode("utf-16"), ": is UTF-16; save it as UTF-8"),
        (b"\xed\xa0\xbd", ":1: not UTF-8 at byte 0"),
    ],
    ids=["one byte", "after a BOM", "cut off", "UTF-16", "half a surrogate pair"],
)
def test_other_encodings(content: bytes, what: str, file: Path):
    assert problem("nsmc", file, content).removesuffix(
        "; the whole file reads as CP949: --encoding cp949, or convert it with iconv"
    ) == (f"data.txt{what}")


# --------------------------------------------------------------------------------------------------------------------
# fake-news (CSV) and modu-sentiment (JSON)
# --------------------------------------------------------------------------------------------------------------------

CSV = "seqid,title,content,label\n"
NO_CSV = "the row that starts here is not valid CSV"


@pytest.mark.parametrize("label", ["label", "Label"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_fake_news(label: str, line_end: str, file: Path):
    content = (
        f'\ufeffseqid,title,content,{label}\n1,"제목, 하나","그가 ""정말""이라고\n말했다",0\n2,,\t,1\n3,null,007,1\n\n'
    )
    rows = read("fake-news", file, content.replace("\n", line_end))
    assert rows.first == [f'제목, 하나 그가 "정말"이라고{line_end}말했다', " \t", "null 007"]
    assert (rows.second, rows.labels, dict(rows.counts)) == (None, [0, 1, 1], {KEPT: 1})


@pytest.mark.parametrize(
    "content, what",
    [
        ("title,content\n가,나\n", "1: the header has no column label: it is 'title,content'"),
        ("Title,body,LABEL\n", "1: the header has no column title, content, label: it is 'Title,body,LABEL'"),
        (CSV + "1,가,나,0\n2,가,나\n", "3: 3 columns instead of 4 (seqid, title, content, label)"),
        (CSV + "1,가,나,다,0\n", "2: 5 columns instead of 4 (seqid, title, content, label)"),
        (CSV + "1,가,나,2\n", "2: unknown label '2': known are 0, 1"),
        (CSV + '1,"두\n줄",나,0\n2,가,나,x\n', "4: unknown label 'x': known are 0, 1"),
        (
            CSV + '1,가,나,0\n2,"끝이\n없다,나,1\n',
            f"3: {NO_CSV}: unexpected end of data",
        ),
        (CSV + '1,"가"나,다,0\n', f"2: {NO_CSV}: ',' expected after '\"'"),
        ('"seqid,title,content,label\n', f"1: {NO_CSV}: unexpected end of data"),
        (
            CSV + "1,가,나,0\n\n2,가,나,1\n",
            "3: 1 column instead of 4 (seqid, title, content, label); the line is blank",
        ),
    ],
)
def test_csv_that_is_refused(content: str, what: str, file: Path):
    assert problem("fake-news", file, content) == f"data.txt:{what}"


def test_a_long_field_of_a_csv_file(file: Path):
    assert read("fake-news", file, CSV + f"1,가,{'나' * 200_000},0\n").first == ["가 " + "나" * 200_000]


def modu(*documents: object) -> str:
    return json.dumps({"document": documents})


def document(score: object = 1, *forms: object, **other: object) -> dict:
    return {"id": "D1", "document_score": score, "paragraph": [{"paragraph_form": form} for form in forms]} | other


def test_modu_sentiment(file: Path):
    rows = read(
        "modu-sentiment", file, modu(document(-2, "하나", "둘"), document(2, "셋\n넷"), document(0), document(1, ""))
    )
    assert rows.first == ["하나 둘", "셋\n넷", "", ""]
    assert (rows.second, rows.labels, dict(rows.counts)) == (None, [0, 4, 2, 3], {KEPT: 2})


def test_lone_surrogates(file: Path):
    content = modu(document(1, "\ud83d", "가\ude00나"), document(1, "😀"), document(1, "\ude00\ud83d"))
    assert "\\ud83d" in content  # as JSON spells them
    rows = read("modu-sentiment", file, content)
    assert rows.first == ["\ufffd 가\ufffd나", "😀", "\ufffd\ufffd"]
    assert dict(rows.counts) == {"texts with a lone surrogate, replaced by U+FFFD": 2}
    rows.first[0].encode()


@pytest.mark.parametrize(
    "content, what",
    [
        ("[]", ': no documents: an object with a list "document" is expected'),
        ("{}", ': no documents: an object with a list "document" is expected'),
        ('{"document": {}}', ': no documents: an object with a list "document" is expected'),
        (modu(), ': no documents: an object with a list "document" is expected'),
        ('{"document":\n [}', ":2: not valid JSON: Expecting value (column 3)"),
        ('{"document": [' + "9" * 5000 + "]}", ": a number has thousands of digits, or brackets are nested too deep"),
        ("[" * 100_000, ": a number has thousands of digits, or brackets are nested too deep"),
        (modu(document(1, "가"), "나"), ": document[1]: is no object"),
        (modu(None), ": document[0]: is no object"),
        (modu({"id": "D1", "paragraph": []}), ": document[0]: no key 'document_score'"),
        (modu({"id": "D1", "document_score": 1}), ": document[0]: no key 'paragraph'"),
        (modu({"document_score": 1, "paragraph": []}), ": document[0]: no key 'id'"),
        (modu(document(paragraph="가")), ': document[0]: "paragraph" is no list'),
        (modu(document(paragraph=["가"])), ': document[0]: paragraph[0] has no text "paragraph_form"'),
        (modu(document(paragraph=[{}])), ': document[0]: paragraph[0] has no text "paragraph_form"'),
        (modu(document(1, "가", None)), ': document[0]: paragraph[1] has no text "paragraph_form"'),
        (modu(document(3, "가")), ": document D1: unknown label '3': known are -2, -1, 0, 1, 2"),
        (modu(document(None, "가")), ": document D1: unknown label 'None': known are -2, -1, 0, 1, 2"),
        (modu(document(0.5, "가")), ": document D1: unknown label '0.5': known are -2, -1, 0, 1, 2"),
        (modu(document(True, "가")), ": document D1: unknown label 'True': known are -2, -1, 0, 1, 2"),
    ],
)
def test_modu_that_is_refused(content: str, what: str, file: Path):
    assert problem("modu-sentiment", file, content) == f"data.txt{what}"


def test_modu_leaves_malformed_documents_out(file: Path):
    rows = read("modu-sentiment", file, modu(document(9, "가"), document(1, "나"), 5), skip_bad_rows=True)
    assert (rows.first, rows.labels, list(rows.counts.values())) == (["나"], [3], [2])


# --------------------------------------------------------------------------------------------------------------------
# Real files
# --------------------------------------------------------------------------------------------------------------------

REAL = {
    "nsmc/ratings_train.txt": ("nsmc", 150_000),
    "nsmc/ratings_test.txt": ("nsmc", 25_000),
    "kornli/xnli.dev.ko.tsv": ("kornli", 2_490),
    "kornli/xnli.test.ko.tsv": ("kornli", 5_010),
    "kornli_small/train.tsv": ("kornli", 5_250),
    "paws/dev_2k.tsv": ("paws", 2_000),
    "paws/test_2k.tsv": ("paws", 2_000),
    "korsts/sts-train.tsv": ("korsts", 5_749),
    "korsts/sts-dev.tsv": ("korsts", 1_500),
    "korsts/sts-test.tsv": ("korsts", 1_379),
    "question-pair/train.tsv": ("question-pair", 6_136),
    "question-pair/dev.tsv": ("question-pair", 682),
    "question-pair/test.tsv": ("question-pair", 758),
    "hate-speech/train.tsv": ("hate-speech", 7_896),
    "hate-speech/val.tsv": ("hate-speech", 471),
    "fake_news/mission1_test.csv": ("fake-news", 100),
    "fake_news/mission2_test.csv": ("fake-news", 100),
    "modu_sentiment/EXSA2002108040.json": ("modu-sentiment", 2_000),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str):
    if not (DATA / name).is_file():
        pytest.skip("the real data is not here")
    task, count = REAL[name]
    encoding = "cp949" if "mission1" in name else "utf-8"
    rows = TASKS[task].read(TASKS[task], DATA / name, encoding)
    assert len(rows) + rows.counts[DROPPED] == count
    assert len(rows.first) == len(rows.labels) == len(rows.second or rows.first)
    assert not any("\n" in text for text in rows.first) or task == "fake-news"
    if task == "korsts":
        assert min(rows.labels) == 0 and max(rows.labels) == 5
    else:
        assert set(Counter(rows.labels)) == set(range(len(TASKS[task].labels)))
