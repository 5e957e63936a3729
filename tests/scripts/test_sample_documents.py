"""The sample data of tydiqa and korquad-2: the official formats, every answer where its offsets say, and each of the
awkward cases really there. Nothing of `processors/` reads the files here."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conftest import REPOSITORY, snapshot
from sample_data.sample_grammar import RULES

TYDIQA = {"train": 930, "dev": 120}
KORQUAD_2 = {"train": 900, "dev": 120}
NO_SPAN = {"plaintext_start_byte": -1, "plaintext_end_byte": -1}
VOID = {"br", "meta", "link", "img", "hr"}


def make(folder: Path, *words: str, hash_seed: str = "0") -> dict[str, bytes]:
    """The files of both tasks."""
    script = str(REPOSITORY / "scripts" / "make_sample_data.py")
    command = [sys.executable, script, "--output_dir", str(folder), "--tasks", "tydiqa", "korquad-2", *words]
    subprocess.run(
        command, check=True, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, timeout=120
    )
    return {name: body for name, body in snapshot(folder).items() if name.startswith(("tydiqa/", "korquad_2/"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return make(folder)


def rows(content: bytes) -> list[dict]:
    """The lines of a JSON Lines file, split on line feeds alone."""
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content[:-1].split(b"\n")]


def documents(files: dict[str, bytes], part: str) -> list[dict]:
    found = [json.loads(body) for name, body in files.items() if name.startswith(f"korquad_2/{part}/")]
    return [entry for content in found for entry in content["data"]]


def minimal(row: dict) -> list[bytes | None]:
    """What each annotator marked, cut out of the UTF-8 bytes."""
    data, found = row["document_plaintext"].encode(), []
    for annotation in row["annotations"]:
        start, end = (annotation["minimal_answer"][f"plaintext_{side}_byte"] for side in ("start", "end"))
        found.append(None if start == -1 else data[start:end])
    return found


def spans(row: dict) -> list[tuple[int, int]]:
    """Bytes of the marked answers."""
    marked = [annotation["minimal_answer"] for annotation in row["annotations"]]
    return [(span["plaintext_start_byte"], span["plaintext_end_byte"]) for span in marked if span != NO_SPAN]


class Tags(HTMLParser):
    """Texts, attributes and the deepest nesting of tables of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.texts: list[str] = []
        self.attributes: Counter[str] = Counter()
        self.open: list[str] = []
        self.tables = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.update(name for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.tables = max(self.tables, self.open.count("table"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_files_sizes_and_the_same_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    assert set(files) == {
        "tydiqa/tydiqa-v1.0-train.jsonl", "tydiqa/tydiqa-v1.0-dev.jsonl", "tydiqa/tydiqa-v1.0-dev.jsonl.gz",
        "korquad_2/train/korquad2.1_train_00.json", "korquad_2/train/korquad2.1_train_01.json",
        "korquad_2/dev/korquad2.1_dev_00.json",
    }  # fmt: skip
    assert sum(map(len, files.values())) <= 3_000_000
    packed = files["tydiqa/tydiqa-v1.0-dev.jsonl.gz"]
    assert gzip.decompress(packed) == files["tydiqa/tydiqa-v1.0-dev.jsonl"]
    assert packed[4:8] == bytes(4)  # no time
    assert make(tmp_path / "again", hash_seed="4242") == files
    other = make(tmp_path / "other", "--seed", "7")
    assert set(other) == set(files) and not [name for name in files if files[name] == other[name]]


@pytest.mark.parametrize("count", [40, 100])
def test_rows_change_the_training_files_alone(files: dict[str, bytes], tmp_path: Path, count: int) -> None:
    small = make(tmp_path, "--rows", str(count))
    assert {name for name in files if small[name] != files[name]} == {name for name in files if "train" in name}
    assert len(rows(small["tydiqa/tydiqa-v1.0-train.jsonl"])) == count
    assert sum(len(entry["qas"]) for entry in documents(small, "train")) == count


@pytest.mark.parametrize("part", TYDIQA)
def test_tydiqa_format(files: dict[str, bytes], part: str) -> None:
    found = rows(files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"])
    assert len(found) == TYDIQA[part] and len({row["example_id"] for row in found}) == len(found)
    for row in found:
        assert set(row) == {
            "annotations", "document_plaintext", "document_title", "document_url", "example_id", "language",
            "passage_answer_candidates", "question_text",
        }  # fmt: skip
        assert len(row["annotations"]) == {"train": 1, "dev": 3}[part]
        data = row["document_plaintext"].encode()
        passages = []
        for passage in row["passage_answer_candidates"]:
            passages.append((passage["plaintext_start_byte"], passage["plaintext_end_byte"]))
            assert b"\n" not in data[slice(*passages[-1])].decode().encode() != b""
        assert [data[slice(*passage)] for passage in passages] == [line for line in data.split(b"\n") if line]
        for annotation in row["annotations"]:
            assert set(annotation) == {"annotation_id", "minimal_answer", "passage_answer", "yes_no_answer"}
            index, yes_no = annotation["passage_answer"]["candidate_index"], annotation["yes_no_answer"]
            assert -1 <= index < len(passages) and yes_no in ("NONE", "YES", "NO")
            assert annotation["minimal_answer"] == NO_SPAN or (index >= 0 and yes_no == "NONE")
            assert index >= 0 or yes_no == "NONE"
            if annotation["minimal_answer"] != NO_SPAN:
                start, end = (annotation["minimal_answer"][f"plaintext_{side}_byte"] for side in ("start", "end"))
                assert passages[index][0] <= start < end <= passages[index][1]
                assert data[:start].decode() + data[start:end].decode() + data[end:].decode() == data.decode()
    assert any(annotation["annotation_id"] >= 2**63 for row in found for annotation in row["annotations"])


@pytest.mark.parametrize("part", TYDIQA)
def test_tydiqa_answers_answer(files: dict[str, bytes], part: str) -> None:
    """The value stands where the offsets say, and beside the word that the question asks for."""
    near = Counter()
    for row in rows(files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"]):
        asked = re.search("고향|직업|데뷔|감독|주연|개봉|관객|인구|면적|특산물|시장", row["question_text"])
        if asked and spans(row) and len(row["question_text"]) < 60:
            data, (start, end) = row["document_plaintext"].encode(), spans(row)[0]
            before, after = data[:start].decode(), data[end:].decode()
            sentence = re.split(r"[.\n]", before)[-1] + data[start:end].decode() + re.split(r"[.\n]", after)[0]
            near[asked[0] in sentence] += 1
    assert near[True] > 40 and not near[False]


@pytest.mark.parametrize("part", TYDIQA)
def test_tydiqa_awkward_cases(files: dict[str, bytes], part: str) -> None:
    content = files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"]
    everything = rows(content)
    korean = [row for row in everything if row["language"] == "korean"]
    assert len({row["language"] for row in everything}) == 7 and len(korean) > 0.9 * len(everything)
    pieces = "\u2028 \x85 \u200d \U0001f3fb \u1161 🦕" + " 首爾 ＡＢＣ" * (part == "train")
    assert all(piece.encode() in content for piece in pieces.split(" "))
    assert len(content.decode().splitlines()) > len(everything)  # not the way to read it
    said = [{annotation["yes_no_answer"] for annotation in row["annotations"]} for row in korean]
    assert {"YES"} in said and {"NO"} in said
    unanswerable = [row for row, answers in zip(korean, said, strict=True) if answers == {"NONE"} and not spans(row)]
    assert 0.08 < len(unanswerable) / len(korean) < 0.25
    passages = [
        {annotation["passage_answer"]["candidate_index"] >= 0 for annotation in row["annotations"]}
        for row in unanswerable
    ]
    assert {False} in passages and any(True in found for found in passages)
    kinds = Counter()
    for row in korean:
        data = row["document_plaintext"].encode()
        for start, end in spans(row):
            kinds["first"] += start == 0
            kinds["last"] += end == len(data)
            kinds["again"] += data.index(data[start:end]) < start
            kinds["beyond the basic plane"] += any(ord(char) > 0xFFFF for char in data[start:end].decode())
            lengths = {len(char.encode()) for char in data[:start].decode()}
            kinds["one to four bytes"] += lengths == {1, 2, 3, 4}
            kinds["amid a word"] += data[end:].decode()[:1].isalpha()
    assert min(kinds.values()) > 0 and len(kinds) == 6
    if part == "dev":
        assert {"NONE", "YES"} in said  # one says yes, two mark a span
        marked = [minimal(row) for row in korean]
        assert {0, 1, 2, 3} == {sum(text is None for text in texts) for texts in marked}
        assert any(len(set(texts) - {None}) > 1 for texts in marked)  # of different length
        assert any(len(set(spans(row))) > 1 and len(set(minimal(row)) - {None}) == 1 for row in korean)  # elsewhere


def test_documents_are_long_and_in_one_part_only(files: dict[str, bytes]) -> None:
    texts = {part: [row["document_plaintext"] for row in rows(files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"])
                    if row["language"] == "korean"] for part in TYDIQA}  # fmt: skip
    pages = {part: [entry["context"] for entry in documents(files, part)] for part in KORQUAD_2}
    for part in ("train", "dev"):
        for found in (texts[part], pages[part]):
            assert sum(14_000 < len(text) for text in found) == 1
            assert sum(300 <= len(text) <= 3_000 for text in found) > 0.75 * len(found)
            assert any(1_000 < len(text) < 3_500 for text in found)
    for found in (texts, pages):
        assert not {text for text in found["train"] if len(text) > 100} & set(found["dev"])


@pytest.mark.parametrize("part", KORQUAD_2)
def test_korquad_2_format(files: dict[str, bytes], part: str) -> None:
    for name, body in files.items():
        if name.startswith(f"korquad_2/{part}"):
            assert set(json.loads(body)) == {"version", "data"}
    found = documents(files, part)
    ids = [qa["id"] for entry in found for qa in entry["qas"]]
    assert len(ids) == len(set(ids)) == KORQUAD_2[part] and all(isinstance(each, str) for each in ids)
    for entry in found:
        assert set(entry) == {"title", "url", "context", "raw_html", "qas"} and entry["qas"]
        for qa in entry["qas"]:
            assert set(qa) == {"question", "id", "answer"}
            answer = qa["answer"]
            assert set(answer) == {"text", "answer_start", "html_answer_text", "html_answer_start"}
            for page, text, start in (
                (entry["context"], answer["text"], answer["answer_start"]),
                (entry["raw_html"], answer["html_answer_text"], answer["html_answer_start"]),
            ):
                assert text and page[start : start + len(text)] == text
        context, raw = Tags(entry["context"]), Tags(entry["raw_html"])
        assert context.texts == raw.texts and context.open == raw.open == []
        assert set(context.attributes) <= {"colspan", "rowspan"}
        assert all(raw.attributes[name] == context.attributes[name] for name in ("colspan", "rowspan"))


@pytest.mark.parametrize("part", KORQUAD_2)
def test_korquad_2_awkward_cases(files: dict[str, bytes], part: str) -> None:
    kinds, page_kinds = Counter(), Counter()
    for entry in documents(files, part):
        context = entry["context"]
        tags = Tags(context)
        page_kinds["tables in tables"] += tags.tables > 1
        page_kinds["rowspan"] += tags.attributes["rowspan"] > 0
        page_kinds["colspan"] += tags.attributes["colspan"] > 0
        page_kinds["layout"] += all(
            tag in context for tag in ("<div>", "<span>", "<a>", "<b>" if part == "" else "<p>")
        )
        page_kinds["title"] += re.search("<title>[^<]+</title>", context) is not None
        page_kinds["edit"] += "<span>[</span><a>편집</a><span>]</span>" in context
        page_kinds["list"] += "<li>" in context
        page_kinds["attributes"] += 'class="' in entry["raw_html"]
        for qa in entry["qas"]:
            text, start = qa["answer"]["text"], qa["answer"]["answer_start"]
            end, before = start + len(text), context[:start]
            inside = before.count("<table>") - before.count("</table>")
            kinds["first"] += start == 0
            kinds["last"] += end == len(context)
            kinds["a table"] += text.startswith("<table>") and text.endswith("</table>")
            kinds["a cell with its tags"] += re.fullmatch(r"<td[^>]*>.*</td>", text) is not None
            kinds["in a table"] += inside == 1
            kinds["in a table in a table"] += inside == 2
            kinds["across tags"] += re.search("[^<>]</?[abi]>[^<>]", text) is not None
            kinds["tags that do not pair"] += len(re.findall(r"<\w", text)) != text.count("</") and "<br" not in text
            kinds["again"] += context.index(text) < start
            kinds["after an edit mark"] += "편집</a>" in before
            if part == "train":
                kinds["a list"] += text.startswith("<ul>")
                kinds["over an edit mark"] += "편집" in text
                kinds["runs of spaces before"] += before.endswith("\n  ")
                kinds["runs of spaces in it"] += "\n\n  " in text
                kinds["entity"] += "&amp;" in text
                kinds["in the title, too"] += f"<title>{text}" in before
                kinds["beyond the basic plane before"] += any(ord(char) > 0xFFFF for char in before)
    assert not [kind for kind, count in (kinds + page_kinds).items() if count == 0]
    assert len(page_kinds) == 8 and len(+page_kinds) == 8, page_kinds
    assert len(+kinds) == len(kinds) == (17 if part == "train" else 10), kinds


def test_marks_may_nest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    from sample_data.sample_korquad_2 import without_attributes
    from sample_data.sample_pages import located

    marked = '⟦1|<td class="a" rowspan="2">⟦0|가람⟧<br/>시</td>⟧ 2 &lt; 3⟦2|.⟧'
    plain = '<td rowspan="2">가람<br>시</td> 2 &lt; 3.'
    assert located(without_attributes(marked)) == (
        plain, {0: ("가람", 16), 1: (plain[:-len(" 2 &lt; 3.")], 0), 2: (".", len(plain) - 1)}
    )  # fmt: skip


def test_no_text_shows_the_grammar(files: dict[str, bytes]) -> None:
    texts = [row[key] for part in TYDIQA for row in rows(files[f"tydiqa/tydiqa-v1.0-{part}.jsonl"])
             for key in ("document_plaintext", "question_text")]  # fmt: skip
    for part in KORQUAD_2:
        for entry in documents(files, part):
            texts += [entry["raw_html"], entry["context"], *(qa["question"] for qa in entry["qas"])]
    assert not [text for text in texts if re.search(r"[{}⟦⟧|]|[가-힣]=", text)]
    assert not [text for text in texts if any(f"{{{name}}}" in text for name in RULES)]


def test_the_vocabulary_has_the_words(folder: Path, files: dict[str, bytes]) -> None:
    """It is not trained on these texts, but they are made of the same words."""
    from transformers import AutoTokenizer

    tokenizer, whole = AutoTokenizer.from_pretrained(folder / "tiny-electra"), Counter()
    cases = []
    for row in rows(files["tydiqa/tydiqa-v1.0-train.jsonl"]):
        if row["language"] == "korean" and spans(row):
            text = row["document_plaintext"]
            cases.append((text, minimal(row)[0].decode(), len(text.encode()[: spans(row)[0][0]].decode())))
    cases += [(entry["context"], qa["answer"]["text"], qa["answer"]["answer_start"])
              for entry in documents(files, "train") for qa in entry["qas"]]  # fmt: skip
    unknown = total = 0
    for text, answer, start in cases:
        found = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
        unknown, total = unknown + found["input_ids"].count(1), total + len(found["input_ids"])
        ends = {end for _, end in found["offset_mapping"]}
        whole[any(first == start for first, _ in found["offset_mapping"]) and start + len(answer) in ends] += 1
    assert unknown < 0.005 * total
    assert whole[True] > 0.85 * whole.total() and whole[False]
