"""Pairs of sentences with all-MiniLM-L6-v2's own similarity: what the static model's ranking is judged by."""

import argparse
import random
from itertools import combinations
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from fixture_format import numbers, versions, write
from static_pairs_texts import FRAMES, SWAPS, TOPICS

UNRELATED, EDITS, FRAMED, JOINED = 330, 210, 210, 210


def edited(sentence: str, rng: random.Random) -> str:
    """One small edit: a word replaced, dropped or doubled, neighbours exchanged, or the halves turned round."""
    words = sentence.rstrip(".?").split()
    swappable = [i for i, word in enumerate(words) if word.lower() in SWAPS]
    kinds = ["drop", "exchange", "turn"] + ["swap"] * 3 * bool(swappable)
    kind = rng.choice(kinds)
    if kind == "swap":
        i = rng.choice(swappable)
        words[i] = SWAPS[words[i].lower()]
    elif kind == "drop":
        del words[rng.randrange(len(words))]
    elif kind == "exchange":
        i = rng.randrange(len(words) - 1)
        words[i], words[i + 1] = words[i + 1], words[i]
    else:
        half = len(words) // 2
        words = words[half:] + words[:half]
    return " ".join(words) + sentence[-1]


def build(seed: int) -> list[tuple[str, str, str]]:
    """(kind, a, b), each pair once, the same on every run."""
    rng, pairs = random.Random(seed), {}

    def add(kind, a, b):
        if a != b and (key := tuple(sorted((a, b)))) not in pairs:
            pairs[key] = (kind, a, b)
            return True
        return False

    everything = [(topic, sentence) for topic, items in TOPICS.items() for item in items for sentence in item]
    for items in TOPICS.values():
        for a, b in items:
            add("paraphrase", a, b)
        for first, second in combinations(items, 2):
            add("same-topic", rng.choice(first), rng.choice(second))
    while sum(kind == "unrelated" for kind, _, _ in pairs.values()) < UNRELATED:
        (topic, a), (other, b) = rng.sample(everything, 2)
        if topic != other:
            add("unrelated", a, b)
    while sum(kind == "edit" for kind, _, _ in pairs.values()) < EDITS:
        sentence = rng.choice(everything)[1]
        add("edit", sentence, edited(sentence, rng))
    while sum(kind == "frame" for kind, _, _ in pairs.values()) < FRAMED:
        frame, places = rng.choice(FRAMES)
        first = {place: rng.choice(options) for place, options in places.items()}
        changed = rng.sample(sorted(places), rng.randint(1, len(places)))
        second = first | {place: rng.choice(places[place]) for place in changed}
        add("frame", frame.format(**first), frame.format(**second))
    while sum(kind == "joined" for kind, _, _ in pairs.values()) < JOINED:
        # Two sentences against two of which one may be a paraphrase of the first's: middling likeness, longer texts.
        topic, other = rng.sample(sorted(TOPICS), 2)
        a, b = rng.choice(TOPICS[topic])
        c, d = rng.choice(TOPICS[other])
        e = rng.choice(TOPICS[rng.choice([topic, other, rng.choice(sorted(TOPICS))])])[0]
        add("joined", f"{a} {c}", f"{b} {e}" if rng.random() < 0.6 else f"{e} {d}")
    return list(pairs.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder that holds all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = SentenceTransformer(str(args.models / "all-MiniLM-L6-v2"), device="cpu", model_kwargs={"dtype": torch.float32})
    pairs = build(seed=11)
    texts = sorted({text for _, a, b in pairs for text in (a, b)})
    row = {text: i for i, text in enumerate(texts)}
    vectors = model.encode(texts, batch_size=32, convert_to_tensor=True)
    write(args.out / "static_pairs.json", {
        "model": "all-MiniLM-L6-v2",
        "made_with": versions(),
        "pairs": [
            {"kind": kind, "a": a, "b": b, "similarity": numbers((vectors[row[a]] @ vectors[row[b]]).numpy())}
            for kind, a, b in pairs
        ],
    })
    print(f"static pairs: {len(pairs)} pairs of {len(texts)} texts")


if __name__ == "__main__":
    main()
