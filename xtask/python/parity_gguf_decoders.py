"""What transformers computes from trained GGUF files, which it widens to f32: logits of prompts and greedy continuations.

Logits are those of every position, of about a hundred tokens of the vocabulary. They are computed in f64 from the widened
weights, so that they do not depend on the processor; `noise` is how far transformers' own f32 is from that. Continuations
are those of f32; by how much each token was better than the next best stands beside it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
COLUMNS, GREEDY = 100, 48

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
MODELS = {
    "SmolLM2-135M-Instruct": [
        CHAT.format("What is the capital of France?"),
        CHAT.format("Write one sentence about the sea."),
        "The three primary colours are",
        "fn main() {\n    let numbers = vec![1, 2, 3];\n    for",
        "Caf\u00e9 \u2014 \u4e16\u754c: 1984, 2.5% & more.\n\n1.",
    ],
    "gemma-3-270m": [
        "The capital of France is",
        "Once upon a time, in a small village by the sea, there lived",
        "def fibonacci(n):\n    if n < 2:\n        return n\n",
    ],
}


def logits(model, tokens) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].double().numpy()


def greedy(model, prompt) -> tuple[list, list]:
    """The continuation, and by how much each token was better than the next best."""
    tokens, margins = [], []
    inputs, cache = torch.tensor([prompt]), None
    with torch.no_grad():
        for _ in range(GREEDY):
            out = model(inputs, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            (first, second), (token, _) = out.logits[0, -1].topk(2)
            tokens.append(int(token))
            margins.append(rounded(float(first - second)))
            inputs = token.reshape(1, 1)
    return tokens, margins


def cases(model, tokenizer, texts) -> list:
    prompts = [tokenizer(text)["input_ids"] for text in texts]
    singles = [logits(model, tokens) for tokens in prompts]
    continuations = [greedy(model, tokens) for tokens in prompts]
    # Past the model's own method, which refuses what was read from a GGUF file.
    torch.nn.Module.double(model)
    exacts = [logits(model, tokens) for tokens in prompts]
    columns = slice(None, None, model.config.vocab_size // COLUMNS)
    found = []
    for text, tokens, single, exact, (continuation, margins) in zip(texts, prompts, singles, exacts, continuations):
        noise = worst_relative(exact[:, columns], single[:, columns])
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{text!r}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        print(f"{len(tokens)} tokens, noise {noise:.1e}, narrowest decision {min(margins)}: {tokenizer.decode(continuation)!r}",
              flush=True)
        found.append({"text": text, "noise": rounded(noise), "tokens": tokens, "greedy": continuation, "margins": margins,
                      "logits": numbers(exact[:, columns])})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for name, texts in MODELS.items():
        folder = arguments.models / name
        files = sorted(folder.glob("*.gguf"))
        if len(files) != 1:
            raise SystemExit(f"{folder} must hold one GGUF file; run `cargo xtask models` first")
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=files[0].name)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=files[0].name, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
        vocabulary = model.config.vocab_size
        write(arguments.out / "gguf_decoders" / f"{name}.json", {
            "model": name, "made_with": versions(["transformers", "torch", "numpy", "gguf"]), "tolerance": TOLERANCE,
            "stride": vocabulary // COLUMNS, "cases": cases(model, tokenizer, texts),
        })


if __name__ == "__main__":
    main()
