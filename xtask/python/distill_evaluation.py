"""How well a static table ranks: Spearman correlation of its similarities with MiniLM's."""

import json
import random
from pathlib import Path

import numpy as np

from distill_teacher import Teacher
from parity_static_pairs import edited


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[inverse]


def spearman(a, b) -> float:
    return float(np.corrcoef(ranks(np.asarray(a)), ranks(np.asarray(b)))[0, 1])


class HeldOut:
    """Pairs from corpus text that was not trained on: edits of one sentence, near neighbours, and random ones."""

    def __init__(self, texts: list[str], vectors: np.ndarray, teacher: Teacher, work: Path, each: int = 1500):
        rng = random.Random(23)
        path = work / "held_out.json"
        if path.exists():
            saved = json.loads(path.read_text("utf-8"))
            self.pairs = [tuple(pair) for pair in saved]
            return
        chosen = rng.sample([i for i, text in enumerate(texts) if text.count(" ") >= 3], each)
        edits = [edited(texts[i], rng) for i in chosen]
        edit_vectors = teacher.encode(edits)
        pairs = [("edit", texts[i], edit, float(vectors[i] @ vector))
                 for i, edit, vector in zip(chosen, edits, edit_vectors)]
        near = np.argsort(-(vectors[chosen] @ vectors.T), axis=1)[:, 1:31]
        for i, row in zip(chosen, near):
            j = int(row[rng.randrange(len(row))])
            pairs.append(("near", texts[i], texts[j], float(vectors[i] @ vectors[j])))
        for i in chosen:
            j = rng.randrange(len(texts))
            pairs.append(("random", texts[i], texts[j], float(vectors[i] @ vectors[j])))
        path.write_text(json.dumps(pairs), encoding="utf-8")
        self.pairs = pairs


def committed_pairs(path: Path) -> list[tuple[str, str, str, float]]:
    return [(pair["kind"], pair["a"], pair["b"], pair["similarity"]) for pair in json.loads(path.read_text("utf-8"))["pairs"]]


def spread_pairs(texts: list[str], vectors: np.ndarray) -> list[tuple[str, str, str, float]]:
    """Pairs whose similarities lie evenly: 250 from each tenth between 0 and 0.8, or as many as there are."""
    rng = np.random.default_rng(23)
    rows, columns = np.triu_indices(len(texts), 1)
    similarities = (vectors @ vectors.T)[rows, columns]
    pairs = []
    for low in np.arange(0, 0.8, 0.1):
        within = np.flatnonzero((similarities >= low) & (similarities < low + 0.1))
        for pick in rng.choice(within, min(250, len(within)), replace=False):
            pairs.append((f"{low:.1f}", texts[rows[pick]], texts[columns[pick]], float(similarities[pick])))
    return pairs


def judge(embed, pairs) -> dict:
    """`embed` maps texts to unit vectors; returns the correlation over all pairs, over the three natural
    kinds together, and over each kind alone."""
    a, b = embed([pair[1] for pair in pairs]), embed([pair[2] for pair in pairs])
    student = (a * b).sum(1)
    teacher = np.array([pair[3] for pair in pairs])
    kinds = np.array([pair[0] for pair in pairs])
    result = {"all": spearman(student, teacher)}
    natural = np.isin(kinds, ["paraphrase", "same-topic", "unrelated"])
    if natural.any():
        result["natural"] = spearman(student[natural], teacher[natural])
    for kind in dict.fromkeys(kinds):
        result[str(kind)] = spearman(student[kinds == kind], teacher[kinds == kind])
    return {kind: round(value, 4) for kind, value in result.items()}
