"""What decides a number here as in the original projects, against their formulas, written anew one by one.

Their settings are compared in test_config_files.py, seqeval's counts in test_metrics.py, SQuAD's figures in
test_squad_scores.py, and KorQuAD 2.0's reading of HTML in test_answer_scores_korquad_2.py.
"""

import json
import math
import random
import re
import string
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from processors import TASKS
from processors.metrics import METRICS, score
from processors.qa import answer_scores
from processors.splits import stratified_split
from processors.task import Rows
from training.optimizer import learning_rate_schedule

KORQUAD = Path(__file__).parents[3] / "shared" / "data" / "korquad" / "KorQuAD_v1.0_dev.json"
GOLDS = """서울특별시|1989년 2월 15일|《훈민정음》 해례본|‘아리랑’|"국민의 정부"|(주)한국전력공사
1,000.5%|3·1 운동|A-10 썬더볼트 II|<괴물>|세종대왕(1397~1450)|KBS 1TV
“독도는 우리 땅”|〈오마이뉴스〉|임종석 의장|백악관|It's a small world|ΑΣ'Α"""


# --------------------------------------------------------------------------------------------------------------------
# Answers
# --------------------------------------------------------------------------------------------------------------------


def official(text: str) -> str:
    """The official KorQuAD 1.0 script's `normalize_answer`: one symbol after the other, and so on in its order."""
    for symbol in "'\"《》<>〈〉()‘’":
        text = text.replace(symbol, " ")
    return " ".join("".join(c for c in text.lower() if c not in set(string.punctuation)).split())


def official_f1(prediction: str, gold: str, normalize=official) -> float:
    sides = [[c for word in normalize(text).split() for c in word] for text in (prediction, gold)]
    same = sum((Counter(sides[0]) & Counter(sides[1])).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(sides[0]), same / len(sides[1])
    return 2 * precision * recall / (precision + recall)


def perturbed(text: str, rng: random.Random) -> str:
    """A prediction as models make them: a particle more, a part of the answer, other symbols, or something else."""
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        [
            text,
            text + rng.choice(["는", "에서", ".", "’", " (가)"]),
            text[:at],
            text[at:],
            text[:at] + rng.choice(" '\"<>《》-·,") + text[at:],
            text.replace(" ", ""),
            text.swapcase(),
            rng.choice("가나 다"),
            "",
        ]
    )


def real_golds() -> list[str]:
    """The gold answers of KorQuAD's dev file where the data is there, and always those above."""
    golds = re.split(r"[|\n]", GOLDS)
    if KORQUAD.is_file():
        articles = json.loads(KORQUAD.read_text(encoding="utf-8"))["data"]
        qas = [qa for article in articles for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
        golds += [answer["text"] for qa in qas for answer in qa["answers"]]
    return golds


def test_korquad_1_on_perturbed_predictions():
    rng, texts = random.Random(1), real_golds()
    golds = {str(i): [rng.choice(texts) for _ in range(rng.choice([1, 1, 2]))] for i in range(3000)}
    predictions = {id: perturbed(answers[0], rng) for id, answers in golds.items()}
    ems, f1s = [], []
    for id, answers in golds.items():
        ems.append(max(official(predictions[id]) == official(answer) for answer in answers))
        f1s.append(max(official_f1(predictions[id], answer) for answer in answers))
        pair = (float(ems[-1]), pytest.approx(f1s[-1], rel=1e-12))
        assert answer_scores.best(predictions[id], answers) == pair, (predictions[id], answers)
    expected = {"em": sum(ems) / len(golds), "f1": sum(f1s) / len(golds)}
    assert answer_scores.score(predictions, golds) == pytest.approx(expected, rel=1e-12)
    assert 0.1 < expected["em"] < expected["f1"] < 0.9


def without_tags(text: str) -> str:
    """KorQuAD 2.0's `normalize_answer` where a text's tags are plain ones, without attributes."""
    text = re.sub(r"</?[a-z]+>", "", text).replace("&amp;", "&").replace("&lt;", "<")
    return "".join(official(text).split())


@pytest.mark.parametrize("tag", ["td", "b", "tr"])
def test_korquad_2_normalisation_of_plain_tags(tag: str):
    rng = random.Random(2)
    for text in re.split(r"[|\n]", GOLDS.replace("<", "").replace(">", "")):
        at = rng.randrange(len(text) + 1)
        html = f"<{tag}>{text[:at]}</{tag}>{rng.choice(['', ' ', '&amp;', '&lt;'])}<{tag}>{text[at:]}</{tag}>"
        assert answer_scores.normalize_korquad_2(html) == without_tags(html)


def kobigbird_best(predictions: dict, golds: dict, scores: dict) -> float:
    """KoBigBird's `find_best_thresh`: sorting by probabilities that are all 0 keeps the order of the questions."""
    probabilities = {id: 0.0 for id in predictions}
    best = current = sum(not answers for answers in golds.values())
    for id in sorted(probabilities, key=probabilities.get):
        if golds[id]:
            current += scores[id]
        elif predictions[id]:
            current -= 1
        best = max(best, current)
    return best / len(scores)


@pytest.mark.parametrize("seed", range(20))
def test_tydi_qa_is_scored_as_kobigbird_printed_it(seed: int):
    rng, texts = random.Random(seed), re.split(r"[|\n]", GOLDS)
    golds = {str(i): rng.sample(texts, rng.choice([0, 0, 1, 2])) for i in range(rng.choice([1, 5, 80]))}
    predictions = {id: perturbed((answers or texts)[0], rng) for id, answers in golds.items()}
    em = {id: float(max(without_tags(predictions[id]) == without_tags(a) for a in golds[id] or [""])) for id in golds}
    f1 = {id: max(official_f1(predictions[id], a, without_tags) for a in golds[id] or [""]) for id in golds}
    found = answer_scores.score_korquad_2(predictions, golds)
    assert found["published_style_em"] == pytest.approx(kobigbird_best(predictions, golds, em))
    assert found["published_style_f1"] == pytest.approx(kobigbird_best(predictions, golds, f1))


# --------------------------------------------------------------------------------------------------------------------
# Labels and scores
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_hate_speech_is_scored_by_means_over_the_classes(seed: int):
    rng = np.random.default_rng(seed)
    labels, outputs = rng.integers(0, 3, 200), rng.normal(size=(200, 3)).astype(np.float32)
    guesses = outputs.argmax(axis=1)
    figures = []
    for each in range(3):
        right, found, there = (
            ((labels == each) & (guesses == each)).sum(),
            (guesses == each).sum(),
            (labels == each).sum(),
        )
        figures.append((right / found, right / there, 2 * right / (found + there)))
    precision, recall, f1 = np.mean(figures, axis=0)
    expected = {
        "macro_f1": f1,
        "macro_precision": precision,
        "macro_recall": recall,
        "accuracy": (labels == guesses).mean(),
    }
    assert set(TASKS["hate-speech"].metrics) == set(expected)
    assert score(TASKS["hate-speech"].metrics, labels, outputs) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_fake_news_is_scored_as_kobigbird_printed_it(seed: int):
    """Also the ROC-AUC of the predicted classes: the share of pairs (real, fake) in order, and half of the ties."""
    rng = np.random.default_rng(seed)
    labels, outputs = rng.integers(0, 2, 150), rng.normal(size=(150, 2)).astype(np.float32)
    guesses = outputs.argmax(axis=1)
    ahead = guesses[labels == 1][:, None] - guesses[labels == 0][None, :]
    figures = score(TASKS["fake-news"].metrics, labels, outputs)
    assert figures["roc_auc_published_style"] == pytest.approx(((ahead > 0) + (ahead == 0) / 2).mean())
    tp, fp, fn, tn = (((guesses == g) & (labels == la)).sum() for g, la in ((1, 1), (1, 0), (0, 1), (0, 0)))
    root = math.sqrt(int(tp + fp) * int(tp + fn) * int(tn + fp) * int(tn + fn))
    assert figures["matthews_correlation"] == pytest.approx((tp * tn - fp * fn) / root)
    assert (figures["precision"], figures["recall"]) == pytest.approx((tp / (tp + fp), tp / (tp + fn)))


@pytest.mark.parametrize("seed", range(10))
def test_korsts_is_scored_by_both_correlations(seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 26, 300) / 5  # many ties, as in the data
    outputs = (labels + rng.normal(size=300))[:, None].astype(np.float32)

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))

    def ranks(values: np.ndarray) -> np.ndarray:
        return (values[:, None] > values).sum(axis=1) + ((values[:, None] == values).sum(axis=1) + 1) / 2

    predicted = outputs[:, 0].astype(float)
    assert METRICS["pearson"](labels, outputs) == pytest.approx(correlation(labels, predicted))
    assert METRICS["spearman"](labels, outputs) == pytest.approx(correlation(ranks(labels), ranks(predicted)))


# --------------------------------------------------------------------------------------------------------------------
# Training and test rows, learning rates
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["fake-news", "modu-sentiment"])
@pytest.mark.parametrize("seed", [42, 7])
def test_the_splits_are_those_of_kobigbird(task: str, seed: int):
    """`train_test_split` over the texts with `test_size=0.2`, the seed, and the labels to be stratified by."""
    from sklearn.model_selection import train_test_split

    labels = np.random.default_rng(0).integers(0, len(TASKS[task].labels), 500).tolist()
    texts = [f"글 {number}" for number in range(500)]
    theirs = train_test_split(texts, labels, test_size=0.2, random_state=seed, stratify=labels)
    train, test = stratified_split(TASKS[task], Rows(texts, None, labels), seed)
    assert (train.first, test.first, train.labels, test.labels) == tuple(map(list, theirs))


@pytest.mark.parametrize(
    "scheduler, warmup, batches, epochs",
    [
        ("linear", 0.0, 37, 3),  # KoELECTRA
        ("linear", 0.1, 37, 3),  # its nsmc/xlm-roberta
        ("linear", 0.1, 20, 10),  # KoSplinter's 200 steps
        ("linear", 0.25, 7, 1),
        ("constant", 0.0, 37, 5),  # KoBigBird without a warm-up: no schedule
        ("constant", 0.0, 1, 1),
    ],
)
def test_the_learning_rates_are_the_originals(scheduler: str, warmup: float, batches: int, epochs: int):
    total = batches * epochs
    rising = int(total * warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-5)
    settings = SimpleNamespace(lr_scheduler=scheduler, warmup_proportion=warmup)
    schedule = learning_rate_schedule(optimizer, settings, total)
    for step in range(total):
        share = 1.0
        if step < rising:
            share = step / rising
        elif scheduler == "linear":
            share = (total - step) / (total - rising)
        assert schedule.get_last_lr() == pytest.approx([3e-5 * share])
        optimizer.step()
        schedule.step()
