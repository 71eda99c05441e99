"""Tiny random-weight pipelines of Stable Diffusion in diffusers' own layout, and what diffusers makes with them.

A folder of `pipelines` is what `save_pretrained` writes, and `expected.json`: text embeddings, and pictures from seeds. Numbers
are computed in f64 from the stored weights; noise is drawn in the dtype that a run names (`noise`: by default the one that the
weights are stored in), since torch has another stream for each. `noise_f32` says how far diffusers' own f32 is from that: in
embeddings relative, in pictures (0..1) absolute. Weights are drawn large, so that an error shows.

Of hidden states each `ROWS`th row is kept, of a run's pictures (one behind the other, channels first) each `PIXELS`th number. `original.json` says how the pipeline's tensors make a single file in the original naming: `[name there, how, component, names
here]`, where `how` is `same`, `concatenated` (along the first axis), `transposed`, or `convolution` (a matrix with two axes of 1
behind it). It is checked by having diffusers' own reader of such files make the pipeline's tensors of it again.
"""

import argparse
import contextlib
import json
import logging
import re
import shutil
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.loaders import single_file_utils
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from fixture_format import numbers, rounded, versions, worst_relative, write
from parity_towers import randomise

TOLERANCE = 2e-4
PICTURE_TOLERANCE = 1 / 255
ROWS = 5
PIXELS = 5
POSITIONS = 77
LONG = "a photo of the cat, " * 16 + "and dogs!"
PROMPTS = ["a photo of the cat", "", "Two dogs,  and a CAT's sofa!!", "naïve café 東京 🎉", LONG]
PROMPT = "a photo of the dogs and a cat"
NEGATIVE = "the sofa!"
ALGORITHMS = {
    "ddim": DDIMScheduler,
    "pndm": PNDMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_a": EulerAncestralDiscreteScheduler,
    "dpm++2m": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
    "unipc": UniPCMultistepScheduler,
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tokenizer(pad: str) -> CLIPTokenizer:
    """Bytes, bytes at the end of a word, and some merges; `!` is the token 0, as in CLIP's own vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["c a", "ca t</w>", "d o", "do g", "dog s</w>", "p h", "o t", "ph ot", "phot o</w>", "t h", "th e</w>", "o f</w>"]
    vocabulary = alphabet + [letter + "</w>" for letter in alphabet] + [merge.replace(" ", "") for merge in merges]
    vocabulary = {token: number for number, token in enumerate([*vocabulary, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in merges], model_max_length=POSITIONS,
                         pad_token=pad)


VOCABULARY = len(tokenizer("<|endoftext|>"))


def text_encoder(seed, dtype, hidden, heads, layers, activation="quick_gelu", projection=None, legacy=True, pad=1):
    """`legacy`: the configurations of the published checkpoints say 2 of the end token, and mean the largest."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=POSITIONS, hidden_act=activation,
        projection_dim=projection or hidden, bos_token_id=0, pad_token_id=pad, eos_token_id=2 if legacy else VOCABULARY - 1)
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return drawn(kind(config), seed, dtype)


def drawn(model, seed, dtype, gain=1.0):
    model = model.eval()
    randomise(model, seed, dtype)
    if gain != 1.0:
        with torch.no_grad():
            weight = model.decoder.conv_out.weight
            weight.copy_((weight * gain).to(dtype).float())
    return model


def vae(seed, dtype, channels=(8, 16, 16), **more):
    levels = len(channels)
    return drawn(AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels, block_out_channels=channels, layers_per_block=1, latent_channels=4,
        norm_num_groups=4, **({"sample_size": 32, "scaling_factor": 0.18215} | more)), seed, dtype, gain=0.3)


def unet(seed, dtype, **more):
    fields = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "norm_num_groups": 4,
        "block_out_channels": (8, 16, 24), "attention_head_dim": 4, "cross_attention_dim": 20,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    }
    return drawn(UNet2DConditionModel(**(fields | more)), seed, dtype)


@contextlib.contextmanager
def noise_of(dtype):
    """Has every normal draw come from the stream of another dtype, and be handed on as what was asked for."""
    draw = torch.randn

    def randn(*shape, **options):
        wanted = options.pop("dtype", None) or torch.get_default_dtype()
        return draw(*shape, **options, dtype=dtype).to(wanted)

    torch.randn = randn
    try:
        yield
    finally:
        torch.randn = draw


class Chunked:
    """A prompt's embeddings as long prompts are read: chunks of 75 tokens, each between a begin and an end and padded."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.sides = [(pipe.tokenizer, pipe.text_encoder)]
        if hasattr(pipe, "tokenizer_2"):
            self.sides.append((pipe.tokenizer_2, pipe.text_encoder_2))

    def tokens(self, text) -> list:
        """Of each text encoder, the chunks."""
        found = []
        for tokens, _ in self.sides:
            ids = tokens(text, add_special_tokens=False).input_ids
            parts = [ids[start:start + POSITIONS - 2] for start in range(0, max(len(ids), 1), POSITIONS - 2)]
            rows = [[tokens.bos_token_id, *part, tokens.eos_token_id] for part in parts]
            found.append([row + [tokens.pad_token_id] * (POSITIONS - len(row)) for row in rows])
        return found

    def encode(self, text):
        contexts, pooled = [], None
        for (_, encoder), rows in zip(self.sides, self.tokens(text), strict=True):
            with torch.no_grad():
                out = encoder(torch.tensor(rows), output_hidden_states=True)
            if len(self.sides) == 1:
                states = out.last_hidden_state
            else:
                states = out.hidden_states[-2]
                pooled = out.text_embeds[0] if hasattr(out, "text_embeds") else None
            contexts.append(states.flatten(0, 1))
        return torch.cat(contexts, -1), pooled

    def check(self, text) -> None:
        """Must be what the pipeline itself makes of a text that fits in one chunk."""
        embeddings = self.pipe.encode_prompt(text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        context, pooled = self.encode(text)
        apart = worst_relative(embeddings[0][0].detach().numpy(), context.numpy())
        if pooled is not None:
            apart = max(apart, worst_relative(embeddings[2][0].detach().numpy(), pooled.numpy()))
        if apart > 1e-6:
            raise SystemExit(f"{text!r}: not what the pipeline makes of it: {apart:.1e} apart")


def prompts(pipe, exact) -> tuple:
    records, noise = [], 0.0
    single, double = Chunked(pipe), Chunked(exact)
    for text in PROMPTS:
        context, pooled = double.encode(text)
        if len(context) == POSITIONS:
            double.check(text)
        context_f32, pooled_f32 = single.encode(text)
        noise = max(noise, worst_relative(context.numpy(), context_f32.numpy()))
        record = {"text": text, "tokens": double.tokens(text), "context": numbers(context[::ROWS].numpy()), "pooled": None}
        if pooled is not None:
            noise = max(noise, worst_relative(pooled.numpy(), pooled_f32.numpy()))
            record["pooled"] = numbers(pooled.numpy())
        records.append(record)
    if noise > TOLERANCE / 10:
        raise SystemExit(f"embeddings: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
    return records, noise


def render(pipe, run, pictures: Path, dtype):
    """What comes out of one run: its first noise, the last latents and the pictures (0..1)."""
    pipe = run["pipeline"].from_pipe(pipe, torch_dtype=dtype) if run["pipeline"] else pipe
    if run["scheduler"]:
        pipe.scheduler = ALGORITHMS[run["scheduler"]].from_config(pipe.scheduler.config)
    else:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    own = {name: pipe.config[name] for name in run["model_index"]}
    pipe.register_to_config(**run["model_index"])
    pipe.set_progress_bar_config(disable=True)
    asked = {"prompt": run["prompt"], "num_inference_steps": run["steps"], "guidance_scale": run["guidance"],
             "num_images_per_prompt": run["pictures"], "generator": torch.Generator().manual_seed(run["seed"])}
    if not isinstance(pipe, LatentConsistencyModelPipeline):
        asked["negative_prompt"] = run["negative"]
    size = {"height": run["height"], "width": run["width"]}
    if run["kind"] == "text":
        asked |= size
    else:
        image = Image.open(pictures / run["image"])
        asked |= {"image": pipe.image_processor.resize(image, **size), "strength": run["strength"]}
    if run["kind"] == "inpaint":
        asked |= size | {"image": image, "mask_image": Image.open(pictures / run["mask"])}
    first = []
    draw = torch.randn

    def noting(*shape, **options):
        drawn = draw(*shape, **options)
        first.append(drawn)
        return drawn

    torch.randn = noting
    try:
        with torch.no_grad(), noise_of(DTYPES[run["noise"]]):
            latents = pipe(**asked, output_type="latent").images
            del first[1:]
            asked["generator"] = torch.Generator().manual_seed(run["seed"])
            made = pipe(**asked, output_type="pt").images
    finally:
        torch.randn = draw
        pipe.register_to_config(**own)
    return first[0].float(), latents, made


class Fixtures:
    def __init__(self, out: Path):
        self.out = out / "pipelines"
        self.pictures = out / "pictures"
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.pictures, ignore_errors=True)
        self.pictures.mkdir(parents=True)
        draw_pictures(self.pictures)

    def case(self, name, note, build, dtype, runs, original) -> None:
        folder = self.out / name
        stored = DTYPES[dtype]
        pipe = build(stored)
        for component in pipe.components.values():
            if isinstance(component, torch.nn.Module):
                component.to(stored)
        pipe.save_pretrained(folder)
        tidy(folder)
        if original:
            write_rows(folder / "original.json", original_names(pipe, original))
        pipe = type(pipe).from_pretrained(folder, torch_dtype=torch.float32, **absent(pipe))
        exact = type(pipe).from_pretrained(folder, torch_dtype=torch.float64, **absent(pipe))
        records, noise = prompts(pipe, exact)
        made, seen, apart = [], [], 0.0
        for run in runs:
            run = {"name": "", "kind": "text", "prompt": PROMPT, "negative": None, "scheduler": None, "steps": 4, "guidance": 7.5,
                   "seed": 1, "width": 32, "height": 32, "pictures": 1, "noise": dtype, "pipeline": None, "model_index": {}} | run
            drawn, latents, pictures = render(exact, run, self.pictures, torch.float64)
            _, _, single = render(pipe, run, self.pictures, torch.float32)
            difference = (pictures - single).abs().max().item()
            apart = max(apart, difference)
            run.pop("pipeline")
            if any(pictures.shape == other.shape and (pictures - other).abs().max() < 4 * PICTURE_TOLERANCE for other in seen):
                raise SystemExit(f"{name}, {run['name']}: as good as another run's picture, so it shows nothing")
            seen.append(pictures)
            clamped = ((pictures <= 0) | (pictures >= 1)).double().mean().item()
            print(f"  {run['name']}: f32 {difference:.1e} from f64, spread {pictures.std():.2f}, {clamped:.0%} clamped")
            if difference > PICTURE_TOLERANCE / 10 or clamped > 0.5:
                raise SystemExit(f"{name}, {run['name']}: f32 is {difference:.1e} from f64, {clamped:.0%} are clamped")
            made.append(run | {"first_noise": numbers(drawn.flatten().numpy()),
                               "latents": numbers(latents.flatten().numpy()),
                               "picture": numbers(pictures.flatten()[::PIXELS].numpy())})
        write(folder / "expected.json", {
            "note": note, "made_with": versions(["diffusers", "transformers", "torch", "numpy", "pillow", "tokenizers"]),
            "dtype": dtype, "tolerance": TOLERANCE, "noise": rounded(noise), "picture_tolerance": PICTURE_TOLERANCE,
            "noise_f32": {"noise": rounded(apart)}, "rows": ROWS, "pixels": PIXELS, "prompts": records, "runs": made,
        })
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{name}: noise {noise:.1e}, pictures {apart:.1e}, {size >> 10} KiB")


def absent(pipe) -> dict:
    return {name: None for name, value in pipe.components.items() if value is None}


def write_rows(path: Path, rows: list) -> None:
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
UNET_ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
             "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
             "add_embedding.linear_2": "label_emb.0.2"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {"embeddings.position_embedding.weight": "positional_embedding", "embeddings.token_embedding": "token_embedding",
             "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1",
             "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}


def renamed(name: str, names: dict) -> str:
    for here, there in names.items():
        name = name.replace(here, there)
    return name


def original_unet(name: str, config, tensors) -> str:
    a_level = config.layers_per_block + 1
    for here, there in UNET_ENDS.items():
        if name.startswith(here + "."):
            return there + name.removeprefix(here)
    part, level, kind, layer, rest = re.fullmatch(
        r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name).groups()
    place = 2 * int(layer) if kind == "resnets" else 1
    rest = renamed(rest, RESNET) if kind == "resnets" else rest
    if part == "mid":
        return f"middle_block.{place}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(int(level) + 1) * a_level}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        attends = any(other.startswith(f"up_blocks.{level}.attentions.") for other in tensors)
        return f"output_blocks.{(int(level) + 1) * a_level - 1}.{2 if attends else 1}.{rest}"
    number = int(level) * a_level + int(layer)
    blocks = f"input_blocks.{number + 1}" if part == "down" else f"output_blocks.{number}"
    return f"{blocks}.{0 if kind == 'resnets' else 1}.{rest}"


def original_vae(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        return renamed(name.replace("mid_block.attentions.0", "mid.attn_1"), VAE_ATTENTION)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{levels - 1 - int(found[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", name)


def original_names(pipe, layout: str) -> list:
    rows = []
    unet, vae = pipe.unet.state_dict(), pipe.vae.state_dict()
    for name in unet:
        rows.append(["model.diffusion_model." + original_unet(name, pipe.unet.config, unet), "same", "unet", [name]])
    for name, tensor in vae.items():
        matrix = "attentions" in name and tensor.ndim == 2
        there = "first_stage_model." + original_vae(name, len(pipe.vae.config.block_out_channels))
        rows.append([there, "convolution" if matrix else "same", "vae", [name]])
    if layout == "v1":
        rows += clip_names(pipe.text_encoder, "text_encoder", "cond_stage_model.transformer.")
    elif layout == "v2":
        rows += open_clip_names(pipe.text_encoder, "text_encoder", "cond_stage_model.model.")
    else:
        rows += clip_names(pipe.text_encoder, "text_encoder", "conditioner.embedders.0.transformer.")
        rows += open_clip_names(pipe.text_encoder_2, "text_encoder_2", "conditioner.embedders.1.model.")
    check_names(pipe, rows)
    return sorted(rows)


def clip_names(encoder, component: str, prefix: str) -> list:
    bare = lambda name: name.removeprefix("text_model.")
    return [[f"{prefix}text_model.{bare(name)}", "same", component, [name]] for name in encoder.state_dict()]


def open_clip_names(encoder, component: str, prefix: str) -> list:
    rows = []
    for name in encoder.state_dict():
        bare = name.removeprefix("text_model.")
        if bare == "text_projection.weight":
            rows.append([prefix + "text_projection", "transposed", component, [name]])
        elif ".q_proj." in bare:
            there = renamed(bare, OPEN_CLIP).replace("self_attn.q_proj.", "attn.in_proj_")
            rows.append([prefix + there, "concatenated", component, [name.replace("q_proj", f"{part}_proj") for part in "qkv"]])
        elif ".k_proj." not in bare and ".v_proj." not in bare:
            rows.append([prefix + renamed(bare, OPEN_CLIP), "same", component, [name]])
    return rows


def check_names(pipe, rows: list) -> None:
    """Diffusers' reader of single files must make the pipeline's tensors of the file that these rows make."""
    components = {name: getattr(pipe, name) for name in {row[2] for row in rows}}
    tensors = {name: component.state_dict() for name, component in components.items()}
    file = {}
    for there, how, component, names in rows:
        parts = [tensors[component][name] for name in names]
        file[there] = {"same": lambda: parts[0], "concatenated": lambda: torch.cat(parts), "transposed": lambda: parts[0].T,
                       "convolution": lambda: parts[0][:, :, None, None]}[how]()
    read = {"unet": single_file_utils.convert_ldm_unet_checkpoint(file, pipe.unet.config),
            "vae": single_file_utils.convert_ldm_vae_checkpoint(file, pipe.vae.config)}
    for name in components.keys() - {"unet", "vae"}:
        if any(there.startswith("conditioner.embedders.1") or ".model.token" in there for there, _, of, _ in rows if of == name):
            prefix = "conditioner.embedders.1.model." if name == "text_encoder_2" else "cond_stage_model.model."
            read[name] = single_file_utils.convert_open_clip_checkpoint(components[name], file, prefix=prefix)
        else:
            read[name] = single_file_utils.convert_ldm_clip_checkpoint(file)
    for name, expected in tensors.items():
        bare = {key.removeprefix("text_model."): tensor for key, tensor in expected.items()}
        found = {key.removeprefix("text_model."): tensor for key, tensor in read[name].items()}
        wrong = [key for key in bare.keys() | found.keys()
                 if key not in bare or key not in found or not torch.equal(bare[key], found[key])]
        if wrong:
            raise SystemExit(f"{name}: a single file would not be read as this pipeline: {wrong[:5]}")


def tidy(folder: Path) -> None:
    """No name of a folder of this machine; tokenizers in their older form, too."""
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text())
        for name in ("_name_or_path", "transformers_version"):
            content.pop(name, None)
        if path.name != "tokenizer.json":
            path.write_text(json.dumps(content, indent=2, ensure_ascii=True) + "\n")
    for path in folder.glob("tokenizer*"):
        model = json.loads((path / "tokenizer.json").read_text())["model"]
        (path / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=True) + "\n")
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        (path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges))


def draw_pictures(folder: Path) -> None:
    """What is edited, in odd sizes: waves of three colours, and a mask with soft edges."""
    y, x = np.mgrid[0:45, 0:57]
    waves = [np.sin(x / 9 + y / 5), np.cos(x / 4 - y / 11), np.sin(x * y / 90)]
    Image.fromarray((127.5 + 120 * np.stack(waves, -1)).round().astype(np.uint8)).save(folder / "waves.png")
    disc = 300 - 16 * np.hypot(x - 30, y - 20)
    Image.fromarray(disc.clip(0, 255).round().astype(np.uint8)).save(folder / "mask.png")


SCHEDULERS = [{"name": f"{scheduler}-{steps}", "scheduler": scheduler, "steps": steps, "negative": NEGATIVE, "seed": seed}
              for scheduler, steps, seed in [("ddim", 5, 1), ("pndm", 4, 2), ("euler", 6, 3), ("dpm++2m", 8, 2**40 + 4)]]


def stable_diffusion(dtype) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        unet=unet(11, dtype), vae=vae(12, dtype), text_encoder=text_encoder(13, dtype, 20, 4, 2),
        tokenizer=tokenizer("<|endoftext|>"),
        # The published configuration says of its clipping, too, which this class does not know and others are made with.
        scheduler=PNDMScheduler.from_config(
            BETAS | {"set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "clip_sample": False}),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def stable_diffusion_2(dtype) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        unet=unet(21, dtype, block_out_channels=(8, 16), attention_head_dim=(2, 4), use_linear_projection=True, layers_per_block=2,
                  down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                  up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), upcast_attention=True),
        vae=vae(22, dtype), text_encoder=text_encoder(23, dtype, 20, 2, 3, "gelu"), tokenizer=tokenizer("!"),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def stable_diffusion_xl(dtype) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        unet=unet(31, dtype, block_out_channels=(8, 16), attention_head_dim=(2, 4), use_linear_projection=True,
                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                  transformer_layers_per_block=(1, 2), cross_attention_dim=28, addition_embed_type="text_time",
                  addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 16),
        vae=vae(32, dtype, scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_encoder(33, dtype, 12, 3, 2), tokenizer=tokenizer("<|endoftext|>"),
        text_encoder_2=text_encoder(34, dtype, 16, 2, 3, "gelu", projection=16), tokenizer_2=tokenizer("!"),
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
        image_encoder=None, feature_extractor=None, force_zeros_for_empty_prompt=True, add_watermarker=False)


def latent_consistency(dtype) -> LatentConsistencyModelPipeline:
    return LatentConsistencyModelPipeline(
        unet=unet(41, dtype, time_cond_proj_dim=16, block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        vae=vae(42, dtype), text_encoder=text_encoder(43, dtype, 20, 5, 2, legacy=False), tokenizer=tokenizer("<|endoftext|>"),
        scheduler=LCMScheduler(**BETAS, original_inference_steps=50), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)


def inpainting(dtype) -> StableDiffusionInpaintPipeline:
    return StableDiffusionInpaintPipeline(
        unet=unet(51, dtype, in_channels=9, block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        vae=vae(52, dtype, channels=(8, 8, 16, 16)), text_encoder=text_encoder(53, dtype, 20, 4, 2),
        tokenizer=tokenizer("<|endoftext|>"),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)


EDIT = {"image": "waves.png", "mask": None, "strength": 0.6}


def cases(fx: Fixtures) -> None:
    fx.case("sd1", "Stable Diffusion 1.x: attention at two of three levels, one head count", stable_diffusion, "f32", [
        {"name": "own", "steps": 4}, *SCHEDULERS,
        {"name": "unipc-6", "scheduler": "unipc", "steps": 6, "negative": NEGATIVE},
        {"name": "euler_a-two", "scheduler": "euler_a", "steps": 4, "pictures": 2, "seed": 7},
        {"name": "no-guidance", "scheduler": "ddim", "guidance": 1.0, "negative": NEGATIVE},
        {"name": "odd-size", "scheduler": "euler", "width": 40, "height": 24, "seed": 9},
        {"name": "f16-noise", "scheduler": "ddim", "noise": "f16"},
        {"name": "bf16-noise", "scheduler": "euler_a", "noise": "bf16", "width": 40, "height": 24, "seed": 12},
        {"name": "edit", "kind": "image", "scheduler": "ddim", "steps": 6, "pipeline": StableDiffusionImg2ImgPipeline} | EDIT,
        {"name": "edit-euler_a", "kind": "image", "scheduler": "euler_a", "steps": 6, "pictures": 2,
         "pipeline": StableDiffusionImg2ImgPipeline} | EDIT,
        {"name": "inpaint", "kind": "inpaint", "scheduler": "ddim", "steps": 5, "pipeline": StableDiffusionInpaintPipeline}
        | EDIT | {"mask": "mask.png", "strength": 1.0},
        {"name": "inpaint-strength", "kind": "inpaint", "scheduler": "euler", "steps": 6, "pipeline": StableDiffusionInpaintPipeline}
        | EDIT | {"mask": "mask.png"},
    ], original="v1")
    fx.case("sd2", "Stable Diffusion 2.x: v-prediction, linear projections, head counts by level, prompts padded with !",
            stable_diffusion_2, "f16",
            [{"name": "own", "steps": 4}, *SCHEDULERS, {"name": "f32-noise", "scheduler": "euler", "noise": "f32"}], original="v2")
    fx.case("sdxl", "SDXL: two text encoders, pooled text and sizes added to time", stable_diffusion_xl, "f16", [
        {"name": "own", "guidance": 5.0, "steps": 5},
        {"name": "negative", "guidance": 5.0, "steps": 4, "negative": NEGATIVE},
        {"name": "empty-negative", "guidance": 5.0, "steps": 4, "negative": ""},
        {"name": "no-zeros", "guidance": 5.0, "steps": 4, "seed": 5, "model_index": {"force_zeros_for_empty_prompt": False}},
        {"name": "wide", "guidance": 5.0, "steps": 4, "width": 48, "height": 24, "noise": "f32"},
        {"name": "edit", "kind": "image", "guidance": 5.0, "steps": 6, "pipeline": StableDiffusionXLImg2ImgPipeline} | EDIT,
    ], original="xl")
    fx.case("lcm", "Latent consistency: guidance goes into the time embedding", latent_consistency, "bf16", [
        {"name": "own", "guidance": 8.0}, {"name": "two", "guidance": 1.5, "steps": 3, "pictures": 2, "noise": "f32"},
    ], original=None)
    fx.case("inpaint", "Inpainting with 9 channels; a VAE of four levels, whose factor is 8", inpainting, "f32", [
        {"name": "own", "kind": "inpaint", "steps": 4} | EDIT | {"mask": "mask.png", "strength": 1.0},
        {"name": "strength", "kind": "inpaint", "steps": 6, "pictures": 2, "width": 40, "height": 24} | EDIT | {"mask": "mask.png"},
    ], original="v1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
