"""Tiny random-weight UNets in the layouts of Stable Diffusion's pipelines, with the reference's results.

A case is a JSON file: the configuration as diffusers saves it (`config`) and with only what differs from the class's defaults
(`config_sparse`), samples and conditions as whole numbers (a number / 32), and what becomes of the samples. Diffusers computes
each sample by itself, in f64 from the stored weights (a timestep's waves in f32, as it always does); `noise` is how far its own
f32 is from that. Both spellings are checked to be the same model for diffusers. Weights are drawn large, so that an error shows.
"""

import argparse
import copy
import inspect
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
GRID = 32


def randomise(model, seed: int, dtype: torch.dtype) -> None:
    """Draws every parameter anew, in the order of its name, larger than training would leave it, on the grid of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                noise = 1.0 + 0.3 * noise
            elif name.endswith("bias"):
                noise = 0.5 * noise
            else:
                noise = noise * 1.5 / np.prod(parameter.shape[1:]) ** 0.5
            parameter.copy_(noise.to(dtype).float())


def whole(generator, *shape) -> torch.Tensor:
    return torch.randint(-2 * GRID, 2 * GRID + 1, shape, generator=generator)


def fields(model) -> dict:
    """The configuration as save_pretrained writes it."""
    config = {"_class_name": "UNet2DConditionModel", "_diffusers_version": versions(["diffusers"])["diffusers"]}
    config |= {name: value for name, value in model.config.items() if not name.startswith("_")}
    return config


def sparse(config: dict) -> dict:
    defaults = {name: item.default for name, item in inspect.signature(UNet2DConditionModel.__init__).parameters.items()}

    def plain(value):
        return list(value) if isinstance(value, tuple) else value

    return {name: value for name, value in config.items()
            if not name.startswith("_") and plain(defaults[name]) != plain(value)}


class Case:
    """One configuration, and the samples it is given."""

    def __init__(self, config, seed, samples):
        self.config, self.seed = config, seed
        generator = torch.Generator().manual_seed(seed + 1000)
        self.samples = [self.draw(generator, **sample) for sample in samples]

    def draw(self, generator, height, width, timestep, tokens, guidance=None, time_ids=None) -> dict:
        config = self.config
        context = config["cross_attention_dim"]
        sample = {"height": height, "width": width, "timestep": timestep,
                  "sample": whole(generator, config["in_channels"], height, width),
                  "context": whole(generator, tokens, context if isinstance(context, int) else context[-1]),
                  "pooled": None, "time_ids": time_ids, "scale": guidance, "guidance": None}
        if time_ids is not None:
            size = config["projection_class_embeddings_input_dim"] - len(time_ids) * config["addition_time_embed_dim"]
            sample["pooled"] = whole(generator, size)
        if guidance is not None:
            waves = LatentConsistencyModelPipeline.get_guidance_scale_embedding
            sample["guidance"] = waves(None, torch.tensor([guidance]), config["time_cond_proj_dim"])[0]
        return sample

    def results(self, model) -> list:
        dtype = next(model.parameters()).dtype
        return [self.result(model, dtype, sample) for sample in self.samples]

    @staticmethod
    def result(model, dtype, sample) -> np.ndarray:
        def batch(values):
            return (values.to(dtype) / GRID)[None]

        added = None
        if sample["pooled"] is not None:
            added = {"text_embeds": batch(sample["pooled"]), "time_ids": torch.tensor([sample["time_ids"]], dtype=dtype)}
        guidance = None if sample["guidance"] is None else sample["guidance"][None].to(dtype)
        with torch.no_grad():
            out = model(batch(sample["sample"]), torch.tensor(sample["timestep"]), batch(sample["context"]), timestep_cond=guidance,
                        added_cond_kwargs=added).sample[0]
        return out.double().numpy()


def apart(reference: list, others: list) -> float:
    """The worst pixel, a vector of its channels."""
    def pixels(planes):
        return planes.reshape(planes.shape[0], -1).T
    return max(worst_relative(pixels(one), pixels(other)) for one, other in zip(reference, others, strict=True))


class Fixtures:
    """Writes the cases of one run."""

    def __init__(self, out: Path):
        self.out = out / "unet"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def case(self, name, note, config, seed, samples, dtype=torch.float32) -> None:
        model = UNet2DConditionModel(**config).eval()
        randomise(model, seed, dtype)
        tensors = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
        save_file(tensors, self.out / f"{name}.safetensors", metadata={"format": "pt"})
        full = fields(model)
        case = Case(full, seed, samples)
        single = case.results(model)
        again = UNet2DConditionModel.from_config(copy.deepcopy(sparse(full))).eval()
        again.load_state_dict(model.state_dict())
        if apart(single, case.results(again)) > 1e-6:
            raise SystemExit(f"{name}: its sparse spelling is another model for diffusers")
        exact = case.results(copy.deepcopy(model).double())
        noise = apart(exact, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        records = [self.record(sample, result) for sample, result in zip(case.samples, exact, strict=True)]
        write(self.out / f"{name}.json", {
            "name": name, "note": note, "made_with": versions(["diffusers", "torch", "numpy"]),
            "weights": f"{name}.safetensors", "config": full, "config_sparse": sparse(full),
            "tolerance": TOLERANCE, "noise": rounded(noise), "grid": GRID, "samples": records,
        })
        print(f"{name}: noise {noise:.1e}, {sum(tensor.numel() for tensor in tensors.values())} parameters")

    @staticmethod
    def record(sample, result) -> dict:
        def flat(values):
            return None if values is None else values.flatten().tolist()

        return {"height": sample["height"], "width": sample["width"], "timestep": sample["timestep"],
                "sample": flat(sample["sample"]), "context": flat(sample["context"]), "pooled": flat(sample["pooled"]),
                "time_ids": sample["time_ids"], "scale": sample["scale"],
                "guidance": None if sample["guidance"] is None else numbers(sample["guidance"]),
                "output": numbers(result.reshape(result.shape[0], -1))}


def cases(fx: Fixtures) -> None:
    small = {"block_out_channels": (8, 16, 24), "layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 12,
             "attention_head_dim": 2, "sample_size": 8,
             "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
             "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")}
    square = {"height": 8, "width": 8}
    fx.case("sd1", "Stable Diffusion 1.x: a number of heads for all blocks; odd sides; contexts of several lengths",
            small, 1, [square | {"timestep": 981.0, "tokens": 77}, square | {"timestep": 1.0, "tokens": 5},
                       {"height": 9, "width": 7, "timestep": 500.0, "tokens": 77},
                       {"height": 5, "width": 14, "timestep": 333.25, "tokens": 154},
                       {"height": 1, "width": 1, "timestep": 0.0, "tokens": 1}])
    fx.case("sd2", "Stable Diffusion 2.x: heads of each block, linear projections, attention upcast; f16 weights",
            small | {"attention_head_dim": (1, 2, 3), "use_linear_projection": True, "upcast_attention": True,
                     "layers_per_block": 2, "block_out_channels": (8, 16, 12)}, 2,
            [square | {"timestep": 999.0, "tokens": 77}, {"height": 12, "width": 10, "timestep": 17.0, "tokens": 77}],
            dtype=torch.float16)
    fx.case("sdxl", "SDXL: sizes and a vector of the text as conditions, several layers a transformer; bf16 weights",
            small | {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                     "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                     "block_out_channels": (8, 12, 16), "attention_head_dim": (1, 2, 4), "transformer_layers_per_block": (1, 2, 3),
                     "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 6,
                     "projection_class_embeddings_input_dim": 46}, 3,
            [square | {"timestep": 801.0, "tokens": 77, "time_ids": [1024.0, 768.0, 0.0, 4.0, 1024.0, 768.0]},
             square | {"timestep": 1.0, "tokens": 77, "time_ids": [512.0, 512.0, 64.0, 0.0, 256.0, 1536.0]}],
            dtype=torch.bfloat16)
    fx.case("lcm", "a latent consistency model: the guidance scale in the embedding of timesteps",
            small | {"time_cond_proj_dim": 10, "block_out_channels": (8, 16),
                     "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                     "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}, 4,
            [square | {"timestep": 999.0, "tokens": 77, "guidance": 7.5}, square | {"timestep": 259.0, "tokens": 77, "guidance": 0.0},
             square | {"timestep": 259.0, "tokens": 77}])
    fx.case("inpainting", "nine channels: latents, a mask, and the latents of what stays; f16 weights",
            small | {"in_channels": 9}, 5, [{"height": 6, "width": 11, "timestep": 721.0, "tokens": 77}], dtype=torch.float16)
    fx.case("uneven", "layers of each block and of each transformer, another way up, a middle of one block, waves the other way",
            small | {"block_out_channels": (8, 12), "layers_per_block": (1, 2), "attention_head_dim": (2, 3),
                     "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                     "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), "mid_block_type": "UNetMidBlock2D",
                     "transformer_layers_per_block": ((1,), (2, 1)), "reverse_transformer_layers_per_block": ((1, 2, 1), (1, 2)),
                     "flip_sin_to_cos": False, "freq_shift": 1, "center_input_sample": True, "time_embedding_dim": 20,
                     "cross_attention_dim": (12, 12), "norm_eps": 1e-3, "out_channels": 3, "act_fn": "swish"}, 6,
            [{"height": 7, "width": 6, "timestep": 450.0, "tokens": 3}], dtype=torch.float16)
    fx.case("headless", "no middle at all, as small distilled models have it",
            small | {"block_out_channels": (8, 12), "mid_block_type": None,
                     "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                     "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D")}, 7,
            [{"height": 4, "width": 5, "timestep": 600.0, "tokens": 7}], dtype=torch.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
