"""Makes the built-in static embedding model from all-MiniLM-L6-v2. Run by `cargo xtask distill`.

1. Free text from ordinary packages, one seeded sample (distill_corpus).
2. MiniLM's vectors of that text and of every token of its vocabulary, in shards (distill_teacher).
3. Plain distillation: the vocabulary's vectors, PCA to 256 dimensions, frequent tokens weighted down.
4. Regression: the table is trained so that the mean of a text's rows points where MiniLM's vector, under the same
   projection, points, and so that similarities within a batch agree.
5. int8 rows with one scale each, written in model2vec's own format; quality measured on what is written.

Stages 1, 2 and 4 resume from the work folder. Seeds are fixed.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

import distill_corpus
import distill_teacher
from distill_evaluation import HeldOut, committed_pairs, judge, spread_pairs

SEED = 7
DIMENSIONS = 256
HELD_OUT = 8_000
BATCH = 1024


class Student:
    """A table of rows and the tokenizer that picks them, as the shipped model reads text."""

    def __init__(self, table: np.ndarray, tokenizer: Tokenizer):
        self.table, self.tokenizer = table, tokenizer
        self.unknown = tokenizer.token_to_id("[UNK]")

    def ids(self, texts: list[str]) -> list[list[int]]:
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [[token for token in encoding.ids if token != self.unknown] for encoding in encodings]

    def embed(self, texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for row, ids in enumerate(self.ids(texts)):
            if ids:
                mean = self.table[ids].mean(0)
                out[row] = mean / max(np.linalg.norm(mean), 1e-12)
        return out


def shipped_tokenizer(minilm: Path) -> Tokenizer:
    """MiniLM's tokenizer without its cut and padding: a static model has no length limit."""
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def principal_axes(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The 256 axes that keep most of the vectors' length, uncentred so that cosines survive; and how much they keep."""
    moment = vectors.T.astype(np.float64) @ vectors
    values, axes = np.linalg.eigh(moment)
    kept = values[::-1][:DIMENSIONS].sum() / values.sum()
    return axes[:, ::-1][:, :DIMENSIONS].astype(np.float32), float(kept)


def frequency_weights(ids: list[list[int]], size: int) -> np.ndarray:
    """a / (a + p) with a = 1e-3 and p the token's share of the corpus (smooth inverse frequency, Arora et al. 2017)."""
    counts = np.bincount(np.concatenate([np.array(row, np.int64) for row in ids]), minlength=size) + 0.5
    return (1e-3 / (1e-3 + counts / counts.sum())).astype(np.float32)


class Bags:
    """Token ids of many texts, flat, for an embedding bag."""

    def __init__(self, ids: list[list[int]]):
        self.lengths = np.array([len(row) for row in ids])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.flat = torch.from_numpy(np.concatenate([np.array(row, np.int64) for row in ids]))

    def pick(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        index = np.concatenate([np.arange(self.starts[row], self.starts[row] + self.lengths[row]) for row in rows])
        offsets = np.concatenate([[0], np.cumsum(self.lengths[rows])[:-1]])
        return self.flat[torch.from_numpy(index)], torch.from_numpy(offsets)


def clusters(vectors: np.ndarray, count: int = 512, rounds: int = 8) -> np.ndarray:
    """Spherical k-means: the cluster of each unit vector."""
    points = torch.from_numpy(vectors)
    generator = torch.Generator().manual_seed(SEED)
    centres = points[torch.randperm(len(points), generator=generator)[:count]]
    for _ in range(rounds):
        member = torch.cat([(part @ centres.T).argmax(1) for part in points.split(8192)])
        sums = torch.zeros_like(centres).index_add_(0, member, points)
        centres = torch.nn.functional.normalize(sums, dim=1)
    return member.numpy()


def batches(rows: np.ndarray, member: np.ndarray, rng: np.random.Generator):
    """One pass over the rows: each batch is half at random, half alike, so that near similarities are taught too."""
    rows = rng.permutation(rows)
    half, each = len(rows) // 2, BATCH // 2
    mixed, alike = rows[:half], rows[half:]
    order = rng.permutation(member.max() + 1)
    alike = alike[np.argsort(order[member[alike]], kind="stable")]
    for start in rng.permutation(half // each) * each:
        yield np.concatenate([mixed[start:start + each], alike[start:start + each]])


def regress(table: np.ndarray, ids, vectors: np.ndarray, axes: np.ndarray, options, judge_now) -> np.ndarray:
    """Fits the table: cosine to the projected vector, plus agreement with MiniLM's own similarities within each batch."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    bags = Bags(ids)
    rows = np.flatnonzero(bags.lengths > 0)
    full = torch.from_numpy(vectors)
    goal = torch.nn.functional.normalize(torch.from_numpy(vectors @ axes), dim=1)
    weight = torch.nn.Parameter(torch.from_numpy(table.copy()))
    member = clusters(vectors)
    steps = options.epochs * (len(rows) // 2 // (BATCH // 2))
    optimiser = torch.optim.Adam([weight], lr=options.rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 100) * max(0.02, 1 - step / steps))
    best, best_table, began = -1.0, table, time.monotonic()
    for epoch in range(options.epochs):
        total = 0.0
        for chosen in batches(rows, member, rng):
            tokens, offsets = bags.pick(chosen)
            keep = (torch.rand(len(tokens)) >= options.dropout).float()
            mean = torch.nn.functional.embedding_bag(tokens, weight, offsets, mode="sum", per_sample_weights=keep)
            unit = torch.nn.functional.normalize(mean, dim=1)
            picked = torch.from_numpy(chosen)
            direction = 1 - (unit * goal[picked]).sum(1).mean()
            similarity = (unit @ unit.T - full[picked] @ full[picked].T).square().mean()
            loss = direction + options.pairwise * similarity
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        fitted = weight.detach().numpy()
        score = judge_now(fitted)
        print(f"regression: epoch {epoch + 1} loss {total * options.epochs / steps:.4f} held-out {score} "
              f"after {time.monotonic() - began:.0f} s", flush=True)
        if score["all"] > best:
            best, best_table = score["all"], fitted.copy()
    return best_table


def quantise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as int8 and their scales as f32: row = int8 * scale, the largest component at 127."""
    scales = np.maximum(np.abs(table).max(1), 1e-12) / 127
    return np.rint(table / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def write_model(out: Path, table: np.ndarray, tokenizer: Tokenizer) -> None:
    """The folder in model2vec's format, which sentence-transformers' modules.json names too."""
    out.mkdir(parents=True, exist_ok=True)
    rows, scales = quantise(table)
    save_file({"embeddings": rows, "weights": scales}, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    (out / "config.json").write_text(json.dumps({
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": "sentence-transformers/all-MiniLM-L6-v2",
        "hidden_dim": DIMENSIONS,
        "embedding_dtype": "int8",
        "normalize": True,
        "max_length": None,
        "seq_length": None,
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "license": "apache-2.0",
        "candlepool": {"recipe": "cargo xtask distill", "pooling": "mean"},
    }, indent=2) + "\n", encoding="utf-8")
    (out / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ], indent=2) + "\n", encoding="utf-8")


def read_table(out: Path) -> np.ndarray:
    tensors = load_file(out / "model.safetensors")
    return tensors["embeddings"].astype(np.float32) * tensors["weights"][:, None]


def report(name: str, student: Student, tests: dict) -> dict:
    """Judges a student by every set of pairs, prints it, and returns the correlation over each whole set."""
    whole = {}
    for kind, pairs in tests.items():
        result = judge(student.embed, pairs)
        whole[kind] = result["all"]
        if kind == "spread":
            result = {"all": result["all"]}
        print(f"{name}, {kind} pairs ({len(pairs)}): {json.dumps(result)}", flush=True)
    return whole


def write_quality(out: Path, quality: dict) -> None:
    path = out / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["candlepool"]["spearman_with_base_model"] = quality
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="sources, corpus and vectors; kept between runs")
    parser.add_argument("--pairs", type=Path, required=True, help="static_pairs.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encode-seconds", type=float, default=3600, help="stop encoding after so long and use what is there")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=7e-3)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--pairwise", type=float, default=30.0)
    parser.add_argument("--judge-only", action="store_true", help="train nothing: judge the model that is in --out")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    corpus = distill_corpus.build(args.work, SEED)
    teacher = distill_teacher.Teacher(args.minilm)
    vocabulary = distill_teacher.vocabulary(teacher, args.work)
    distill_teacher.sentences(teacher, args.work, corpus, args.encode_seconds)
    vectors = distill_teacher.load(args.work)
    texts = [json.loads(line)["text"] for line in corpus.read_text("utf-8").splitlines()][:len(vectors)]
    print(f"teacher: {len(texts)} texts and {len(vocabulary)} tokens encoded", flush=True)

    tokenizer = shipped_tokenizer(args.minilm)
    pairs = committed_pairs(args.pairs)
    written = {text for pair in pairs for text in pair[1:3]}
    held = HeldOut(texts[:HELD_OUT], vectors[:HELD_OUT], teacher, args.work)
    train = [i for i in range(HELD_OUT, len(texts)) if texts[i] not in written]
    ids = Student(vocabulary, tokenizer).ids([texts[i] for i in train])

    token_axes, _ = principal_axes(vocabulary)
    frequency = frequency_weights(ids, len(vocabulary))
    plain = Student(vocabulary @ token_axes * frequency[:, None], tokenizer)
    tests = {"written": pairs, "held_out": held.pairs, "spread": spread_pairs(texts[:HELD_OUT], vectors[:HELD_OUT])}
    report("plain distillation", plain, tests)

    if not args.judge_only:
        axes, kept = principal_axes(vectors[HELD_OUT:])
        print(f"projection: {DIMENSIONS} of {vectors.shape[1]} dimensions keep {kept:.4f} of the squared length", flush=True)
        table = (vocabulary @ axes) * frequency[:, None]
        table = regress(table, ids, vectors[train], axes, args, lambda now: judge(Student(now, tokenizer).embed, held.pairs))
        report("before int8", Student(table, tokenizer), tests)
        write_model(args.out, table, tokenizer)
    stored = Student(read_table(args.out), Tokenizer.from_file(str(args.out / "tokenizer.json")))
    quality = report("as stored", stored, tests)
    write_quality(args.out, quality)
    print(f"size: {sum(path.stat().st_size for path in args.out.iterdir())} bytes in {args.out}")


if __name__ == "__main__":
    main()
