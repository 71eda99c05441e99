"""Tiny random-weight decoders, one for each architecture and way of stretching positions, with the reference's logits.

A case is a JSON file: the configuration as transformers 5 saves it (`config`) and in the spelling of transformers 4
(`config_4`: older names, and only what differs from the class's defaults), token ids, the logits of every position, and a
greedy continuation. Transformers computes all of it in f64 from the stored weights, so that it does not depend on the
processor; `noise` is how far its own f32 is from that. Both spellings are checked to be the same model for transformers.
Weights are drawn large, so that an error shows.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
VOCABULARY, TOKENS, PROMPT, GREEDY = 67, 37, 21, 64
# No continuation may hang on a smaller difference of the two best logits, so that it can be compared without excuses.
MARGIN = 2e-3

SIZES = {"vocab_size": VOCABULARY, "hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 192,
         "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# What has no effect on logits.
INERT_FIELDS = ["architectures", "use_cache", "initializer_range", "attention_dropout", "pretraining_tp", "resid_pdrop",
                "embd_pdrop"]


def build(model_type: str, **settings):
    config = AutoConfig.for_model(model_type, **(SIZES | settings))
    config._attn_implementation = "eager"
    return AutoModelForCausalLM.from_config(config)


def randomise(model, seed: int, dtype: torch.dtype) -> None:
    """Draws every parameter anew, in the order of its name, larger than training would leave it, on the grid of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    centre = 0.0 if "Gemma" in type(model).__name__ else 1.0
    # A tied embedding as large as the others would only ever repeat its token.
    embedding = 0.25 if model.config.tie_word_embeddings else 1.0
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                noise = centre + 0.3 * noise
            elif parameter.ndim == 1:
                noise = 0.5 * noise
            elif "embed_tokens" in name:
                noise = embedding * noise
            else:
                noise = noise * 1.7 / parameter.shape[-1] ** 0.5
            parameter.copy_(noise.to(dtype).float())
    model.eval()


def logits(model, tokens) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].double().numpy()


def greedy(model, prompt) -> tuple[list, float]:
    """The continuation, everything computed anew for every token, and its narrowest decision."""
    tokens, narrowest = list(prompt), np.inf
    for _ in range(GREEDY):
        last = logits(model, tokens)[-1]
        second, first = np.sort(last)[-2:]
        narrowest = min(narrowest, first - second)
        tokens.append(int(last.argmax()))
    return tokens[len(prompt):], float(narrowest)


def older_spelling(config: dict, edits: dict) -> dict:
    """What transformers 4 wrote: its names, and nothing that the class has as its default."""
    older = copy.deepcopy(config)
    rope = older.pop("rope_parameters")
    for field in [*INERT_FIELDS, "dtype", "transformers_version", "layer_types"]:
        older.pop(field, None)
    older["torch_dtype"] = config["dtype"]
    if "full_attention" in rope:
        whole, local = rope["full_attention"], rope["sliding_attention"]
        older["rope_local_base_freq"] = local["rope_theta"]
    else:
        whole = rope
    older["rope_theta"] = whole["rope_theta"]
    scaling = {key: value for key, value in whole.items() if key not in ("rope_theta", "partial_rotary_factor")}
    if scaling.get("rope_type", "default") != "default":
        older["rope_scaling"] = scaling
    if whole.get("partial_rotary_factor", 1.0) != 1.0:
        older["partial_rotary_factor"] = whole["partial_rotary_factor"]
    default = AutoConfig.for_model(config["model_type"]).to_dict()
    older = {key: value for key, value in older.items()
             if key in ("model_type", "torch_dtype") or key not in default or default[key] != value}
    for key, value in edits.items():
        if key == "rope_scaling":
            older["rope_scaling"] = {new: older["rope_scaling"][old] for old, new in value.items()}
        elif value is None:
            older.pop(key, None)
        else:
            older[key] = value
    return older


class Fixtures:
    """Writes the cases of one run."""

    def __init__(self, out: Path):
        self.out = out / "decoders"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def case(self, name: str, note: str, model_type: str, seed: int, dtype=torch.bfloat16, edits=None, weights=None,
             context=None, **settings) -> None:
        """One case; `edits` are what its older spelling has otherwise, `weights` the case whose weights it shares."""
        model = build(model_type, **settings)
        randomise(model, seed, dtype)
        config = model.config.to_dict()
        config["dtype"] = str(dtype).removeprefix("torch.")
        for private in ["_name_or_path", "chunk_size_feed_forward", "id2label", "label2id", "problem_type", "is_encoder_decoder",
                        "output_attentions", "output_hidden_states", "return_dict"]:
            config.pop(private, None)
        older = older_spelling(config, edits or {})
        if weights is None:
            self.save(name, model, dtype)

        tokens, continuation, narrowest = self.text(copy.deepcopy(model).double(), seed)
        single = logits(model, tokens)
        self.same_model(name, older, model, tokens, single)
        exact = logits(model.double(), tokens)
        noise = worst_relative(exact, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        write(self.out / f"{name}.json", {
            "name": name, "note": note, "made_with": versions(["transformers", "torch", "numpy"]),
            "weights": f"{weights or name}.safetensors",
            "config": config, "config_4": older, **({"context": context} if context else {}),
            "tolerance": TOLERANCE, "noise": rounded(noise), "tokens": tokens, "prompt": PROMPT, "greedy": continuation,
            "logits": numbers(exact),
        })
        print(f"{name}: noise {noise:.1e}, narrowest decision {narrowest:.1e}, "
              f"logits up to {abs(exact).max():.1f}, {len(set(continuation))} tokens in the continuation")

    def text(self, model, seed):
        """Token ids whose first ones have a continuation that is not in doubt."""
        generator = torch.Generator().manual_seed(seed + 1000)
        while True:
            tokens = torch.randint(VOCABULARY, (TOKENS,), generator=generator).tolist()
            continuation, narrowest = greedy(model, tokens[:PROMPT])
            if narrowest >= MARGIN:
                return tokens, continuation, narrowest

    def save(self, name, model, dtype) -> None:
        tied = set(model.config.tie_word_embeddings * ["lm_head.weight"])
        tensors = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items() if key not in tied}
        save_file(tensors, self.out / f"{name}.safetensors", metadata={"format": "pt"})

    def same_model(self, name, older, model, tokens, expected) -> None:
        """Transformers itself must read the older spelling as the same model."""
        fields = copy.deepcopy(older)
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        config._attn_implementation = "eager"
        config.dtype = torch.float32
        again = AutoModelForCausalLM.from_config(config).float().eval()
        again.load_state_dict(model.state_dict())
        difference = worst_relative(expected, logits(again, tokens))
        if difference > 1e-6:
            raise SystemExit(f"{name}: its older spelling is another model for transformers: {difference:.1e} apart\n"
                             + json.dumps(older, indent=1))


def cases(fx: Fixtures) -> None:
    fx.case("llama2", "every head has keys of its own; f32 weights", "llama", 1, torch.float32,
            num_key_value_heads=6, intermediate_size=46)
    fx.case("llama3", "grouped heads, llama3 scaling", "llama", 2, rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 48})
    fx.case("smollm2", "tied embeddings, another base", "llama", 3, rms_norm_eps=1e-5, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e5},
            edits={"is_llama_config": True, "rope_interleaved": False})
    fx.case("llama-bias", "biases everywhere, heads wider than their share, linear scaling; f16 weights", "llama", 4,
            torch.float16, attention_bias=True, mlp_bias=True, head_dim=10,
            rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
            edits={"rope_scaling": {"rope_type": "type", "factor": "factor"}})
    fx.case("mistral", "a window of 9 in all layers; f16 weights", "mistral", 5, torch.float16, sliding_window=9, head_dim=8)
    fx.case("qwen2", "biases of query, key and value; yarn", "qwen2", 6, tie_word_embeddings=True,
            rope_parameters={"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
                             "original_max_position_embeddings": 24},
            edits={"rope_scaling": {"rope_type": "type", "factor": "factor",
                                    "original_max_position_embeddings": "original_max_position_embeddings"}})
    fx.case("qwen2-window", "a window of 7 from the second layer on", "qwen2", 7, use_sliding_window=True, sliding_window=7,
            max_window_layers=1)
    fx.case("qwen3", "normed queries and keys, heads wider than their share", "qwen3", 8, head_dim=10,
            tie_word_embeddings=True)
    fx.case("gemma2", "soft caps that bite, a window of 8 in every other layer", "gemma2", 19, num_hidden_layers=4, head_dim=10,
            sliding_window=8, query_pre_attn_scalar=17, attn_logit_softcapping=3.0, final_logit_softcapping=4.0)
    fx.case("gemma3", "the default pattern of six layers, local positions with a base of their own, linear scaling for global ones",
            "gemma3_text", 10, num_hidden_layers=7, hidden_size=24, intermediate_size=38, num_attention_heads=4, head_dim=10,
            sliding_window=8, query_pre_attn_scalar=11,
            rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})
    fx.case("phi3", "fused projections, a window of 11 in all layers", "phi3", 11, sliding_window=11)
    longrope = {"rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.75,
                "short_factor": [1.1, 1.4, 2.0], "long_factor": [1.5, 4.0, 9.0]}
    older = {"rope_scaling": {"rope_type": "type", "short_factor": "short_factor", "long_factor": "long_factor"}}
    wide = {"hidden_size": 48, "original_max_position_embeddings": 16, "rope_parameters": longrope}
    fx.case("phi3-long", "longrope beyond the original context, three quarters of a head rotated", "phi3", 12, edits=older, **wide)
    fx.case("phi3-short", "the same weights within the original context", "phi3", 12, edits=older, weights="phi3-long",
            context=96, **(wide | {"original_max_position_embeddings": 96}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
