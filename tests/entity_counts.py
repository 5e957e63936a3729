"""Entities read off a row of labels, and their scores computed from counts."""

import pytest


def figures(right: int, found: int, there: int) -> dict[str, float]:
    """Scores from three counts of entities: found and right, found, and in the reference."""
    precision, recall = right / found if found else 0, right / there if there else 0
    f1 = 2 * precision * recall / (precision + recall) if right else 0
    return {"f1": pytest.approx(f1), "precision": pytest.approx(precision), "recall": pytest.approx(recall)}


def entities_of(labels: list[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word + 1), as conlleval has them: a B, or an I behind anything but its own type."""
    found: list[list] = []
    for place, label in enumerate(labels):
        name, _, part = label.partition("-")
        if label == "O":
            continue
        if part == "I" and found and found[-1][0] == name and found[-1][2] == place:
            found[-1][2] += 1
        else:
            found.append([name, place, place + 1])
    return {tuple(one) for one in found}
