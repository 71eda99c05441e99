"""Tiny random-weight autoencoders of diffusers (`AutoencoderKL`), with what they make of pictures and of latents.

A case is a JSON file: the configuration as diffusers saves it, pictures and latents as whole numbers (a value is a number /
32), and what becomes of them, whole and in tiles. Diffusers computes in f64 from the stored weights; `noise` is how far its
own f32 is from that. Weights are drawn large, so that an error shows.
"""

import argparse
import copy
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
GRID = 32
# What has no effect on results.
INERT = ["_diffusers_version", "_name_or_path", "_use_default_values"]


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
                noise = noise * 1.7 / np.prod(parameter.shape[1:]) ** 0.5
            parameter.copy_(noise.to(dtype).float())


def results(model, given: dict) -> dict:
    dtype = next(model.parameters()).dtype
    ways = {
        "decode": lambda latents: model._decode(latents).sample,
        "decode_tiled": lambda latents: model.tiled_decode(latents).sample,
        "encode": model._encode,
        "encode_tiled": model._tiled_encode,
    }
    with torch.no_grad():
        return {way: [ways[way]((grid / GRID).to(dtype)[None])[0] for grid in grids] for way, grids in given.items()}


def positions(result) -> np.ndarray:
    """The numbers of each position."""
    return result.flatten(1).T.double().numpy()


def apart(exact: dict, other: dict) -> float:
    return max(worst_relative(positions(one), positions(two))
               for way in exact for one, two in zip(exact[way], other[way], strict=True))


class Fixtures:
    """Writes the cases of one run."""

    def __init__(self, out: Path):
        self.out = out / "vae"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def case(self, name, note, seed, sizes: dict, dtype=torch.float32, **config) -> None:
        """One case: `sizes` names height and width of what is given to each way."""
        model = AutoencoderKL(**config).eval()
        randomise(model, seed, dtype)
        tensors = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
        save_file(tensors, self.out / f"{name}.safetensors", metadata={"format": "pt"})
        generator = torch.Generator().manual_seed(seed + 1000)
        channels = {"decode": model.config.latent_channels, "encode": model.config.in_channels}
        given = {way: [torch.randint(-2 * GRID if "decode" in way else -GRID, (2 if "decode" in way else 1) * GRID + 1,
                                     (channels[way.split("_")[0]], *size), generator=generator) for size in each]
                 for way, each in sizes.items()}
        single = results(model, given)
        exact = results(copy.deepcopy(model).double(), given)
        noise = apart(exact, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        fields = {key: value for key, value in model.config.items() if key not in INERT}
        ways = {way: [{"height": grid.shape[1], "width": grid.shape[2], "given": grid.flatten().tolist(),
                       "output_height": output.shape[1], "output_width": output.shape[2],
                       "output": numbers(output.flatten(1))}
                      for grid, output in zip(grids, exact[way], strict=True)] for way, grids in given.items()}
        write(self.out / f"{name}.json", {
            "name": name, "note": note, "made_with": versions(["diffusers", "torch", "numpy"]),
            "weights": f"{name}.safetensors", "config": {"_class_name": "AutoencoderKL"} | fields,
            "tolerance": TOLERANCE, "noise": rounded(noise), "grid": GRID, "ways": ways,
        })
        print(f"{name}: noise {noise:.1e}, {sum(tensor.numel() for tensor in tensors.values())} parameters")


def blocks(*channels) -> dict:
    return {"block_out_channels": list(channels), "down_block_types": ["DownEncoderBlock2D"] * len(channels),
            "up_block_types": ["UpDecoderBlock2D"] * len(channels)}


def cases(fx: Fixtures) -> None:
    fx.case("three-blocks", "tiles of 16 pixels; sizes that are no multiples of a tile's step",
            1, {"decode": [(5, 3), (1, 1), (4, 4)], "decode_tiled": [(7, 5), (4, 9)],
                "encode": [(20, 12), (23, 9), (4, 4)], "encode_tiled": [(28, 20), (16, 20)]},
            **blocks(8, 12, 16), layers_per_block=2, norm_num_groups=4, sample_size=16)
    fx.case("four-blocks", "f16 weights; a picture whose edges are no multiples of 8",
            2, {"decode": [(3, 2)], "encode": [(29, 17), (16, 24)]}, dtype=torch.float16,
            **blocks(4, 8, 8, 12), layers_per_block=1, norm_num_groups=2, scaling_factor=0.13025, sample_size=32)
    fx.case("without", "neither attention nor convolutions beside the halves; 6 channels of latents, shifted; bf16 weights",
            3, {"decode": [(4, 5)], "encode": [(9, 10)]}, dtype=torch.bfloat16,
            **blocks(8, 16), layers_per_block=1, norm_num_groups=8, mid_block_add_attention=False, use_quant_conv=False,
            use_post_quant_conv=False, latent_channels=6, shift_factor=0.1159, scaling_factor=0.3611, force_upcast=False)
    fx.case("one-block", "no halving; four colour channels in and one out",
            4, {"decode": [(6, 5)], "encode": [(5, 6)]}, **blocks(12), norm_num_groups=3, in_channels=4, out_channels=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
