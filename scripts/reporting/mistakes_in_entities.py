"""For the page of `scripts/report.py`: entities, or labels of words, that a model got wrong, in their sentences."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.klue_ner import character_lines, labels_characters, read_klue_ner
from processors.metrics import ENTITY_METRICS
from processors.ner import NOT_PREDICTED, bio_labels, has_suffix_labels
from processors.sentence_files import WRITERS, Sentences, read_sentence_lines, read_token_lines, sentence_lines
from processors.task import DataError, Task
from reporting.markup import Html, element, join, korean, korean_text, paragraph, table
from reporting.mistakes_in_texts import how_many
from reporting.reported_runs import NotThere, ReportedRun, predictions_text, rows_scored_on, task_of

FILE = "predictions.tsv"
READERS: dict[Callable, Callable] = {sentence_lines: read_sentence_lines, character_lines: read_klue_ner}
RIGHT, TYPE, BOUNDS, MISSED, INVENTED = "right", "other type", "other bounds", "missed", "invented"
KINDS = (RIGHT, TYPE, BOUNDS, MISSED, INVENTED)
Entity = tuple[int, int, str]  # the first unit, the one after the last, and the type


@dataclass(frozen=True)
class Tagged:
    """A sentence with what is labelled in it and what was predicted.

    units: its words, or its characters. ends_word: whether a space follows each of them.
    """

    units: Sequence[str]
    ends_word: Sequence[bool]
    gold: list[Entity]
    predicted: list[Entity]

    @property
    def mistakes(self) -> int:
        """How many entities are in one of the two only."""
        return len(set(self.gold) ^ set(self.predicted))


def entities_of_run(run: ReportedRun, most: int, data_dir: Path | None) -> Html:
    """The part of the page about a run's sentences. most: how many wrong ones are shown. Raises NotThere."""
    task = task_of(run)
    text = predictions_text(run, FILE)
    gold = rows_scored_on(run, data_dir)
    predicted = read_predictions(task, run.folder / FILE)
    if not text.strip() or predicted.words != [words for words in gold.words if words]:
        raise NotThere(f"{run.folder / FILE} has other sentences than the file that the run was scored on.")
    names = (*task.labels, NOT_PREDICTED)
    pairs = zip(gold.words, gold.labels, strict=True)
    sentences = [
        tagged(task, words, [names[id] for id in labels], [names[id] for id in found])
        for (words, labels), found in zip([pair for pair in pairs if pair[0]], predicted.labels, strict=True)
    ]
    has_entities = bool(ENTITY_METRICS & set(task.metrics)) or labels_characters(task)
    notes = []
    if labels_characters(task):
        notes.append("Each character has the label of its own token, as in the scores that are called aligned.")
    if (unscored := run.results.get("words_not_scored")) and isinstance(unscored, int):
        notes.append(f"{unscored:,} words lie beyond the longest row; they have no prediction and are not counted.")
    per_type = run.results.get("per_type")
    return shown(sentences, has_entities, per_type if isinstance(per_type, dict) else {}, most, " ".join(notes))


def read_predictions(task: Task, path: Path) -> Sentences:
    """The sentences of a file of predictions. Raises NotThere where it is not what a run writes."""
    reader = READERS.get(WRITERS.get(task.read), read_token_lines)
    # Predictions in a form of their own have none of the task's columns and comments.
    form = dataclasses.replace(task, labels=(*task.labels, NOT_PREDICTED), columns=(), text_columns=(),
                               label_column="", separator="", header=None, comments=())  # fmt: skip
    try:
        return reader(form, path)
    except DataError as error:
        first = str(error).splitlines()[0]
        raise NotThere(f"{first}: this is not what a run writes; --do_eval writes it anew.") from None


def tagged(task: Task, words: list[str], gold: list[str], predicted: list[str]) -> Tagged:
    """A sentence as its entities. Where a task has none (parts of speech), each word counts as one of its label."""
    if labels_characters(task):
        units = [character for word in words for character in word]
        ends_word = [at == len(word) - 1 for word in words for at in range(len(word))]
        find = strict_entities
        predicted = ["O" if label == NOT_PREDICTED else label for label in predicted]  # as they are scored
    else:
        units, ends_word = words, [True] * len(words)
        find = _finder(task)
    # Words that got no prediction are not scored either.
    kept = [at for at, label in enumerate(predicted) if label != NOT_PREDICTED]
    found = []
    for labels in (gold, predicted):
        inside = find([labels[at] for at in kept])
        found.append([(kept[start], kept[end - 1] + 1, name) for start, end, name in inside])
    return Tagged(units, ends_word, *found)


def _finder(task: Task) -> Callable[[list[str]], list[Entity]]:
    from seqeval.metrics.sequence_labeling import get_entities

    if not ENTITY_METRICS & set(task.metrics):
        return lambda labels: [(at, at + 1, label) for at, label in enumerate(labels)]
    meanings = dict(zip(task.labels, bio_labels(task), strict=True))
    suffix = has_suffix_labels(task)

    def find(labels: list[str]) -> list[Entity]:
        entities = get_entities([meanings[label] for label in labels], suffix)
        return [(start, end + 1, name) for name, start, end in entities]

    return find


def strict_entities(labels: list[str]) -> list[Entity]:
    """The entities of labels like `B-PS I-PS`, strictly, as KLUE counts them: `I-` without its `B-` is none."""
    entities: list[Entity] = []
    for at, label in enumerate(labels):
        part, _, name = label.partition("-")
        if part == "B":
            entities.append((at, at + 1, name))
        elif part == "I" and entities and entities[-1][1:] == (at, name):
            entities[-1] = (entities[-1][0], at + 1, name)
    return entities


# --------------------------------------------------------------------------------------------------------------------
# What the page shows of them
# --------------------------------------------------------------------------------------------------------------------


def shown(
    sentences: Sequence[Tagged], has_entities: bool, per_type: Mapping[str, Mapping], most: int, notes: str = ""
) -> Html:
    """What went wrong with which type, and the sentences with most mistakes.

    per_type: as in results.json. notes: sentences about what is counted.
    """
    wrong = [one for one in sentences if one.mistakes]
    wrong.sort(key=lambda one: -one.mistakes)  # stable: among equals in the order of the file
    rows = [[str(one.mistakes), both_lines(one, has_entities)] for one in wrong[:most]]
    what = "entities" if has_entities else "words"
    said = f"{len(wrong):,} of {len(sentences):,} sentences have mistakes. "
    said += how_many(len(rows), len(wrong), "ones with most mistakes")
    marks = join([
        " In each sentence: what is ", element("mark", "right", cls="right"), ", and what ",
        element("mark", "only one of the two lines", cls="wrong"), " has.",
    ])  # fmt: skip
    return join([
        element("h4", f"What happened to the {what}"),
        table_of_kinds(sentences, per_type),
        paragraph(notes, cls="faint") if notes else Html(""),
        element("h4", "Sentences with mistakes"),
        paragraph(said, marks, cls="faint"),
        table(["mistakes", "sentence"], rows, numbers=[0], searchable="search the sentences", layout="stacks")
        if rows else Html(""),
    ])  # fmt: skip


def table_of_kinds(sentences: Iterable[Tagged], per_type: Mapping[str, Mapping]) -> Html:
    """For each type, the most frequent first: its entities that are right, missed and so on, and its scores."""
    counts: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        counts.update(kinds_of(sentence))
    totals: Counter[str] = Counter()
    for (name, kind), count in counts.items():
        totals[name] += count if kind != INVENTED else 0
    kinds = [kind for kind in KINDS if any(counts[name, kind] for name in totals)]
    scores = ["precision", "recall", "f1"] if per_type else []
    rows = []
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        its = per_type.get(name, {})
        figures = [f"{its[score]:.1%}" if isinstance(its.get(score), int | float) else "–" for score in scores]
        rows.append([korean(name), f"{totals[name]:,}", *(f"{counts[name, kind]:,}" for kind in kinds), *figures])
    header = ["type", "in the file", *kinds, *scores]
    return table(header, rows, numbers=range(1, len(header)), has_row_names=True, name="entities by type")


def kinds_of(sentence: Tagged) -> list[tuple[str, str]]:
    """For each entity of either side its type and what happened to it; an invented one goes by the predicted type."""
    gold, predicted = set(sentence.gold), set(sentence.predicted)
    spans = {entity[:2] for entity in predicted}
    found = []
    for entity in sentence.gold:
        if entity in predicted:
            kind = RIGHT
        elif entity[:2] in spans:
            kind = TYPE
        else:
            kind = BOUNDS if any(_overlap(entity, other) for other in predicted) else MISSED
        found.append((entity[2], kind))
    return found + [(e[2], INVENTED) for e in sentence.predicted if not any(_overlap(e, other) for other in gold)]


def _overlap(one: Entity, other: Entity) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def both_lines(sentence: Tagged, has_entities: bool) -> Html:
    """The sentence as it is labelled, and below it as it was predicted."""
    gold, predicted = set(sentence.gold), set(sentence.predicted)
    lines = []
    for what, entities, others in (("labelled", sentence.gold, predicted), ("predicted", sentence.predicted, gold)):
        # Where every word has a label, marks on all of them would hide those that are wrong.
        visible = [entity for entity in entities if has_entities or entity not in others]
        line = join([element("span", what, cls="what", lang="en"), " ", marked(sentence, visible, others)])
        lines.append(korean_text(line))
    return join(lines)


def marked(sentence: Tagged, entities: Sequence[Entity], others: set[Entity]) -> Html:
    """The sentence with its entities marked, as right where they are among the others."""
    parts: list[str] = []
    at = 0
    for entity in sorted(entities):
        start, end, name = entity
        parts.append(_text(sentence, at, start))
        cls = "right" if entity in others else "wrong"
        parts.append(element("mark", _text(sentence, start, end).rstrip(" "), element("small", name), cls=cls))
        parts.append(" " if sentence.ends_word[end - 1] else "")
        at = end
    return join([*parts, _text(sentence, at, len(sentence.units))])


def _text(sentence: Tagged, start: int, end: int) -> str:
    units = zip(sentence.units[start:end], sentence.ends_word[start:end], strict=True)
    return "".join(unit + " " * ends for unit, ends in units)
