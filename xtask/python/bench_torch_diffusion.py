"""Stable Diffusion in torch, through diffusers, for `cargo xtask bench diffusion`.

    bench_torch_diffusion.py make FOLDER                a pipeline of SD 1.5's sizes with random weights, where it is not there yet
    bench_torch_diffusion.py speed MODEL                answers lines of JSON on standard input
    bench_torch_diffusion.py memory BINARY MODEL SIZE STEPS    what candlepool's server takes to draw a picture

`speed` loads a pipeline and says so in a line of JSON. Then each line of input, `{"part": "text" | "unet" | "decode" |
"picture", "size": pixels, "steps": n}`, is answered by one: `{"seconds": of one run}`. `memory` prints one line:
`{"peak": bytes resident at most, "reserved": bytes that the server had reserved at most, "seconds": of the picture}`.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

# Measurements last as long at least, so that a clock's ticks do not count.
LEAST = 2.0
PROMPT = "a red fox in the snow"


def make(folder):
    if (folder / "model_index.json").exists():
        return
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8,
    ).half()
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).half()
    text = CLIPTextModel(CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768,
    )).half()
    folder.mkdir(parents=True, exist_ok=True)
    # A vocabulary of single letters is enough to write with.
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = letters + [f"{letter}</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
    )
    StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()


def speed(model):
    import diffusers
    import torch
    from diffusers import StableDiffusionPipeline

    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    pipeline = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)

    def once(part, size, steps):
        side = size // 8
        match part:
            case "text":
                ids = torch.zeros(2, 77, dtype=torch.long)
                return lambda: pipeline.text_encoder(ids)
            case "unet":
                sample, context = torch.randn(2, 4, side, side), torch.randn(2, 77, 768)
                return lambda: pipeline.unet(sample, torch.tensor([500, 500]), context)
            case "decode":
                latents = torch.randn(1, 4, side, side)
                return lambda: pipeline.vae.decode(latents)
            case "picture":
                return lambda: pipeline(PROMPT, height=size, width=size, num_inference_steps=steps)
        raise SystemExit(f"no part {part!r}")

    print(json.dumps({"torch": torch.__version__, "diffusers": diffusers.__version__, "threads": threads}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            asked = json.loads(line)
            run = once(asked["part"], asked["size"], asked["steps"])
            if asked["part"] != "picture":
                run()
            done, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < LEAST or not done:
                run()
                done += 1
            print(json.dumps({"seconds": elapsed / done}), flush=True)


def memory(binary, model, size, steps):
    server = subprocess.Popen(
        [binary, "serve", "--listen", "127.0.0.1:0", "--model", f"sd=text-to-image:{model}"],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            sys.exit("the server did not start")
        threading.Thread(target=lambda: all(server.stderr), daemon=True).start()
        address = found.group()
        asked = {"model": "sd", "prompt": PROMPT, "size": f"{size}x{size}", "steps": int(steps), "seed": 1}
        request = urllib.request.Request(
            f"{address}/v1/images/generations", json.dumps(asked).encode(), {"content-type": "application/json"},
        )
        start = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["data"][0]["b64_json"]
        seconds = time.perf_counter() - start
        with urllib.request.urlopen(f"{address}/pools") as answer:
            reserved = json.load(answer)["memory"]["peak_bytes"]
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024
        print(json.dumps({"peak": peak, "reserved": reserved, "seconds": seconds}))
    finally:
        server.terminate()
        server.wait()


match sys.argv[1:]:
    case ["make", folder]:
        make(Path(folder))
    case ["speed", model]:
        speed(Path(model))
    case ["memory", binary, model, size, steps]:
        memory(binary, model, size, steps)
    case _:
        sys.exit(__doc__)
