"""Tiny random-weight towers of CLIP, SigLIP and DINOv2, with the reference's hidden states and vectors.

A case is a JSON file: the configuration as transformers 5 saves it (`config`) and in the spelling of transformers 4
(`config_4`: its names, and of each part only what differs from the class's defaults), pictures as whole numbers (a pixel
value is a number / 32), token ids, and what becomes of them. Transformers computes in f64 from the stored weights; `noise`
is how far its own f32 is from that. Both spellings are checked to be the same model for transformers. Weights are drawn
large, so that an error shows.
"""

import argparse
import copy
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.models.clip import modeling_clip
from transformers.models.dinov2 import modeling_dinov2
from transformers.models.dinov2_with_registers import modeling_dinov2_with_registers
from transformers.models.siglip import modeling_siglip

from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
GRID = 32
CLASSES = {
    "clip": modeling_clip.CLIPModel,
    "clip_vision_model": modeling_clip.CLIPVisionModelWithProjection,
    "clip_text_model": modeling_clip.CLIPTextModel,
    "siglip": modeling_siglip.SiglipModel,
    "siglip_vision_model": modeling_siglip.SiglipVisionModel,
    "dinov2": modeling_dinov2.Dinov2Model,
    "dinov2_with_registers": modeling_dinov2_with_registers.Dinov2WithRegistersModel,
}
# What has no effect on results.
INERT = ["transformers_version", "initializer_range", "initializer_factor", "attention_dropout", "id2label", "label2id",
         "problem_type", "is_encoder_decoder", "output_attentions", "output_hidden_states", "return_dict", "_name_or_path",
         "chunk_size_feed_forward"]


def build(config):
    config._attn_implementation = "eager"
    return CLASSES[config.model_type](config).eval()


def randomise(model, seed: int, dtype: torch.dtype) -> None:
    """Draws every parameter anew, in the order of its name, larger than training would leave it, on the grid of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "logit_" in name:
                noise = 1.5 + 0.1 * noise
            elif "norm" in name and name.endswith("weight"):
                noise = 1.0 + 0.3 * noise
            elif "lambda1" in name:
                noise = 0.6 + 0.3 * noise
            elif name.endswith("bias"):
                noise = 0.5 * noise
            elif parameter.ndim > 1 and "embed" not in name.rsplit(".", 2)[-2] and "token" not in name:
                noise = noise * 1.7 / np.prod(parameter.shape[1:]) ** 0.5
            parameter.copy_(noise.to(dtype).float())


def saved_names(model, folder: Path) -> dict:
    """The tensors under the names that transformers saves them with."""
    from safetensors.torch import load_file
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    shutil.rmtree(folder)
    return tensors


def newer_spelling(config, dtype) -> dict:
    fields = config.to_dict()
    for part in [fields, fields.get("text_config", {}), fields.get("vision_config", {})]:
        for name in INERT:
            part.pop(name, None)
    fields["dtype"] = str(dtype).removeprefix("torch.")
    return fields


def older_spelling(config: dict) -> dict:
    """What transformers 4 wrote: its names, and of each part nothing that the class has as its default."""
    older = copy.deepcopy(config)
    older["torch_dtype"] = older.pop("dtype")
    default = AutoConfig.for_model(config["model_type"]).to_dict()
    keep = ("model_type", "torch_dtype", "architectures", "text_config", "vision_config")
    older = {key: value for key, value in older.items() if key in keep or key not in default or default[key] != value}
    for part in ["text_config", "vision_config"]:
        if part in older:
            nothing = AutoConfig.for_model(older[part]["model_type"]).to_dict()
            older[part] = {key: value for key, value in older[part].items()
                           if key == "model_type" or nothing.get(key) != value}
            # Transformers 4 wrote these beside everything else.
            older[part] |= {"dropout": 0.0, "tie_word_embeddings": True, "pruned_heads": {}, "torch_dtype": None}
    for name in ["stage_names", "out_features", "out_indices"]:
        older.pop(name, None)
    return older


def pad(ids, length, token):
    return ids + [token] * (length - len(ids))


class Reference:
    """A model's results for pictures and texts, as arrays."""

    def __init__(self, model, pictures, texts, pad_token):
        self.model, self.pictures, self.texts, self.pad_token = model, pictures, texts, pad_token

    def results(self) -> list:
        dtype = next(self.model.parameters()).dtype
        with torch.no_grad():
            return [self.picture(pixels.to(dtype)) for pixels in self.pictures] + self.text_results()

    def picture(self, pixels) -> dict:
        tower = getattr(self.model, "vision_model", self.model)
        out = tower(pixels[None], output_hidden_states=True)
        hidden = {place: state[0] for place, state in enumerate(out.hidden_states)}
        embedding = out.pooler_output
        if embedding is not None and hasattr(self.model, "visual_projection"):
            embedding = self.model.visual_projection(embedding)
        return {"hidden": hidden, "embedding": None if embedding is None else embedding[0]}

    def text_results(self) -> list:
        if not self.texts:
            return []
        tower = getattr(self.model, "text_model", self.model)
        causal = "clip" == self.model.config.model_type.split("_")[0]
        positions = tower.config.max_position_embeddings
        # CLIP's texts are padded to the longest and masked, SigLIP's to all positions, and seen.
        longest = max(map(len, self.texts)) if causal else positions
        ids = torch.tensor([pad(text, longest, self.pad_token) for text in self.texts])
        mask = torch.tensor([pad([1] * len(text), longest, 0) for text in self.texts]) if causal else None
        out = tower(ids, attention_mask=mask, output_hidden_states=True)
        embeddings = out.pooler_output
        if hasattr(self.model, "text_projection"):
            embeddings = self.model.text_projection(embeddings)
        results = []
        for row, text in enumerate(self.texts):
            length = len(text) if causal else positions
            hidden = {place: state[row, :length] for place, state in enumerate(out.hidden_states)}
            hidden["normed"] = out.last_hidden_state[row, :length]
            results.append({"hidden": hidden, "embedding": embeddings[row]})
        return results


def apart(exact: list, other: list) -> float:
    worst = 0.0
    for one, two in zip(exact, other, strict=True):
        for place, rows in one["hidden"].items():
            worst = max(worst, worst_relative(rows.double().numpy(), two["hidden"][place].double().numpy()))
        if one["embedding"] is not None:
            worst = max(worst, worst_relative(one["embedding"].double().numpy(), two["embedding"].double().numpy()))
    return worst


class Fixtures:
    """Writes the cases of one run."""

    def __init__(self, out: Path):
        self.out = out / "towers"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def case(self, name, note, config, seed, sizes=(), texts=(), pad_token=1, dtype=torch.float32) -> None:
        """One case: pictures of these sizes (height, width), texts of token ids."""
        model = build(config)
        randomise(model, seed, dtype)
        tensors = {key: value.to(dtype).contiguous() for key, value in saved_names(model, self.out / "saved").items()}
        save_file(tensors, self.out / f"{name}.safetensors", metadata={"format": "pt"})
        newer = newer_spelling(model.config, dtype)
        older = older_spelling(newer)

        generator = torch.Generator().manual_seed(seed + 1000)
        grids = [torch.randint(-2 * GRID, 2 * GRID + 1, (3, *size), generator=generator) for size in sizes]
        pictures = [grid / GRID for grid in grids]
        texts = [list(text) for text in texts]
        single = Reference(model, pictures, texts, pad_token).results()
        self.same_model(name, older, model, pictures, texts, pad_token, single)
        exact = Reference(copy.deepcopy(model).double(), pictures, texts, pad_token).results()
        noise = apart(exact, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        records = [
            {"hidden": {str(place): numbers(rows) for place, rows in result["hidden"].items() if self.kept(place, result)},
             "embedding": None if result["embedding"] is None else numbers(result["embedding"])}
            for result in exact
        ]
        seen = [{"height": size[0], "width": size[1], "pixels": grid.flatten().tolist(), **record}
                for size, grid, record in zip(sizes, grids, records[:len(sizes)], strict=True)]
        positions = None if not texts else model.text_model.config.max_position_embeddings \
            if hasattr(model, "text_model") else model.config.max_position_embeddings
        siglip = config.model_type == "siglip"
        read = [{"tokens": pad(text, positions, pad_token) if siglip else text, **record}
                for text, record in zip(texts, records[len(sizes):], strict=True)]
        write(self.out / f"{name}.json", {
            "name": name, "note": note, "made_with": versions(["transformers", "torch", "numpy"]),
            "weights": f"{name}.safetensors", "config": newer, "config_4": older,
            "tolerance": TOLERANCE, "noise": rounded(noise), "grid": GRID, "pictures": seen, "texts": read,
        })
        print(f"{name}: noise {noise:.1e}, {sum(tensor.numel() for tensor in tensors.values())} parameters")

    @staticmethod
    def kept(place, result) -> bool:
        """The last, the last but one, and that behind the last norm."""
        last = max(place for place in result["hidden"] if place != "normed")
        return place in (last - 1, last, "normed")

    @staticmethod
    def same_model(name, older, model, pictures, texts, pad_token, expected) -> None:
        """Transformers itself must read the older spelling as the same model."""
        fields = copy.deepcopy(older)
        again = build(AutoConfig.for_model(fields.pop("model_type"), **(fields | {"dtype": torch.float32}))).float()
        again.load_state_dict(model.state_dict())
        difference = apart(expected, Reference(again, pictures, texts, pad_token).results())
        if difference > 1e-6:
            raise SystemExit(f"{name}: its older spelling is another model for transformers: {difference:.1e} apart")


def cases(fx: Fixtures) -> None:
    vision = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 24,
              "patch_size": 8}
    text = {"hidden_size": 20, "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 5, "vocab_size": 50,
            "max_position_embeddings": 17}
    own = [(24, 24), (24, 24)]

    def clip(vision_config, text_config, **top):
        return AutoConfig.for_model("clip", vision_config=vision_config, text_config=text_config, **top)

    fx.case("clip", "quick_gelu; eos_token_id 2, so a text is pooled at its largest token; a nested projection_dim that differs",
            clip(vision | {"projection_dim": 7}, text | {"eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 49},
                 projection_dim=18), 1, own,
            [[48, 3, 49], [48, 7, 1, 2, 30, 11, 11, 49], [49], [48, *range(5, 20), 49]], pad_token=49)
    fx.case("clip-gelu", "gelu, f16 weights, 13 patches across, pooled at the first eos of several",
            clip(vision | {"hidden_act": "gelu", "image_size": 26, "patch_size": 2, "num_hidden_layers": 2},
                 text | {"hidden_act": "gelu", "eos_token_id": 41, "bos_token_id": 40, "pad_token_id": 41}, projection_dim=18),
            2, [(26, 26)], [[40, 3, 49, 41], [40, 7, 41, 2, 30, 41, 49]], pad_token=41, dtype=torch.float16)
    fx.case("clip-vision", "a vision tower alone, with its projection",
            AutoConfig.for_model("clip_vision_model", **vision, projection_dim=10), 3, own[:1])
    fx.case("clip-text", "a text tower alone, of 77 positions, without a projection; bf16 weights",
            AutoConfig.for_model("clip_text_model", **(text | {"max_position_embeddings": 77, "eos_token_id": 41, "bos_token_id": 40})),
            4, (), [[40, *([3, 49, 0, 12] * 18), 41], [40, 41]], pad_token=41, dtype=torch.bfloat16)
    fx.case("siglip", "attention pooling; texts padded to all positions; bf16 weights",
            AutoConfig.for_model("siglip", vision_config=vision,
                                 text_config=text | {"projection_size": 24, "bos_token_id": 0, "eos_token_id": 1}),
            5, own, [[3, 49, 1], [7, 1, 2, 30, 11, 11, 49, 1], list(range(2, 19))], dtype=torch.bfloat16)
    fx.case("siglip-headless", "a vision tower without its head",
            AutoConfig.for_model("siglip_vision_model", **vision, vision_use_head=False), 6, own[:1])
    dino = {key: value for key, value in vision.items() if key != "intermediate_size"}
    # The trained size, one that interpolates it (several ways), one of as many patches, edges that are no multiple.
    sizes = [(24, 24), (40, 40), (16, 56), (8, 72), (16, 16), (31, 47)]
    fx.case("dinov2", "positions interpolated for pictures of other sizes",
            AutoConfig.for_model("dinov2", **dino, mlp_ratio=2), 7, sizes)
    fx.case("dinov2-swiglu", "gated feed-forward halves, no bias of query, key and value, no mask token; f16 weights",
            AutoConfig.for_model("dinov2", **dino, mlp_ratio=2, use_swiglu_ffn=True, qkv_bias=False, use_mask_token=False), 8,
            [(24, 24), (32, 24)], dtype=torch.float16)
    fx.case("dinov2-registers", "register tokens, positions interpolated with antialiasing",
            AutoConfig.for_model("dinov2_with_registers", **(dino | {"image_size": 56}), mlp_ratio=2, num_register_tokens=3), 9,
            [(56, 56), (24, 16), (80, 64)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
