"""Vision towers in torch, through transformers, for `cargo xtask bench vision`.

    bench_torch_vision.py make FOLDER              towers with random weights and pictures, where they are not there yet
    bench_torch_vision.py speed MODEL PICTURES     answers lines of JSON on standard input

`speed` loads a model and says so in a line of JSON. Then each line of input, `{"batch": n, "files": bool}`, is answered by
one: `{"pictures": pictures a second}`, from JPEG files to vectors, or from pixel values that are there already.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

TOWERS = {
    "ViT-B-32": {},
    "ViT-L-14": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14, "projection_dim": 768,
    },
}
PICTURES = 8
# Measurements last as long at least, so that a clock's ticks do not count.
LEAST = 2.0


def make(folder):
    torch.manual_seed(1)
    for name, config in TOWERS.items():
        if (folder / name / "model.safetensors").exists():
            continue
        CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).save_pretrained(folder / name)
        CLIPImageProcessor().save_pretrained(folder / name)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(1)
    for number in range(PICTURES):
        # Coarse shapes under fine noise, as photographs have.
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)).resize((1024, 768), Image.Resampling.BICUBIC)
        noisy = numpy.asarray(coarse, dtype=numpy.int16) + random.integers(-12, 13, (768, 1024, 3))
        Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)).save(pictures / f"{number}.jpg", quality=90)


def speed(model, pictures):
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    tower = CLIPVisionModelWithProjection.from_pretrained(model).eval()
    processor = CLIPImageProcessor.from_pretrained(model)
    files = sorted(pictures.glob("*.jpg"))

    def pixels(batch):
        return processor([Image.open(file).convert("RGB") for file in files[:batch]], return_tensors="pt").pixel_values

    print(json.dumps({"torch": torch.__version__, "threads": threads}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            asked = json.loads(line)
            batch, ready = asked["batch"], pixels(asked["batch"])
            tower(ready)
            done, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < LEAST:
                tower(pixels(batch) if asked["files"] else ready)
                done += batch
            print(json.dumps({"pictures": done / elapsed}), flush=True)


match sys.argv[1:]:
    case ["make", folder]:
        make(Path(folder))
    case ["speed", model, pictures]:
        speed(Path(model), Path(pictures))
    case _:
        sys.exit(__doc__)
