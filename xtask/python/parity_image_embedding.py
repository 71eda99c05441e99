"""Whole tiny checkpoints of CLIP, SigLIP and DINOv2 with random weights, pictures, and what transformers makes of them.

A checkpoint is a folder as transformers 5 saves it; `expected.json` beside it has the files that transformers 4 would have
instead (`older`), pixel values and vectors of pictures, tokens and vectors of texts, and scores of labels. Vectors are computed
in f64 from the stored weights; `noise` is how far f32 is from that. Weights are drawn large, so that an error shows, but for
`default-init`, which has those of a model before training: JPEG decoders differ by some levels, and it is for them.
"""

import argparse
import copy
import io
import json
import shutil
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip.tokenization_siglip import SiglipTokenizer

from fixture_format import numbers, rounded, versions, worst_relative, write
from parity_towers import build, newer_spelling, older_spelling, randomise

TOLERANCE = 2e-4
TEXTS = ["a cat", "Two dogs,  and a CAT's sofa!", "", "naïve café 東京 🎉", "a photo of " + "the end of a very long text " * 20]
LABELS = ["a cat", "a dog", "the end", "a sofa"]
TEMPLATE = "This is a photo of {}."
VISION = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 24, "patch_size": 8}
TEXT = {"hidden_size": 20, "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 5}


def scene(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours and squares with hard edges."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    a, b, c = random.uniform(4, 12, 3)
    levels = np.stack([128 + 100 * np.sin(x / a + y / b), 128 + 100 * np.cos(x / b - y / c), 255 * x / width], -1)
    for _ in range(4):
        left, top = random.integers(0, [width * 3 // 4, height * 3 // 4])
        levels[top:top + height // 4, left:left + width // 4] = random.integers(0, 256, 3)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def pictures(folder: Path) -> list[str]:
    """PNGs of several shapes and kinds, and the first of them as JPEGs of several kinds."""
    folder.mkdir(parents=True)
    first = scene(61, 37, 1)
    first.save(folder / "landscape.png")
    scene(23, 50, 2).save(folder / "portrait.png")
    scene(24, 24, 3).save(folder / "square.png")
    scene(90, 9, 4).save(folder / "wide.png")
    scene(33, 31, 5).convert("L").save(folder / "grey.png")
    first.save(folder / "landscape-444.jpg", quality=90, subsampling=0)
    first.save(folder / "landscape-420.jpg", quality=90, subsampling=2)
    first.save(folder / "landscape-progressive.jpg", quality=90, progressive=True)
    names = sorted(path.name for path in folder.iterdir())
    # What is sensible and odd.
    odd = folder / "odd"
    odd.mkdir()
    Image.new("RGB", (1, 1), (200, 30, 90)).save(odd / "one.png")
    Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (10, 120))).save(odd / "long.png")
    frames = [scene(20, 20, seed) for seed in (6, 7)]
    frames[0].save(odd / "animated.gif", save_all=True, append_images=frames[1:])
    frames[0].convert("P", palette=Image.Palette.ADAPTIVE).save(odd / "still.gif")
    return names


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Bytes, bytes at the end of a word, and some merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["c a", "ca t</w>", "d o", "do g", "dog s</w>", "p h", "o t", "ph ot", "phot o</w>", "t h", "th e</w>", "o f</w>"]
    vocabulary = alphabet + [letter + "</w>" for letter in alphabet] + [merge.replace(" ", "") for merge in merges]
    vocabulary = {token: number for number, token in enumerate([*vocabulary, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in merges], model_max_length=77)
    tokenizer.save_pretrained(folder)
    return tokenizer


def siglip_tokenizer(folder: Path) -> SiglipTokenizer:
    """A sentencepiece model of a few texts, and the same as a `tokenizer.json`, which is checked to give the same tokens."""
    model = io.BytesIO()
    texts = [text.lower() for text in TEXTS + LABELS + [TEMPLATE] if text] * 4
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=90, model_type="unigram", hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", num_threads=1, minloglevel=2)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    slow = SiglipTokenizer(str(folder / "spiece.model"))
    pieces = slow.sp_model
    vocabulary = [(pieces.id_to_piece(number), pieces.get_score(number)) for number in range(pieces.get_piece_size())]
    fast = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    fast.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.decoder = decoders.Metaspace()
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast.save(str(folder / "tokenizer.json"))
    # As the published checkpoints of SigLIP have it.
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "eos_token": "</s>", "pad_token": "</s>",
                "unk_token": "<unk>", "model_input_names": ["input_ids"], "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    for text in TEXTS + LABELS:
        tokens = fast.encode(slow.canonicalize_text(text)).ids
        if tokens != slow(text).input_ids:
            raise SystemExit(f"{text!r}: tokenizer.json gives {tokens}, SiglipTokenizer {slow(text).input_ids}")
    (folder / "spiece.model").unlink()
    return slow


class Reference:
    def __init__(self, model):
        self.model, self.dtype = model, next(model.parameters()).dtype

    def picture(self, pixels) -> np.ndarray:
        with torch.no_grad():
            if hasattr(self.model, "get_image_features"):
                out = self.model.get_image_features(pixel_values=pixels.to(self.dtype))
            else:
                out = self.model(pixels.to(self.dtype))
        return out.pooler_output[0].double().numpy()

    def text(self, tokens) -> np.ndarray:
        with torch.no_grad():
            out = self.model.get_text_features(input_ids=torch.tensor([tokens]))
        return out.pooler_output[0].double().numpy()

    def scores(self, pixels, tokens) -> np.ndarray:
        with torch.no_grad():
            out = self.model(pixel_values=pixels.to(self.dtype), input_ids=torch.tensor(tokens)).logits_per_image[0]
        siglip = self.model.config.model_type == "siglip"
        return (out.sigmoid() if siglip else out.softmax(dim=-1)).double().numpy()


class Fixtures:
    """Writes the checkpoints of one run."""

    def __init__(self, out: Path):
        self.out = out / "checkpoints"
        shutil.rmtree(self.out, ignore_errors=True)
        self.pictures = out / "pictures"
        shutil.rmtree(self.pictures, ignore_errors=True)
        self.names = pictures(self.pictures)

    def case(self, name, config, seed, processor, tokenizer=None, padding=None, drawn=True) -> None:
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        model = build(config)
        if drawn:
            randomise(model, seed, torch.float32)
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
        newer = newer_spelling(model.config, torch.float32)
        (folder / "config.json").write_text(json.dumps(newer, indent=2) + "\n")
        settings = {key: value for key, value in processor.to_dict().items() if value is not None}
        nested = {"image_processor": settings, "processor_class": "CLIPProcessor"} if tokenizer else None
        place = "processor_config.json" if nested else "preprocessor_config.json"
        (folder / place).write_text(json.dumps(nested or settings, indent=2) + "\n")
        older_settings = settings | {"image_processor_type": settings["image_processor_type"].removesuffix("Pil")}

        exact, single = Reference(copy.deepcopy(model).double()), Reference(model)
        noise, seen = 0.0, []
        for file in self.names:
            if drawn and file.endswith(".jpg"):
                continue
            pixels = processor(images=Image.open(self.pictures / file), return_tensors="pt")["pixel_values"]
            vector = exact.picture(pixels)
            noise = max(noise, worst_relative(vector, single.picture(pixels)))
            record = {"file": file, "embedding": numbers(vector)}
            if drawn:
                record |= {"height": pixels.shape[2], "width": pixels.shape[3],
                           "samples": numbers(pixels[0].numpy().flatten()[::37])}
            seen.append(record)
        read, scores = [], None
        if tokenizer:
            def tokens(text):
                if padding is None:
                    return tokenizer(text, truncation=True, max_length=model.config.text_config.max_position_embeddings).input_ids
                length = model.config.text_config.max_position_embeddings
                return tokenizer(text, truncation=True, max_length=length, padding="max_length").input_ids
            for text in TEXTS:
                vector = exact.text(tokens(text))
                noise = max(noise, worst_relative(vector, single.text(tokens(text))))
                read.append({"text": text, "tokens": len(tokens(text)), "embedding": numbers(vector)})
            pixels = processor(images=Image.open(self.pictures / "landscape.png"), return_tensors="pt")["pixel_values"]
            rows = [tokens(TEMPLATE.format(label)) for label in LABELS]
            longest = max(map(len, rows))
            end = model.config.text_config.eos_token_id
            scores = numbers(exact.scores(pixels, [row + [end] * (longest - len(row)) for row in rows]))
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        write(folder / "expected.json", {
            "made_with": versions(["transformers", "torch", "numpy", "pillow", "tokenizers", "sentencepiece"]),
            "tolerance": TOLERANCE, "noise": rounded(noise),
            "older": {"config.json": older_spelling(newer), "preprocessor_config.json": older_settings},
            "newer_only": ["processor_config.json"] if nested else [],
            "pictures": seen, "texts": read,
            "classified": None if scores is None else {"file": "landscape.png", "labels": LABELS, "scores": scores},
        })
        print(f"{name}: noise {noise:.1e}")


def cases(fx: Fixtures) -> None:
    def clip(vocabulary, **top):
        text = TEXT | {"vocab_size": vocabulary, "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1,
                       "pad_token_id": vocabulary - 1}
        return AutoConfig.for_model("clip", vision_config=VISION, text_config=text, **top)

    clip_processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    for name, drawn in [("clip", True), ("clip-default-init", False)]:
        tokenizer = clip_tokenizer(fx.out / name)
        fx.case(name, clip(len(tokenizer), projection_dim=18), 1, clip_processor, tokenizer, drawn=drawn)
    tokenizer = siglip_tokenizer(fx.out / "siglip")
    text = TEXT | {"vocab_size": len(tokenizer), "projection_size": 24, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    fx.case("siglip", AutoConfig.for_model("siglip", vision_config=VISION, text_config=text), 2,
            SiglipImageProcessorPil(size={"height": 24, "width": 24}), tokenizer, padding=1)
    dino = {key: value for key, value in VISION.items() if key != "intermediate_size"} | {"mlp_ratio": 2}
    for name, crop, drawn in [("dinov2", 24, True), ("dinov2-interpolated", 44, True), ("dinov2-default-init", 40, False)]:
        processor = BitImageProcessorPil(size={"shortest_edge": crop + 4}, crop_size={"height": crop, "width": crop}, resample=3)
        fx.case(name, AutoConfig.for_model("dinov2", **dino), 3, processor, drawn=drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases(Fixtures(arguments.out))


if __name__ == "__main__":
    main()
