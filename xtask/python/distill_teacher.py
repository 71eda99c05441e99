"""What MiniLM says of the corpus and of its own vocabulary: unit vectors, in shards that a stopped run resumes from."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

SHARD = 4096
MAX_TOKENS = 128


class Teacher:
    """MiniLM with mean pooling and normalisation; bfloat16 arithmetic where the processor has it."""

    def __init__(self, folder: Path, exact: bool = False):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()
        self.exact = exact

    @torch.inference_mode()
    def states(self, batch: dict) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=not self.exact):
            hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        pooled = (hidden.float() * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def encode(self, texts: list[str], tokens_per_batch: int = 2048) -> np.ndarray:
        """Unit vectors of `texts`, [n, 384], batched by similar length."""
        ids = self.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return self.encode_ids(ids, tokens_per_batch)

    def encode_ids(self, ids: list[list[int]], tokens_per_batch: int = 2048) -> np.ndarray:
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), self.model.config.hidden_size), np.float32)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(ids[order[end]]) <= tokens_per_batch:
                end += 1
            rows = order[start:end]
            width = len(ids[rows[-1]])
            tokens = torch.zeros((len(rows), width), dtype=torch.long)
            mask = torch.zeros_like(tokens)
            for row, i in enumerate(rows):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            out[rows] = self.states({"input_ids": tokens, "attention_mask": mask}).numpy()
            start = end
        return out


def vocabulary(teacher: Teacher, work: Path) -> np.ndarray:
    """The unit vector of each token of the vocabulary, alone between [CLS] and [SEP]; [size, 384]."""
    path = work / "vocabulary.npy"
    if not path.exists():
        size = teacher.model.config.vocab_size
        cls, sep = teacher.tokenizer.cls_token_id, teacher.tokenizer.sep_token_id
        np.save(path, teacher.encode_ids([[cls, token, sep] for token in range(size)]))
    return np.load(path)


def sentences(teacher: Teacher, work: Path, corpus: Path, budget_s: float) -> int:
    """Encodes the corpus shard by shard until it ends or `budget_s` is spent; returns the number of sentences done."""
    texts = [json.loads(line)["text"] for line in corpus.read_text("utf-8").splitlines()]
    folder = work / "teacher"
    folder.mkdir(exist_ok=True)
    began, done = time.monotonic(), 0
    for index, start in enumerate(range(0, len(texts), SHARD)):
        path = folder / f"{index:04}.npy"
        if not path.exists():
            if time.monotonic() - began > budget_s:
                break
            vectors = teacher.encode(texts[start:start + SHARD])
            temporary = path.with_suffix(".partial.npy")
            np.save(temporary, vectors.astype(np.float16))
            temporary.rename(path)
            print(f"teacher: shard {index} after {time.monotonic() - began:.0f} s", flush=True)
        done = min(start + SHARD, len(texts))
    return done


def load(work: Path) -> np.ndarray:
    """All encoded sentences, in the corpus's order; [n, 384]."""
    return np.concatenate([np.load(path) for path in sorted((work / "teacher").glob("[0-9]*[0-9].npy"))]).astype(np.float32)
