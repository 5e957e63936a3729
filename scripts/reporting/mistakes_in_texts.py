"""For the page of `scripts/report.py`: what a classification or a regression got wrong, from its `predictions.tsv`."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reporting.markup import Html, element, join, korean, korean_text, paragraph, table
from reporting.reported_runs import NotThere, ReportedRun, predictions_text
from reporting.svg_charts import scatter_chart

FILE = "predictions.tsv"
DOTS = 1500  # of a scatter plot; more would make a page of megabytes and no clearer picture
LONG_NAMES = 60  # characters of all labels, beyond which their names are turned above a confusion matrix
STRONGEST_SHADE = 0.5  # beyond it, numbers on a shaded cell would be hard to read


@dataclass(frozen=True)
class Prediction:
    """A row of `predictions.tsv`. sureness: the probability of the predicted label; 0 for a regression."""

    label: str
    predicted: str
    sureness: float
    texts: list[str]

    @property
    def error(self) -> float:
        """How far a predicted score is from the right one."""
        return abs(float(self.predicted) - float(self.label))


def texts_of_run(run: ReportedRun, most: int) -> Html:
    """The part of the page about a run's rows. most: how many wrong ones are shown. Raises NotThere."""
    predictions, labels = read_predictions(predictions_text(run, FILE), f"{run.folder / FILE}")
    return classes(predictions, labels, most) if labels else scores(predictions, most)


def read_predictions(text: str, place: str) -> tuple[list[Prediction], list[str]]:
    """The rows of a file, and the labels in the order of its columns; none for a regression. Raises NotThere."""
    header, *lines = text.removesuffix("\n").split("\n")
    names = header.split("\t")
    labels = [name[2:-1] for name in names if name.startswith("p(")]
    if names[:2] != ["label", "prediction"]:
        raise NotThere(f"{place}:1 does not begin with label and prediction, as a run writes it.")
    predictions = []
    for number, line in enumerate(lines, 2):
        fields = line.split("\t")
        try:
            if len(fields) != len(names):
                raise ValueError
            label, predicted, *rest = fields
            if labels:
                sureness = float(rest[labels.index(predicted)])
                labels.index(label)
            else:
                sureness = 0 * (float(label) + float(predicted))
        except ValueError:
            raise NotThere(f"{place}:{number} is not what a run writes there: --do_eval writes it anew.") from None
        predictions.append(Prediction(label, predicted, sureness, rest[len(labels) :]))
    return predictions, labels


def classes(predictions: Sequence[Prediction], labels: Sequence[str], most: int) -> Html:
    """The confusion matrix, and the wrong rows that the model was most sure of."""
    wrong = [one for one in predictions if one.label != one.predicted]
    wrong.sort(key=lambda one: -one.sureness)  # stable: among equals in the order of the file
    rows = [
        [f"{one.sureness:.3f}", korean(one.label), korean(one.predicted), shown_texts(one.texts)]
        for one in wrong[:most]
    ]
    header = ["sure", "label", "predicted", "text"]
    listed = table(header, rows, numbers=[0], searchable="search the wrong rows", layout="stacks")
    said = f"{len(wrong):,} of {len(predictions):,} rows are wrong. " + how_many(len(rows), len(wrong), "surest")
    return join([
        element("h4", "Which label was taken for which"),
        confusion_matrix(predictions, labels),
        element("h4", "Wrong, and most sure of it"),
        paragraph(said, cls="faint"),
        listed if rows else Html(""),
    ])  # fmt: skip


def confusion_matrix(predictions: Sequence[Prediction], labels: Sequence[str]) -> Html:
    """Rows: the right label. Columns: the predicted one. The shade is the share of the row.

    Labels that occur on neither side are left out.
    """
    counts = Counter((one.label, one.predicted) for one in predictions)
    occurring = {label for pair in counts for label in pair}
    left_out = sum(label not in occurring for label in labels)
    labels = [label for label in labels if label in occurring]
    rows = []
    for label in labels:
        total = sum(counts[label, predicted] for predicted in labels)
        cells = [_shaded(counts[label, predicted], total) for predicted in labels]
        recall = f"{counts[label, label] / total:.1%}" if total else "–"
        rows.append([korean(label), *cells, f"{total:,}", recall])
    header = ["label \\ predicted", *map(korean, labels), "rows", "found"]
    said = "Each row is a label, each column what was predicted for its rows; found is the share that is right."
    said += f" Labels that are neither in the file nor predicted are left out: {left_out}." if left_out else ""
    layout = "upright" if sum(map(len, labels)) > LONG_NAMES else ""
    numbers = range(1, len(header))
    grid = table(header, rows, numbers=numbers, has_row_names=True, layout=layout, name="confusion matrix")
    return join([paragraph(said, cls="faint"), grid])


def _shaded(count: int, total: int) -> Html:
    share = STRONGEST_SHADE * count / total if total else 0
    return element("span", f"{count:,}", cls="shaded", style=f"background: rgba(var(--shade), {share:.2f})")


def scores(predictions: Sequence[Prediction], most: int) -> Html:
    """Predicted scores by the right ones, and the rows with the largest errors."""
    dots = predictions
    if len(dots) > DOTS:
        dots = random.Random(0).sample(dots, DOTS)
    ordered = sorted(predictions, key=lambda one: -math.inf if math.isnan(one.error) else -one.error)
    rows = [
        [f"{one.error:.2f}", f"{float(one.label):.2f}", f"{float(one.predicted):.2f}", shown_texts(one.texts)]
        for one in ordered[:most]
    ]
    mean = sum(one.error for one in predictions) / max(1, len(predictions))
    said = f"On average a score is off by {mean:.3f}. " + how_many(len(rows), len(ordered), "largest errors")
    chart = scatter_chart("Predicted score by the right score", "right score",
                          [(float(one.label), float(one.predicted)) for one in dots])  # fmt: skip
    drawn = f"{len(dots):,} of {len(predictions):,} rows, drawn at random." if len(dots) < len(predictions) else ""
    header = ["off by", "score", "predicted", "text"]
    return join([
        element("div", chart, cls="charts"),
        paragraph(drawn, cls="faint") if drawn else Html(""),
        element("h4", "Largest errors"),
        paragraph(said, cls="faint"),
        table(header, rows, numbers=[0, 1, 2], searchable="search these rows", layout="stacks"),
    ])  # fmt: skip


def shown_texts(texts: Sequence[str]) -> Html:
    """One text, or the two of a pair below each other."""
    return join(korean_text(text) for text in texts)


def how_many(shown: int, there_are: int, which: str) -> str:
    """What is said where not all rows are shown."""
    return f"Shown are {shown:,}, the {which}; --rows shows more." if shown < there_are else ""
