"""python3 -m pytest tests/scripts/test_report.py

`scripts/report.py` on hand-made runs, and on short runs of the sample; the page is also looked at by Chromium, where
there is one.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from conftest import ONE_STEP, User, sample
from processors import TASKS
from training.results import sha256_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "report.py"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
EVIL = "<script>window.wasRun = 1</script><img src=x onerror='window.wasRun = 1'>"
PHONE = 390  # CSS pixels


def call(*arguments: object, code: int = 0, folder: Path | None = None) -> tuple[str, str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=folder)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


def write_run(folder: Path, task: str, files: dict[str, Any], **results: Any) -> Path:
    """A run that has finished: its files, two logged losses and an evaluation."""
    metric = results.pop("main_metric", "accuracy")
    score = results.pop("score", 0.5)
    given = {
        "task": task, "model": "koelectra-base", "seed": 42, "split": "test", "main_metric": metric,
        "metrics": {metric: score}, "selection": "test", "checkpoint": "checkpoint-2", "step": 2,
    }  # fmt: skip
    folder.mkdir(parents=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(given | results, ensure_ascii=False), encoding="utf-8")
    lines = [{"event": "train", "step": step, "loss": 1 / step, "seconds": 1.0} for step in (1, 2)]
    lines.append({"event": "evaluation", "step": 2, "split": "test", "metrics": {metric: score}, "seconds": 1.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def write_nsmc(folder: Path, texts: tuple[str, ...] = ("좋아요", "싫어요", EVIL), **results: Any) -> Path:
    """A run whose rows are all wrong, the first of them the least surely."""
    lines = ["label\tprediction\tp(0)\tp(1)\ttext1"]
    lines += [f"0\t1\t{0.4 - at / 100:.2f}\t{0.6 + at / 100:.2f}\t{text}" for at, text in enumerate(texts)]
    return write_run(folder, "nsmc", {"predictions.tsv": "\n".join(lines) + "\n"}, **results)


def write_ner(folder: Path, data: Path) -> Path:
    (data / "naver-ner").mkdir(parents=True)
    test = data / "naver-ner" / "test.tsv"
    test.write_text("김철수는 서울에 갔다\tPER-B LOC-B O\n비가 온다\tO O\n", encoding="utf-8")
    files = {"predictions.tsv": "김철수는 서울에 갔다\tPER-B ORG-B O\n비가 온다\tO O\n"}
    config = {"data_dir": str(data), "train_file": "train.tsv", "test_file": "test.tsv"}
    hashes = {str(test): sha256_of(test)}
    return write_run(folder, "naver-ner", files, main_metric="f1", config=config, data=hashes)


def write_korquad(folder: Path, data: Path) -> Path:
    context = f"왕은 세종이고 도읍은 한양이다. {EVIL}"
    asked = {"왕": ("세종", "한양"), "도읍": ("한양", "한양")}
    return write_answers(folder, "korquad", data / "korquad" / "KorQuAD_v1.0_dev.json", context, asked)


def write_answers(folder: Path, task: str, test: Path, context: str, asked: dict[str, tuple[str, str]]) -> Path:
    """A run of question answering and the file that it was scored on. asked: id -> right answer, predicted one."""
    test.parent.mkdir(parents=True)
    qas = [
        {"id": id, "question": f"{id}은?", "answers": [{"text": gold, "answer_start": context.index(gold)}]}
        for id, (gold, _) in asked.items()
    ]
    content = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    test.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    files = {
        "predictions.json": {id: predicted for id, (_, predicted) in asked.items()},
        "nbest_predictions.json": {id: [{"text": text, "probability": 0.75}] for id, (_, text) in asked.items()},
    }
    data_dir = test.parents[TASKS[task].folder.count("/") + 1]
    config = {"data_dir": str(data_dir), "train_file": "train.json", "predict_file": test.name}
    metrics = dict.fromkeys(TASKS[task].metrics, 0.5)
    return write_run(folder, task, files, main_metric=TASKS[task].main_metric, metrics=metrics, config=config,
                     data={str(test): sha256_of(test)})  # fmt: skip


def write_unfinished(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"event": "train", "step": 1, "loss": 0.5}\n', encoding="utf-8")
    (folder / "run_config.json").write_text('{"task": "paws"}', encoding="utf-8")
    return folder


def write_pretraining(folder: Path) -> Path:
    metrics = {"loss": 7.5, "mlm_accuracy": 0.25}
    return write_run(folder, "spanbert", {}, main_metric="loss", metrics=metrics, training={"steps": 40})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        write_nsmc(folder / "ckpt" / "nsmc" / f"seed-{seed}", seed=seed, score=seed / 4)
    write_ner(folder / "ckpt" / "ner", folder / "data")
    write_korquad(folder / "ckpt" / "korquad", folder / "data")
    write_unfinished(folder / "ckpt" / "going-on")
    write_pretraining(folder / "ckpt" / "spanbert")
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> str:
    said, errors = call("ckpt", "--output", "new/report.html", folder=runs)
    assert re.fullmatch(r"6 runs, \d\.\d MB: new/report\.html\n", said) and errors == ""
    assert [path.name for path in (runs / "new").iterdir()] == ["report.html"]
    return (runs / "new" / "report.html").read_text(encoding="utf-8")


def part_about(page: str, title: str) -> str:
    """The part of the page that opens on a click on the title."""
    (part,) = [p for p in re.findall(r"<details.*?</details>", page, re.DOTALL) if f"<h3>{title}</h3>" in p]
    return part


def test_tables_have_mean_and_deviation_over_the_seeds(page: str) -> None:
    assert "37.50 ± 17.68ᵗ" in page  # of 0.25 and 0.5
    assert "± sample standard deviation over 2 seeds." in page


def test_every_kind_of_run_is_there(page: str) -> None:
    titles = re.findall(r"<summary><h3>(.*?)</h3></summary>", page)
    assert titles == [
        "paws · going-on", "korquad · koelectra-base · seed 42", "naver-ner · koelectra-base · seed 42",
        "nsmc · koelectra-base · seed 1", "nsmc · koelectra-base · seed 2", "spanbert · koelectra-base · seed 42",
    ]  # fmt: skip
    assert "This run has no results yet" in part_about(page, "paws · going-on")
    assert '<td class="number">7.5</td><td class="number">0.25</td>' in page  # held-out loss and accuracy


def test_a_run_that_has_not_logged_yet_is_there(tmp_path: Path) -> None:
    write_unfinished(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    call("run", "--output", "report.html", folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "This run has no results yet" in part_about(page, "paws · run")


def test_mistakes_stand_in_their_context(page: str) -> None:
    ner = part_about(page, "naver-ner · koelectra-base · seed 42")
    assert '<mark class="wrong">서울에<small>LOC</small></mark>' in ner
    assert '<mark class="wrong">서울에<small>ORG</small></mark>' in ner
    assert ner.count('<mark class="right">김철수는<small>PER</small></mark>') == 2
    assert "1 of 2 sentences have mistakes" in ner and "비가" not in ner
    answers = part_about(page, "korquad · koelectra-base · seed 42")
    assert '왕은 <mark class="right">세종</mark>이고 도읍은 <mark class="wrong">한양</mark>이다.' in answers
    assert "1 of 2 answers are no exact match" in answers and "0.75" in answers


@pytest.mark.parametrize(("task", "wrong"), [("korquad", "둘"), ("klue-mrc", "하나")])
def test_answers_are_compared_as_their_task_compares_them(task: str, wrong: str, tmp_path: Path) -> None:
    """KorQuAD drops 《》 and keeps what stood around ASCII punctuation apart; KLUE keeps 《》 and joins it."""
    asked = {"하나": ("《태극기》", "태극기"), "둘": ("에이(비)", "에이비")}
    test = tmp_path / "data" / TASKS[task].folder / str(TASKS[task].test_file)
    write_answers(tmp_path / "run", task, test, "《태극기》, 태극기, 에이(비)와 에이비", asked)
    call(tmp_path / "run", "--output", tmp_path / "report.html")
    part = part_about((tmp_path / "report.html").read_text(encoding="utf-8"), f"{task} · koelectra-base · seed 42")
    assert "1 of 2 answers are no exact match" in part and f"{wrong}은?" in part


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"""(src|href|action|poster|data)\s*=\s*["']?\s*(https?:)?//|url\(|@import""", page)
    assert not re.findall(r"https?://", page)
    assert page.count("<script>") == 1 and "<link" not in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src &#x27;none&#x27;;")


def test_the_page_is_accessible(page: str) -> None:
    assert '<html lang="en">' in page and 'name="viewport" content="width=device-width' in page
    assert '<span lang="ko" class="text">좋아요</span>' in page
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert tables and all('scope="col"' in table or 'scope="row"' in table for table in tables)
    assert all(
        re.search(r'aria-label="[^"]+"', region) for region in re.findall(r"<div[^>]*role=\"region\"[^>]*>", page)
    )
    assert all(re.search(r'aria-label="[^"]+"', image) for image in re.findall(r"<svg[^>]*>", page))


def test_the_same_runs_give_the_same_page(runs: Path, page: str) -> None:
    call("ckpt", "ckpt/nsmc", "--output", "again.html", folder=runs)  # folders that overlap name a run once
    again = (runs / "again.html").read_text(encoding="utf-8")
    assert again.replace("ckpt, ckpt/nsmc", "ckpt") == page


def test_what_is_missing_is_said_on_the_page(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "ckpt", tmp_path / "ckpt")
    (tmp_path / "ckpt/korquad/predictions.json").unlink()
    (tmp_path / "ckpt/nsmc/seed-1/predictions.tsv").write_text("label\tprediction\tp(0)\ttext1\nx\n", encoding="utf-8")
    for name in ("ner", "korquad"):
        path = tmp_path / "ckpt" / name / "results.json"
        path.write_text(path.read_text(encoding="utf-8").replace(str(runs), str(tmp_path)), encoding="utf-8")
    (tmp_path / "ckpt/spanbert/results.json").write_text("{", encoding="utf-8")
    call("ckpt", "--output", "report.html", folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    missing = re.findall(r'<p class="missing">(.*?)</p>', page)
    assert missing == [
        "ckpt/korquad/predictions.json is missing: --do_eval writes it anew.",
        f"{tmp_path}/data/naver-ner/test.tsv, which has the right answers, is not there: "
        "--data_dir says where the data are now.",
        "ckpt/nsmc/seed-1/predictions.tsv:2 is not what a run writes there: --do_eval writes it anew.",
    ]
    assert "Note: ckpt/spanbert/results.json: not valid JSON (line 1); left out." in page
    call("ckpt/ner", "--data_dir", runs / "data", "--output", "report.html", folder=tmp_path)
    assert '<p class="missing">' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_data_that_have_changed_are_not_shown_beside_old_predictions(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "data", tmp_path / "data")
    (tmp_path / "data/naver-ner/test.tsv").write_text("다른 문장\tO O\n", encoding="utf-8")
    call(runs / "ckpt/ner", "--data_dir", "data", "--output", "report.html", folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data/naver-ner/test.tsv has changed since the run was scored on it" in page


def test_a_task_that_this_suite_does_not_have_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "own-questions", {"predictions.json": {"1": "답"}}, main_metric="f1")
    call("run", "--output", "report.html", folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "This suite has no task &#x27;own-questions&#x27;" in page and "--do_eval" not in page


@pytest.mark.slow
def test_right_answers_of_a_data_source_are_read_from_it(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    words = ["김철수는", "서울에", "갔다"]
    rows = {"words": [words, ["비가", "온다"]], "tags": [["O", "ORG-B", "O"], ["O", "O"]]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "rows" / "test.parquet")
    write_ner(tmp_path / "run", tmp_path / "data")  # in whose official file the right answers are others
    path = tmp_path / "run" / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    results["config"] |= {"data_source": "./rows"}
    cases = [({}, '<mark class="wrong">김철수는<small>PER'), ({"./rows[test]": "sha256:0"}, "./rows[test] has changed")]
    for hashes, shown in cases:
        path.write_text(json.dumps(results | {"data": hashes}), encoding="utf-8")
        call("run", "--output", "report.html", folder=tmp_path)
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert shown in page and ("<mark" in page) == (not hashes)


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for size in (128, 16):
        write_nsmc(tmp_path / f"ckpt/{size}/seed-42")
    call("ckpt", "--output", "report.html", folder=tmp_path)
    titles = re.findall(r"<summary><h3>(.*?)</h3></summary>", (tmp_path / "report.html").read_text(encoding="utf-8"))
    assert titles == [f"nsmc · koelectra-base · seed 42 · ckpt/{size}/seed-42" for size in (16, 128)]


def test_large_runs_are_limited_and_it_is_said(tmp_path: Path) -> None:
    write_nsmc(tmp_path / "run", tuple(f"문장{at}번" for at in range(30)))
    call("run", "--output", "report.html", "--rows", 7, folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "30 of 30 rows are wrong. Shown are 7, the surest; --rows shows more." in page
    assert re.findall(r"문장\d+번", page) == [f"문장{at}번" for at in range(29, 22, -1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing", "--output", "x.html"], "no such folder: missing"),
        (["empty", "--output", "x.html"], "no runs below empty (looked for run_config.json, metrics.jsonl, "),
        (["runs", "--output", "empty"], "--output empty is a folder: name a file in it, such as empty/report.html"),
        (["runs", "--output", "runs/results.json/x.html"], "cannot write runs/results.json/x.html: "),
        (["runs", "--output", "x.html", "--data_dir", "nowhere"], "--data_dir nowhere: there is no such folder"),
        (["runs", "--output", "x.html", "--rows", "0"], "'0' is not a whole number above 0"),
        (["runs"], "required: --output"),
    ],
)
def test_errors_are_a_line_and_nothing_is_written(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    write_nsmc(tmp_path / "runs")
    out, errors = call(*arguments, code=2, folder=tmp_path)
    assert out == "" and message in errors.splitlines()[-1] and errors.splitlines()[-1].startswith("report.py: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "runs"]


def test_a_page_that_cannot_be_written_whole_leaves_the_one_before(tmp_path: Path) -> None:
    write_nsmc(tmp_path / "run")
    (tmp_path / "report.html").write_text("before", encoding="utf-8")
    limited = f"ulimit -f 4; exec {sys.executable} {SCRIPT} run --output report.html"
    result = subprocess.run(["bash", "-c", limited], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 2 and result.stderr == "report.py: cannot write report.html: File too large\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "before"
    assert len(list(tmp_path.iterdir())) == 2


# --------------------------------------------------------------------------------------------------------------------
# In a browser
# --------------------------------------------------------------------------------------------------------------------


def chromium(*arguments: str) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    command = [CHROMIUM, *flags, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=120).stdout


def told_by(page: str, script: str, folder: Path, width: int = 1200) -> Any:
    """What a script that is put at the end of the page says, as JSON. The page's own policy would not let it run.

    The page is shown in a frame, as windows are at least 500 pixels wide.
    """
    without_policy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert without_policy != page
    said = f"<script>addEventListener('load', () => parent.postMessage(JSON.stringify({script}), '*'));</script>"
    (folder / "inside.html").write_text(without_policy.replace("</body>", f"{said}</body>"), encoding="utf-8")
    frame = f'<iframe src="inside.html" style="border: 0; width: {width}px; height: 900px"></iframe>'
    listens = "<script>addEventListener('message', (said) => { document.title = said.data; });</script>"
    (folder / "outside.html").write_text(f"<!DOCTYPE html><title></title>{listens}{frame}", encoding="utf-8")
    shown = chromium(f"--window-size={width + 100},1000", "--dump-dom", (folder / "outside.html").as_uri())
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]))


@needs_chromium
def test_a_script_in_a_text_is_shown_and_not_run(page: str, tmp_path: Path) -> None:
    texts = "Array.from(document.querySelectorAll('td .text'), (cell) => cell.textContent)"
    script = f"[typeof wasRun, document.scripts.length, {texts}.filter((text) => text.includes('wasRun')).length]"
    was_run, scripts, shown = told_by(page, script, tmp_path)
    assert was_run == "undefined" and scripts == 2  # the page's own and the one that asks
    assert shown == 3  # the two runs on NSMC, and the paragraph of the question


@needs_chromium
def test_the_page_s_own_script_runs_under_its_policy(runs: Path, page: str) -> None:
    shown = chromium("--dump-dom", (runs / "new" / "report.html").as_uri())
    assert shown.count(">3 of 3 rows<") == 2 and shown.count(">1 of 1 rows<") == 2


@needs_chromium
def test_searching_leaves_the_rows_that_hold_all_words(page: str, tmp_path: Path) -> None:
    script = """(() => {
      const part = Array.from(document.querySelectorAll(".searchable")).find((p) => p.textContent.includes("좋아요"));
      const box = part.querySelector("input");
      const found = (words) => {
        box.value = words;
        box.dispatchEvent(new Event("input"));
        const rows = Array.from(part.querySelectorAll("tbody tr")).filter((row) => row.getClientRects().length);
        return [rows.map((row) => row.querySelector(".text").textContent), part.querySelector("output").textContent];
      };
      part.closest("details").open = true;
      return [found("좋아"), found("0.6 요"), found("WASRUN"), found("없다"), found("")].map(([rows, n]) => [rows, n]);
    })()"""
    decomposed = script.replace('좋아")', '\\u110c\\u1169\\u11c2\\u110b\\u1161")')  # as macOS writes it
    for asked in (script, decomposed):
        one, both, any_case, nothing, everything = told_by(page, asked, tmp_path)
        assert one == [["좋아요"], "1 of 3 rows"]
        assert both == [["싫어요", "좋아요"], "2 of 3 rows"]
        assert any_case[1] == "1 of 3 rows" and nothing == [[], "0 of 3 rows"]
        assert everything[1] == "3 of 3 rows"


WIDTHS = """(() => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
  const page = document.documentElement;
  return [innerWidth, page.scrollWidth, page.clientWidth, document.querySelectorAll("tbody tr").length];
})()"""


@needs_chromium
def test_on_a_phone_tables_scroll_and_the_page_does_not(page: str, tmp_path: Path) -> None:
    inside, scrolled, width, rows = told_by(page, WIDTHS, tmp_path, PHONE)
    assert inside == PHONE and scrolled <= width and rows > 20


@needs_chromium
def test_letters_stand_out_in_light_and_in_dark(page: str, tmp_path: Path) -> None:
    """WCAG's contrast of at least 4.5 for every colour of letters on its ground."""
    script = """(() => {
      const parts = ["body", ".faint", "a", "thead th", "mark.right", "mark.wrong", "mark.both", ".what", "figcaption"];
      document.querySelectorAll("details").forEach((part) => { part.open = true; });
      return parts.map((name) => {
        const part = document.querySelector(name);
        let ground = part;
        while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        return [name, getComputedStyle(part).color, getComputedStyle(ground).backgroundColor];
      });
    })()"""
    dark = page.replace("@media (prefers-color-scheme: dark)", "@media all")
    assert dark != page
    for shown in (page, dark):
        for name, letters, ground in told_by(shown, script, tmp_path):
            assert contrast(letters, ground) >= 4.5, (name, letters, ground)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as in WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


# --------------------------------------------------------------------------------------------------------------------
# Runs of the sample
# --------------------------------------------------------------------------------------------------------------------

ON_THE_SAMPLE = {
    "nsmc": ("run_seq_cls.py", "Which label was taken for which"),
    "klue-sts": ("run_seq_cls.py", "Largest errors"),
    "klue-re": ("run_seq_cls.py", "Which label was taken for which"),
    "naver-ner": ("run_ner.py", "What happened to the entities"),
    "klue-ner": ("run_ner.py", "What happened to the entities"),
    "korquad": ("run_squad.py", "Wrong answers"),
    "klue-mrc": ("run_long_qa.py", "Wrong answers"),
    "korquad-2": ("run_long_qa.py", "Wrong answers"),
    "tydiqa": ("run_long_qa.py", "Wrong answers"),
}


@pytest.mark.slow
def test_real_runs_of_every_kind(user: User, tmp_path: Path) -> None:
    for task, (script, _) in ON_THE_SAMPLE.items():
        user.types(*sample(task, f"report/{task}", *ONE_STEP), script=script)
    words = ["--config_file", "sample.json", "--output_dir", "report/spanbert"]
    user.types(*words, *ONE_STEP, script="pretrain_spanbert.py")
    call("ckpt/report", "--output", tmp_path / "report.html", folder=user.folder)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<p class="missing">' not in page
    for task, (_, heading) in ON_THE_SAMPLE.items():
        part = part_about(page, f"{task} · tiny-electra · seed 42")
        assert f"<h4>{heading}</h4>" in part and part.count("<tr>") > 10
    if CHROMIUM:
        _, scrolled, width, _ = told_by(page, WIDTHS, tmp_path, PHONE)
        assert scrolled <= width
