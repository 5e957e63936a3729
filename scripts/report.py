"""Makes one page about runs: their tables, their learning curves, and what each of them got wrong.

    python3 scripts/report.py ckpt --output report.html
    python3 scripts/report.py ckpt/koelectra-base-nsmc-ckpt ckpt/kobert-nsmc-ckpt --output nsmc.html --rows 500
    python3 scripts/report.py ckpt --output report.html --data_dir /where/the/data/lie/now

Every run below the folders is on the page: seeds, few-shot studies, pretraining, models that were scored by their name,
and runs that are still going on. Classification has its confusion matrix and the rows that the model was most sure of
and wrong about, a regression its scatter plot and its largest errors, entities and questions their mistakes in the
sentence or the paragraph. The page is one file that needs no network, and reads well on a phone.

Sentences with entities, and questions, are read from the data again, as the predictions hold no right answers. Where
the data have moved, --data_dir says where they are; otherwise the page says what is missing.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import base64
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from processors import KIND_OF_SCRIPT, SCRIPT_OF_TASK
from reporting import few_shot_table
from reporting.few_shot_cells import TASK as FEW_SHOT
from reporting.markup import Html, bullets, element, folded, join, paragraph, table
from reporting.mistakes_in_answers import answers_of_run
from reporting.mistakes_in_entities import entities_of_run
from reporting.mistakes_in_texts import texts_of_run
from reporting.report_curves import curves_by_task
from reporting.reported_runs import LOOKED_FOR, NotThere, ReportedRun, find_reported, task_of
from reporting.results_reading import PUBLISHED, Run, refuse_missing, stop, write_or_stop
from results_table import fill_cells, layout, needed_metrics, table_grids

HERE = Path(__file__).parent / "reporting"
MOST_RUNS = 60  # whose mistakes are shown; the tables and curves have all
SELECTED = {"dev": "best on dev", "test": "best on test", "last": "the last one", None: "the model as it was named"}


def main() -> None:
    arguments = parse_arguments()
    refuse_missing(arguments.folders)
    if arguments.data_dir is not None and not arguments.data_dir.is_dir():
        stop(f"--data_dir {arguments.data_dir}: there is no such folder")
    if arguments.output.is_dir():
        stop(f"--output {arguments.output} is a folder: name a file in it, such as {arguments.output / 'report.html'}")
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    runs, notes = find_reported(arguments.folders, needed_metrics(published))
    if not runs:
        why = f" ({'; '.join(notes)})" if notes else f" (looked for {', '.join(LOOKED_FOR)})"
        stop(f"no runs below {', '.join(map(str, arguments.folders))}{why}")
    text = page(title_of(arguments.folders), runs, notes, published, arguments.rows, arguments.data_dir)
    write_or_stop(arguments.output, text)
    size = len(text.encode()) / 2**20
    print(f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {size:.1f} MB: {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="searched for runs, all levels")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the page, such as report.html")
    parser.add_argument(
        "--rows", type=at_least_one, default=200, metavar="N", help="most wrong rows of a run (default: 200)"
    )
    parser.add_argument("--data_dir", type=Path, help="where the data lie now (default: where each run found them)")
    return parser.parse_args()


def at_least_one(text: str) -> int:
    """A number of rows, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def title_of(folders: Sequence[Path]) -> str:
    """`Runs in ckpt`."""
    return f"Runs in {', '.join(str(folder) for folder in folders)}"


# --------------------------------------------------------------------------------------------------------------------
# The page
# --------------------------------------------------------------------------------------------------------------------


def page(
    title: str,
    runs: Sequence[ReportedRun],
    notes: Sequence[str],
    published: dict[str, Any],
    rows: int,
    data_dir: Path | None,
) -> str:
    """The whole page. notes: about results that are left out. rows: most wrong rows of a run."""
    parts = [
        ("scores", "Scores", score_tables([run.scored for run in runs if run.scored], published)),
        ("pretraining", "Pretraining", pretraining_table([run for run in runs if run.is_pretraining])),
        ("curves", "Learning curves", learning_curves(runs)),
        ("runs", "Runs and their mistakes", details_of_runs(runs, rows, data_dir)),
    ]
    parts = [part for part in parts if part[2]]
    links = join(element("li", element("a", name, href=f"#{id}")) for id, name, _ in parts)
    body = [
        element("h1", title),
        element("nav", element("ul", links), aria_label="parts of this page"),
        bullets([f"Note: {note}." for note in notes]),
        *(element("section", element("h2", name), content, id=id) for id, name, content in parts),
    ]
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing is loaded and nothing but this one script is run, whatever the texts of the data contain.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html((HERE / "report.css").read_text(encoding="utf-8"))),
    ]
    whole = [element("head", *head), element("body", element("main", *body), element("script", Html(script)))]
    return "<!DOCTYPE html>\n" + element("html", *whole, lang="en") + "\n"


def score_tables(runs: Sequence[Run], published: dict[str, Any]) -> Html:
    """The tables of `results_table.py`: published scores beside the measured ones, mean ± deviation over seeds."""
    parts = []
    for one in layout(published, [run for run in runs if run.task != FEW_SHOT], "all"):
        cells, notes = fill_cells(one)
        grids, below = table_grids(one, cells, all_published=False)
        parts.append(element("h3", one.title))
        parts += [scores_of(lines, title) for title, lines in grids]
        parts.append(bullets([*below, *(f"Note: {note}." for note in notes)]))
    if of_study := [run for run in runs if run.task == FEW_SHOT]:
        study = few_shot_table.few_shot_table(of_study, all_published=False)
        parts += [element("h3", "Few-shot question answering"), scores_of(few_shot_table.grid(study))]
        parts.append(bullets([*few_shot_table.legend(study), *(f"Note: {note}." for note in study.notes)]))
    return join(parts)


def scores_of(lines: Sequence[Sequence[str]], caption: str = "") -> Html:
    """A grid of scores whose first line is the header and whose first column has the models."""
    header, *rows = lines
    named = [text or ("model" if at == 0 else "score") for at, text in enumerate(header)]
    return table(named, rows, caption, numbers=range(1, len(named)), has_row_names=True, name="scores")


def pretraining_table(runs: Sequence[ReportedRun]) -> Html:
    """One row for each pretraining run: how long, how fast, and its figures on held-out documents."""
    if not runs:
        return Html("")
    metrics = list(dict.fromkeys(name for run in runs for name in run.results.get("metrics") or {}))
    rows = []
    for run in runs:
        training, own = run.results.get("training") or {}, run.results.get("metrics") or {}
        figures = [training.get("steps"), training.get("epochs"), training.get("tokens_per_second")]
        rows.append([str(run.folder), run.task, *map(number, [*figures, *(own.get(name) for name in metrics)])])
    header = ["run", "objective", "steps", "epochs", "tokens/s", *(name.replace("_", " ") for name in metrics)]
    said = paragraph("Scores are those of the held-out documents.", cls="faint")
    return join([said, table(header, rows, numbers=range(2, len(header)), has_row_names=True, name="pretraining runs")])


def learning_curves(runs: Sequence[ReportedRun]) -> Html:
    """The figures of each task below its name."""
    return join(join([element("h3", task), figures]) for task, figures in curves_by_task(runs))


def details_of_runs(runs: Sequence[ReportedRun], rows: int, data_dir: Path | None) -> Html:
    """For each run a part that opens on a click: what it is, its scores and its mistakes."""
    shown = runs[:MOST_RUNS]
    same = Counter(run.title for run in runs)  # such as a study's samples of several sizes
    titles = [run.title if same[run.title] == 1 else f"{run.title} · {run.folder}" for run in shown]
    parts = [
        details_of(run, title, rows, data_dir, is_open=len(runs) == 1) for run, title in zip(shown, titles, strict=True)
    ]
    if len(shown) < len(runs):
        said = f"The first {len(shown)} of {len(runs)} runs are shown here; fewer folders give a page about the others."
        parts.insert(0, paragraph(said, cls="faint"))
    return join(parts)


def details_of(run: ReportedRun, title: str, rows: int, data_dir: Path | None, is_open: bool) -> Html:
    """One run. What is missing for its mistakes is said in words."""
    content = [paragraph(element("code", str(run.folder)), cls="faint")]
    if not run.results:
        content.append(paragraph("This run has no results yet: it is still going on, was stopped, or was not scored."))
        return folded(title, *content, is_open=is_open)
    facts = table(["", ""], facts_of(run), has_row_names=True, name="facts about the run")
    content.append(element("div", facts, all_scores(run), cls="side"))
    if not run.is_pretraining:
        try:
            content.append(mistakes_of(run)(run, rows, data_dir))
        except NotThere as missing:
            content.append(paragraph(str(missing), cls="missing"))
    return folded(title, *content, is_open=is_open)


def mistakes_of(run: ReportedRun) -> Callable[[ReportedRun, int, Path | None], Html]:
    """What makes the part about mistakes: for texts, words or questions."""
    kind = KIND_OF_SCRIPT.get(SCRIPT_OF_TASK.get(run.task, ""), "questions")
    if kind == "texts" or run.task not in SCRIPT_OF_TASK:
        return texts_of_any_task
    return entities_of_run if kind == "words" else answers_of_run


def texts_of_any_task(run: ReportedRun, rows: int, data_dir: Path | None) -> Html:
    """As `texts_of_run`: a table of texts explains itself, so that the task need not be one of this suite."""
    try:
        return texts_of_run(run, rows)
    except NotThere:
        task_of(run)  # where it is unknown, this says so: --do_eval would not help
        raise


def facts_of(run: ReportedRun) -> list[list[str]]:
    """What is known about a run, a line each: the name of the fact and the fact."""
    results, training = run.results, run.results.get("training") or {}
    hardware, config = results.get("hardware") or {}, results.get("config") or {}
    counts = results.get("rows") or training.get("rows") or {}
    checkpoint, steps = results.get("checkpoint"), training.get("steps")
    facts = {
        "model": results.get("model_name_or_path") or results.get("model"),
        "checkpoint": checkpoint and f"{checkpoint}, {SELECTED.get(results.get('selection'), 'as selected')}",
        "scored on": results.get("split"),
        "rows": ", ".join(f"{name} {number(count)}" for name, count in counts.items() if count is not None),
        "training": steps and f"{number(steps)} steps, {number(training.get('epochs'))} epochs",
        "learning rate": number(config.get("learning_rate")),
        "speed": training.get("rows_per_second") and f"{number(training['rows_per_second'])} rows/s",
        "hardware": hardware.get("name") and f"{hardware['name']}, {hardware.get('precision')}",
        "commit": re.sub(r"^([0-9a-f]{10})[0-9a-f]*", r"\1", str(results.get("git_commit") or "")),
    }
    lines = [[name, str(value)] for name, value in facts.items() if value not in (None, "", "–")]
    return lines + ([["chance", "The scores are no better than chance."]] if results.get("at_chance") else [])


def all_scores(run: ReportedRun) -> Html:
    """All metrics of a run, as they are in its results.json."""
    metrics: Iterable[tuple[str, Any]] = (run.results.get("metrics") or {}).items()
    rows = [[name.replace("_", " "), number(value)] for name, value in metrics]
    return table(["score", "value"], rows, numbers=[1], has_row_names=True, name="scores") if rows else Html("")


def number(value: Any) -> str:
    """A figure for the page: four digits, whole numbers whole, – where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    if isinstance(value, int) or (abs(value) >= 1000 and value == value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(run_main(main))
