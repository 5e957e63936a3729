"""KorQuAD 2.1: reads its folders of JSON files, whose contexts are whole HTML pages. https://korquad.github.io

As in KoBigBird, tags that carry no structure are removed from a page. Every answer's span is adjusted to that, and then
compared with the answer's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from processors.qa.answer_scores import UNFINISHED_TAG
from processors.qa.nearly_right import KORQUAD_2, about_content, other_name, parse_questions
from processors.qa.questions import (
    UNANSWERABLE,
    UNREAD,
    Malformed,
    OffsetReport,
    Questions,
    answer_start,
    check_any_left,
    count_shown,
    name_of,
    question_id,
    questions_in,
    shown,
    text_of,
)
from processors.task import BadRows, DataError, Task, check_is_file, names_in, place_of, read_text

# The tags of tables and lists are kept: they tell in which cell or item a text stands, and an answer may include them.
# All other tags of HTML and MathML are removed. A name in neither list is text and not a tag (<서울>, <Help!>).
KEPT_TAGS = "table caption tr td th ul ol li dl dt dd".split()
LAYOUT_TAGS = """
    a abbr address area article aside audio b base bdi bdo big blockquote body br button canvas center cite code col
    colgroup data datalist del details dfn dialog div em embed fieldset figcaption figure font footer form frame
    frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd label legend link main map mark
    menu meta meter nav nobr noscript object optgroup option output p param picture pre progress q rb rp rt rtc ruby s
    samp script section select small source span strike strong style sub summary sup svg tbody template textarea tfoot
    thead time title track tt u var video wbr
    annotation maction math menclose merror mfenced mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts
    mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none semantics
""".split()
CONTAINERS = ("table", "ul", "ol", "dl")  # those of the kept tags that HTML always closes

MARKUP = re.compile(
    r"<!--(?:-?>|.*?(?:-->|\Z))|<![a-z][^<>]*>"
    r"|<title\b[^<>]*>[^<]*</title\s*>"
    rf"|</?(?:{'|'.join(LAYOUT_TAGS)})(?=[\s/>])[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
# [편집] (edit) was <span>[</span><a>편집</a><span>]</span>. Only the first letter of the attributes is kept: <td r2">.
EDIT_LINK_OR_ATTRIBUTE = re.compile(r'\[편집\]|(?<=\br)owspan="|(?<=\bc)olspan="')
RUN = re.compile(r"(?<= ) +|(?<=\n)\n+")  # a run of spaces or line ends, except for its first character
CONTAINER_TAG = re.compile(rf"<(/?)({'|'.join(CONTAINERS)})(?=[\s/>])", re.IGNORECASE)

VANISHED = "answers of which nothing is left without the tags, of no use in training"
UNVERIFIED = "answers that are another text where they should be without the tags, of no use in training"
NEVER_CLOSES = "documents whose HTML never closes, read as they are"
BROKEN_FILES = "files left out whole: how many questions they had cannot be known"
NOT_FIRST = "questions that are not the first of their document, left out"


@dataclass(frozen=True)
class CleanedText:
    """A text from which parts were removed.

    text: the N characters that are left. origin: int32 `[N]`, the place of each in the original text, ascending.
    """

    text: str
    origin: np.ndarray

    def without(self, pattern: re.Pattern[str]) -> CleanedText:
        """The text without all matches of the pattern."""
        spans = np.array([match.span() for match in pattern.finditer(self.text)], dtype=np.int64).reshape(-1, 2)
        if not len(spans):
            return self
        starts, ends = np.append(0, spans[:, 1]), np.append(spans[:, 0], len(self.text))
        pieces = zip(starts.tolist(), ends.tolist(), strict=True)
        steps = np.zeros(len(self.text) + 1, dtype=np.int8)
        steps[starts] += 1
        steps[ends] -= 1  # an empty piece between two matches adds 1 and -1 at the same place
        stays = np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
        return CleanedText("".join(self.text[start:end] for start, end in pieces), self.origin[stays])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span here of what is left of the original's characters [start, end), without white space at its ends.

        Its start and end are equal where nothing is left.
        """
        start, end = (int(at) for at in self.origin.searchsorted((start, end)))
        part = self.text[start:end]
        return (end - len(part.lstrip()), start + len(part.rstrip())) if part.strip() else (start, start)


def cleaned_html(text: str) -> CleanedText:
    """`text` without tags that carry no structure, comments, the title, and Wikipedia's edit links.

    `rowspan="` and `colspan="` become `r` and `c`; a run of spaces becomes one space, a run of line ends one line end.
    Entities (`&amp;`) are kept, because scoring resolves them (`answer_scores.normalize_korquad_2`).
    """
    whole = CleanedText(text, np.arange(len(text), dtype=np.int32))
    return whole.without(MARKUP).without(EDIT_LINK_OR_ATTRIBUTE).without(RUN)


def read_korquad_2(
    task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False, skip_flag: str = "--skip_bad_rows"
) -> Questions:
    """The questions of one KorQuAD 2.1 file, or of all files in a folder in the order of their names.

    Contexts and answers are cleaned (`cleaned_html`). Where the cleaned text at an answer's span differs from the
    cleaned answer, the question is not used in training, and its gold answer is the cleaned answer, or the original one
    if cleaning leaves nothing of it. Such questions are counted, with the first ids, and so are documents with a table
    or list that is never closed.
    skip_flag: the script's flag for `skip_bad_rows`, for error messages. Skipping leaves a broken file out as a whole.
    Raises DataError naming file, document and question where the format is not kept.
    """
    return _read(path, encoding, BadRows(path, skip_bad_rows, skip_flag), is_labelled=True)


def read_unanswered_korquad_2(task: Task, path: Path | None, encoding: str = "utf-8") -> Questions:
    """Questions without labels, in the same format and cleaned alike. Answers are ignored if the files have them.

    path: the folder or file, or None for standard input. Raises DataError as `read_korquad_2` does.
    """
    return _read(path, encoding, BadRows(Path(place_of(path)), skip=False, flag=""), is_labelled=False)


def _read(path: Path | None, encoding: str, bad: BadRows, is_labelled: bool) -> Questions:
    place, counts = place_of(path), Counter()
    parts, archives = (_names(path, ending) for ending in (".part", ".zip"))
    bad.lost += [f"{place}/{name}: not downloaded whole: download_qa_dataset.sh goes on with it" for name in parts]
    count_shown(counts, "archives that are not unpacked: not all may be there", place, archives)
    return read_named_documents(place, _documents_in(path, encoding, bad), bad, is_labelled, counts)


def _documents_in(path: Path | None, encoding: str, bad: BadRows) -> Iterator[tuple[str, Any]]:
    """Each document's name in messages, and the document. Files that cannot be read are noted in `bad`."""
    for file in _files(path):
        try:
            documents = _documents(file, encoding)
        except DataError as error:  # it names the file
            bad.lost.append(str(error))
            continue
        for number, document in enumerate(documents):
            yield f"{place_of(file)}: data[{number}]", document


def read_named_documents(
    place: str,
    documents: Iterable[tuple[str, Any]],
    bad: BadRows,
    is_labelled: bool = True,
    counts: Counter[str] | None = None,
) -> Questions:
    """The questions about documents, each of which comes with its name in messages.

    place: where they are from. counts: what was noticed before. Raises DataError where the format is not kept.
    """
    questions = Questions(is_labelled=is_labelled, counts=Counter() if counts is None else counts)
    answers = _Answers()
    seen: set[str] = set()
    unclosed: list[str] = []
    unread = 0
    for name, document in documents:
        where = f"{name}{_title(document)}"
        try:
            context, cleaned = _context(document, questions.counts)
        except Malformed as error:
            bad.messages.append(f"{where}: {error}")
            unread += questions_in(document)
            continue
        if what := _never_closed(context):
            unclosed.append(f"{where}: {what}")
        before = len(questions)
        for q, qa in enumerate(document["qas"]):
            try:
                _add(questions, qa, context, cleaned, answers, seen)
            except Malformed as error:
                bad.messages.append(f"{where}: {name_of(qa, f'qas[{q}]')}: {error}")
        if len(questions) > before:
            questions.contexts.append(cleaned.text)
    bad.finish(questions.counts, BROKEN_FILES)
    if unread:
        questions.counts[UNREAD] += unread
    check_any_left(questions, place)
    answers.finish(place, questions.counts)
    if unclosed:
        questions.counts[f"{NEVER_CLOSES} (first {unclosed[0]})"] += len(unclosed)
    return questions


def first_of_each_context(questions: Questions) -> Questions:
    """The first question of each context, on which KoBigBird trains by default. The others are counted."""
    seen: set[int] = set()
    keep = np.array([not (context in seen or seen.add(context)) for context in questions.context_of], dtype=bool)
    first = questions.where(keep)
    if left_out := len(questions) - len(first):
        first.counts[NOT_FIRST] += left_out
    return first


def _files(path: Path | None) -> list[Path | None]:
    if path is None or not path.is_dir():
        return [path and check_is_file(path)]
    # macOS adds ._<name> files to the archives that it makes.
    ending = (".json", ".json.gz")
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(ending) and file.name[0] != ".")
    if not files:
        raise DataError(f"{path}: no *.json files in this folder; it holds {names_in(path)}")
    return files


def _names(path: Path | None, ending: str) -> list[str]:
    """The names with this ending in the folder; none where `path` is not a folder."""
    return sorted(file.name for file in path.glob(f"*{ending}")) if path and path.is_dir() else []


def _documents(file: Path | None, encoding: str) -> list:
    content = parse_questions(read_text(file, encoding), place_of(file), KORQUAD_2)
    documents = content.get("data") if isinstance(content, dict) else None
    if not isinstance(documents, list):
        raise DataError(
            f'{place_of(file)}: not in the KorQuAD 2.1 format: an object with a list "data" is expected'
            f"{about_content(content, KORQUAD_2)}"
        )
    if any(isinstance(document, dict) and "paragraphs" in document for document in documents):
        raise DataError(
            f'{place_of(file)}: in the SQuAD format, with "paragraphs"; in the KorQuAD 2.1 format each entry of "data" '
            'has a "context" and "qas"'
        )
    return documents


def _title(document: Any) -> str:
    title = document.get("title") if isinstance(document, dict) else None
    return f" ({shown(title)})" if isinstance(title, str) else ""


def _context(document: Any, counts: Counter[str]) -> tuple[str, CleanedText]:
    """The document's page, as it is and cleaned. Raises Malformed where it cannot be used."""
    context = text_of(document, "context", counts)
    if not isinstance(document.get("qas"), list):
        raise Malformed(f'no list "qas"{other_name(document, "qas")}')
    tag, comment = UNFINISHED_TAG.search(context), context.rfind("<!--")
    at = tag.start() if tag else -1
    if comment >= 0 and context.find("-->", comment + 2) < 0:  # <!--> is a whole comment
        at = comment
    if at >= 0:
        raise Malformed(f"the context breaks off inside the tag or comment {shown(context[at:])} at character {at}")
    cleaned = cleaned_html(context)
    if not cleaned.text.strip():
        raise Malformed("nothing is left of the context without its tags")
    return context, cleaned


def _never_closed(context: str) -> str:
    """Names the tables and lists that are opened more often than closed, as where a page was cut off."""
    tags = Counter((slash, name.lower()) for slash, name in CONTAINER_TAG.findall(context))
    return ", ".join(
        f"<{name}> {tags['', name]} times, </{name}> {tags['/', name]} times"
        for name in CONTAINERS
        if tags["", name] > tags["/", name]
    )


def _add(questions: Questions, qa: Any, context: str, cleaned: CleanedText, answers: _Answers, seen: set[str]) -> None:
    """Adds a question about the context that is appended next. Raises Malformed, adding nothing, if it is unusable."""
    id = question_id(qa, seen)
    question = text_of(qa, "question", questions.counts)
    golds, span = (), UNANSWERABLE
    if questions.is_labelled:
        answer = qa.get("answer")
        if not isinstance(answer, dict):
            raise Malformed(f'no object "answer"{_about_answer(qa)}')
        text = text_of(answer, "text", questions.counts)
        text, span = answers.locate(id, context, cleaned, text, answer_start(answer, context))
        golds = (text,)
    seen.add(id)
    questions.add(id, question, len(questions.contexts), golds, span)


def _about_answer(qa: dict) -> str:
    right = '{"text": "...", "answer_start": 0}'
    if isinstance(qa.get("answers"), list):
        return f'; it has a list "answers", as SQuAD has; here each question has one "answer": {right}'
    return f"; right is {right}" if "answer" in qa else ""


class _Answers:
    """Finds answers in the cleaned contexts, and records those that cannot be used in training."""

    def __init__(self):
        self.offsets = OffsetReport()
        self.vanished: list[str] = []
        self.unverified: list[str] = []

    def locate(
        self, id: str, context: str, cleaned: CleanedText, answer: str, start: int
    ) -> tuple[str, tuple[int, int]]:
        """The cleaned answer and its span in the cleaned context; UNANSWERABLE where the two texts differ."""
        wanted = cleaned_html(answer).text.strip()
        span = self.offsets.locate(id, context, answer, start)
        if span != UNANSWERABLE:
            span = cleaned.span(*span)
            found = cleaned.text[slice(*span)]
            if found and found == wanted:
                return found, span
            if found:
                self.unverified.append(f"{id!r}: {shown(wanted)} should be at {span[0]}, where {shown(found)} stands")
            else:
                self.vanished.append(f"{id!r}: {shown(answer)}")
        return wanted or answer, UNANSWERABLE

    def finish(self, place: str, counts: Counter[str]) -> None:
        self.offsets.finish(place, counts)
        count_shown(counts, VANISHED, place, self.vanished)
        count_shown(counts, UNVERIFIED, place, self.unverified)
