"""Trajectories of diffusers' schedulers, and draws of torch's CPU generator.

`schedulers/CLASS.json`: for each configuration some runs, and for each of them what the model is told and the sample after each
evaluation. The model is a formula that both sides compute (`model`), so every run is one of the same outputs but for rounding.
Noise that steps draw comes from torch's generator, too, seeded with `SEED`.

`noise/draws.json`: for seeds and counts the numbers that `torch.randn` gives, several draws after one another from one
generator. Long draws are given by some of their numbers.
"""

import argparse
import inspect
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch

from fixture_format import numbers, versions, write

TOLERANCE = 1e-4
SEED = 1234
# Two pictures of four numbers.
SHAPE = (2, 1, 2, 2)
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
LONG = [{"steps": 4}, {"steps": 10}, {"steps": 25}]
SHORT = [{"steps": 10}]
STRENGTHS = [{"steps": 10, "strength": 0.7}, {"steps": 25, "strength": 0.3}, {"steps": 4, "strength": 1.0}]


def case(name, runs=LONG, **fields):
    return {"name": name, "config": SD | fields, "runs": runs}


def spacings(runs=LONG, **fields):
    return [case(spacing, runs, timestep_spacing=spacing, **fields) for spacing in ("linspace", "leading", "trailing")]


def trained_betas():
    """A hundred betas of no known schedule."""
    return [round(0.001 + 0.0002 * index + 0.0005 * (index % 3), 6) for index in range(100)]


CASES = {
    "DDIMScheduler": [
        case("stable-diffusion", LONG + STRENGTHS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        *spacings(prediction_type="v_prediction", clip_sample=False),
        case("defaults", beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
        case("sample", prediction_type="sample", clip_sample_range=0.6),
        case("thresholding", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5),
        case("zero-snr", prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
             clip_sample=False),
        case("cosine", SHORT, beta_schedule="squaredcos_cap_v2", clip_sample=False),
        case("trained-betas", SHORT, trained_betas=trained_betas(), num_train_timesteps=100, clip_sample=False),
    ],
    "PNDMScheduler": [
        case("stable-diffusion", LONG + STRENGTHS + [{"steps": 1}, {"steps": 2}], skip_prk_steps=True, steps_offset=1),
        case("runge-kutta", LONG + [{"steps": 25, "strength": 0.9}]),
        case("velocity", skip_prk_steps=True, prediction_type="v_prediction", set_alpha_to_one=True),
        case("velocity-runge-kutta", SHORT, prediction_type="v_prediction", timestep_spacing="trailing"),
        case("linspace", SHORT, skip_prk_steps=True, timestep_spacing="linspace"),
        case("trailing", [{"steps": 10}, {"steps": 16}], skip_prk_steps=True, timestep_spacing="trailing"),
        case("cosine", SHORT, skip_prk_steps=True, beta_schedule="squaredcos_cap_v2"),
    ],
    "EulerDiscreteScheduler": [
        case("stable-diffusion-xl", LONG + STRENGTHS, timestep_spacing="leading", steps_offset=1,
             interpolation_type="linear"),
        case("turbo", [{"steps": 1}, {"steps": 4}], timestep_spacing="trailing"),
        *spacings(prediction_type="v_prediction"),
        case("karras", LONG + STRENGTHS, use_karras_sigmas=True),
        case("karras-leading", SHORT, use_karras_sigmas=True, timestep_spacing="leading", steps_offset=1),
        case("karras-bounds", SHORT, use_karras_sigmas=True, sigma_min=0.05, sigma_max=12.0),
        case("sample", SHORT, prediction_type="sample"),
        case("zero-snr", rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        case("ends-at-sigma-min", SHORT, final_sigmas_type="sigma_min"),
        case("cosine", SHORT, beta_schedule="squaredcos_cap_v2"),
        case("defaults", SHORT, beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    ],
    "EulerAncestralDiscreteScheduler": [
        case("stable-diffusion", LONG + STRENGTHS, timestep_spacing="leading", steps_offset=1),
        *spacings(prediction_type="v_prediction"),
        case("turbo", [{"steps": 1}], timestep_spacing="trailing"),
        case("zero-snr", SHORT, rescale_betas_zero_snr=True, prediction_type="v_prediction",
             timestep_spacing="trailing"),
    ],
    "DPMSolverMultistepScheduler": [
        case("2m", LONG + STRENGTHS),
        case("2m-karras", LONG + STRENGTHS, use_karras_sigmas=True),
        *spacings(SHORT, steps_offset=1, prediction_type="v_prediction"),
        case("order-1", SHORT, solver_order=1),
        case("order-3", LONG, solver_order=3),
        case("order-3-to-the-end", LONG, solver_order=3, lower_order_final=False, final_sigmas_type="sigma_min"),
        case("heun", SHORT, solver_type="heun", prediction_type="sample"),
        case("euler-at-final", LONG, euler_at_final=True, final_sigmas_type="sigma_min"),
        case("noise", LONG, algorithm_type="dpmsolver", final_sigmas_type="sigma_min"),
        case("noise-heun", SHORT, algorithm_type="dpmsolver", final_sigmas_type="sigma_min", solver_type="heun",
             prediction_type="v_prediction"),
        case("noise-order-3", SHORT, algorithm_type="dpmsolver", final_sigmas_type="sigma_min", solver_order=3,
             prediction_type="sample"),
        case("noise-thresholding", SHORT, algorithm_type="dpmsolver", final_sigmas_type="sigma_min", thresholding=True),
        case("stochastic", LONG + STRENGTHS, algorithm_type="sde-dpmsolver++"),
        case("stochastic-heun", SHORT, algorithm_type="sde-dpmsolver++", solver_type="heun", use_karras_sigmas=True),
        case("stochastic-order-3", SHORT, algorithm_type="sde-dpmsolver++", solver_order=3),
        case("stochastic-noise", SHORT, algorithm_type="sde-dpmsolver", final_sigmas_type="sigma_min"),
        case("stochastic-noise-heun", SHORT, algorithm_type="sde-dpmsolver", final_sigmas_type="sigma_min",
             solver_type="heun"),
        case("thresholding", SHORT, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=2.0),
        case("zero-snr", LONG, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        case("cosine", SHORT, beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1),
        case("cosine-karras", SHORT, beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True),
    ],
    "LCMScheduler": [
        case("lcm", [{"steps": 1}, {"steps": 4}, {"steps": 10}, {"steps": 25}] + STRENGTHS),
        case("shortened", [{"steps": 4, "shortened": 0.8}, {"steps": 10, "shortened": 0.5}]),
        case("velocity", [{"steps": 4}], prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=True,
             original_inference_steps=40, timestep_scaling=8.0),
        case("thresholding", [{"steps": 4}], prediction_type="sample", thresholding=True, sample_max_value=1.2),
        case("defaults", [{"steps": 8}]) | {"config": {}},
    ],
    "UniPCMultistepScheduler": [
        case("bh2", LONG + STRENGTHS),
        case("bh1", LONG, solver_type="bh1", final_sigmas_type="sigma_min"),
        case("karras", LONG + STRENGTHS, use_karras_sigmas=True),
        case("karras-bounds", SHORT, use_karras_sigmas=True, sigma_min=0.05, sigma_max=12.0),
        case("karras-ends-at-sigma-min", SHORT, use_karras_sigmas=True, sigma_min=0.05, final_sigmas_type="sigma_min"),
        *spacings(SHORT, steps_offset=1, prediction_type="v_prediction"),
        case("order-1", SHORT, solver_order=1),
        case("order-3", LONG, solver_order=3),
        case("order-3-to-the-end", LONG, solver_order=3, lower_order_final=False, final_sigmas_type="sigma_min"),
        case("noise", LONG, predict_x0=False, final_sigmas_type="sigma_min"),
        case("noise-sample", SHORT, predict_x0=False, final_sigmas_type="sigma_min", prediction_type="sample",
             thresholding=True),
        case("uncorrected", SHORT, disable_corrector=[0, 3]),
        case("thresholding", SHORT, thresholding=True, prediction_type="sample"),
        case("zero-snr", LONG, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"),
    ],
}

# One configuration in the hands of every other class, as requests can have it.
SHARED = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "skip_prk_steps": True, "steps_offset": 1,
          "set_alpha_to_one": False, "clip_sample": False, "trained_betas": None} | SD


def model(sample, timestep, evaluation):
    """Computed in f64 and rounded once."""
    flat = sample.double().flatten()
    places = torch.arange(len(flat), dtype=torch.float64)
    waves = torch.cos(0.05 * float(timestep) + 1.3 * places + 0.7 * evaluation)
    return (waves + 0.3 * torch.sin(flat)).float().reshape(sample.shape)


def ramp(scale):
    """A picture, or noise, that nobody needs to store."""
    places = torch.arange(int(np.prod(SHAPE)), dtype=torch.float64)
    return (torch.sin(1.0 + scale * places) * 1.5).float().reshape(SHAPE)


def run(scheduler, steps, strength=None, shortened=None) -> dict:
    """What StableDiffusionPipeline and its relatives for pictures do with a scheduler."""
    first = 0
    if shortened is None:
        scheduler.set_timesteps(steps)
    else:
        scheduler.set_timesteps(steps, strength=shortened)
    if strength is not None:
        first = steps - min(int(steps * strength), steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps = scheduler.timesteps[first:]
    picture, noise = ramp(0.9), ramp(2.3)
    if strength is None and shortened is None:
        sample = noise * scheduler.init_noise_sigma
    else:
        sample = scheduler.add_noise(picture, noise, timesteps[:1])
    result = {"steps": steps, "strength": strength, "shortened": shortened, "timesteps": numbers(timesteps.float()),
              "initial_sigma": numbers(torch.as_tensor(scheduler.init_noise_sigma).float()),
              "first": numbers(sample.flatten()), "samples": [], "renoised": None}
    generator = torch.Generator().manual_seed(SEED)
    draws = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for evaluation, timestep in enumerate(timesteps):
        output = model(scheduler.scale_model_input(sample, timestep), timestep, evaluation)
        sample = scheduler.step(output, timestep, sample, **draws).prev_sample
        result["samples"].append(numbers(sample.flatten()))
        if evaluation == 0 and len(timesteps) > 1:
            # How inpainting without a model of its own keeps the rest of the picture.
            result["renoised"] = numbers(scheduler.add_noise(picture, noise, timesteps[1:2]).flatten())
    assert torch.isfinite(sample).all()
    return result


def schedulers(out: Path) -> None:
    for name, cases in CASES.items():
        made = []
        shared = {"name": "shared", "config": SHARED, "runs": SHORT}
        for case in [*cases, shared]:
            # Only what the case says: absent fields are as the class has them.
            config = {"_class_name": name} | case["config"]
            made.append({"name": case["name"], "config": config, "runs": [
                run(getattr(diffusers, name).from_config(dict(config)), **wanted) for wanted in case["runs"]]})
        write(out / "schedulers" / f"{name}.json",
              {"made_with": versions(["diffusers", "torch", "numpy"]), "tolerance": TOLERANCE, "seed": SEED,
               "cases": made})


DRAWS = [
    {"seed": 0, "counts": [1, 1, 2, 15, 16, 17, 1, 100, 3, 4 * 64 * 64, 16, 5]},
    {"seed": 2**32 - 1, "counts": [16, 2 * 4 * 7 * 9, 15, 15]},
    # The generator takes 32 bits of it.
    {"seed": 2**32 + 7, "counts": [4, 33]},
    {"seed": 2**64 - 1, "counts": [33, 4]},
    {"seed": 1234567890123, "counts": [4 * 8 * 8 * 3, 31, 9]},
]


def draw(count, dtype, generator) -> dict:
    drawn = torch.randn(count, dtype=dtype, generator=generator).float()
    stride = 1 if count <= 128 else count // 64 + 1
    return {"count": count, "stride": stride, "numbers": numbers(drawn[::stride]), "tail": numbers(drawn[-18:])}


def noise(out: Path) -> None:
    cases = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for wanted in DRAWS:
            generator = torch.Generator().manual_seed(wanted["seed"])
            draws = [draw(count, dtype, generator) for count in wanted["counts"]]
            # As text: JSON's numbers end at 2^53 for many readers.
            cases.append({"dtype": str(dtype).removeprefix("torch."), "seed": str(wanted["seed"]), "draws": draws})
    write(out / "noise" / "draws.json", {"made_with": versions(["torch"]), "cases": cases})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    warnings.filterwarnings("ignore", category=FutureWarning)
    diffusers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    schedulers(out)
    noise(out)


if __name__ == "__main__":
    main()
