"""Tiny random-weight LLaVA 1.5 and LLaVA-NeXT checkpoints, with what the reference makes of conversations with pictures.

A case is a folder as transformers 5 saves it, the same configuration in the spelling of transformers 4 (`older`), and
`case.json`: conversations, their expanded token ids, logits at every position (those of image rows included), the rows that
the first picture became, and greedy continuations. Transformers computes it in f64 from the stored weights and the f32 pixel
values that its image processors (PIL backend) make of the PNG files beside; `noise` is how far its own f32 is from that.
Two cases are also written as GGUF files. Weights are drawn large, so that an error shows, but for `next-default-init`, which
has those of a model before training: JPEG decoders differ by some levels, and it is for them.
"""

import argparse
import copy
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (AutoConfig, CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration,
                          LlavaImageProcessorPil, LlavaNextConfig, LlavaNextForConditionalGeneration,
                          LlavaNextImageProcessorPil, LlavaNextProcessor, LlavaProcessor, PreTrainedTokenizerFast)
from transformers.image_processing_utils import select_best_resolution

import llava_gguf
from fixture_format import numbers, rounded, versions, worst_relative, write

TOLERANCE = 2e-4
# For pictures whose pixels depend on who decodes them.
JPEG_TOLERANCE = 5e-3
GREEDY = 32
# No continuation may hang on a smaller difference of the two best logits, so that it can be compared without excuses.
MARGIN = 2e-3
# Every so manieth column of the logits is kept.
STRIDE = 7

SIDE, PATCH = 28, 7
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": SIDE,
          "patch_size": PATCH, "projection_dim": 24}
TEXT = {"hidden_size": 40, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE], [SIDE, 3 * SIDE]]
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
IMAGE_TOKEN = 3
# What has no effect on logits.
INERT_FIELDS = ["architectures", "use_cache", "initializer_range", "initializer_factor", "attention_dropout", "dropout",
                "pretraining_tp", "transformers_version", "dtype", "layer_types"]

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% elif message['role'] == 'user' %}{{ 'USER: ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")

QUESTIONS = ["What is in this picture?", "How many shapes do you see?", "Which colour is the largest one?",
             "Describe what is shown.", "Is there a circle in it?", "What differs between these?",
             "Where does the line go?", "Tell me about the background.", "Is it a photograph?", "What is on the left?",
             "Name three things.", "What would you call it?", "Which of them is brighter?", "Is anything hidden here?"]
ANSWERS = ["A line.", "Two of them.", "It is green.", "There is a circle."]

# Pictures: name, size, seed.
PICTURES = {"square": (44, 44), "other-square": (44, 44), "landscape": (61, 37), "portrait": (33, 70),
            "wide": (140, 14), "tall": (9, 90), "small": (11, 7)}


def draw(size, seed) -> Image.Image:
    """Shapes on a gradient, with a little noise."""
    generator = random.Random(seed)
    width, height = size
    corners = np.array([[generator.randrange(256) for _ in range(3)] for _ in range(4)], np.float64)
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    weights = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    ground = sum(weight[..., None] * corner for weight, corner in zip(weights, corners))
    noise = np.array([[[generator.gauss(0, 12) for _ in range(3)] for _ in range(width)] for _ in range(height)])
    image = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = generator.randrange(width), generator.randrange(height)
        reach_x, reach_y = 2 + generator.randrange(1 + width // 2), 2 + generator.randrange(1 + height // 2)
        colour = tuple(generator.randrange(256) for _ in range(3))
        shape = generator.choice([pen.rectangle, pen.ellipse])
        shape([x, y, x + reach_x, y + reach_y], fill=colour)
    return image


def train_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level vocabulary with a few merges, and a beginning that the tokenizer adds itself, as Llama's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(QUESTIONS + ANSWERS + ["USER: ASSISTANT:"] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                   extra_special_tokens={"image_token": "<image>"})


def randomise(model, seed: int, dtype: torch.dtype, vocabulary: int) -> None:
    """Draws every parameter anew, in the order of its name, larger than training would leave it, on the grid of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or "layrnorm" in name:
                noise = (1.0 if name.endswith("weight") else 0.0) + 0.3 * noise
            elif parameter.ndim == 1:
                noise = 0.5 * noise
            elif "embed_tokens" not in name:
                noise = noise * 1.7 / parameter[0].numel() ** 0.5
            if name in ("lm_head.weight", "model.language_model.embed_tokens.weight"):
                # Tokens that mean no text are never the most likely one.
                noise[[*range(len(SPECIAL)), *range(vocabulary, len(noise))]] *= 0.05
            parameter.copy_(noise.to(dtype).float())
    model.eval()


def run(model, inputs, dtype) -> np.ndarray:
    with torch.no_grad():
        pixels = {"pixel_values": inputs["pixel_values"].to(dtype)}
        return model(**(inputs | pixels), use_cache=False).logits[0].double().numpy()


def image_rows(model, inputs) -> np.ndarray:
    """What the first picture became, before the language model."""
    with torch.no_grad():
        sizes = {"image_sizes": inputs["image_sizes"]} if "image_sizes" in inputs else {}
        found = model.model.get_image_features(inputs["pixel_values"].double(), return_dict=True, **sizes)
        return found.pooler_output[0].double().numpy()


def greedy(model, inputs) -> tuple[list, float]:
    """The continuation, everything computed anew for every token, and its narrowest decision."""
    inputs, tokens, narrowest = dict(inputs), [], np.inf
    for _ in range(GREEDY):
        last = run(model, inputs, torch.float64)[-1]
        second, first = np.sort(last)[-2:]
        narrowest = min(narrowest, first - second)
        tokens.append(int(last.argmax()))
        if tokens[-1] < len(SPECIAL):
            return tokens, 0.0
        for field, value in [("input_ids", tokens[-1]), ("attention_mask", 1)]:
            inputs[field] = torch.cat([inputs[field], torch.tensor([[value]])], dim=1)
    return tokens, float(narrowest)


def without_defaults(config: dict, default: dict) -> dict:
    kept = {key: value for key, value in config.items() if key not in INERT_FIELDS}
    return {key: value for key, value in kept.items() if key == "model_type" or key not in default or default[key] != value}


def older_config(config: dict, dtype: str) -> dict:
    """What transformers 4 wrote: its names, and nothing that a class has as its default."""
    older = {key: copy.deepcopy(value) for key, value in config.items() if key not in INERT_FIELDS}
    older["image_token_index"] = older.pop("image_token_id", older.get("image_token_index"))
    text = older["text_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["rope_theta"]
    vision = older["vision_config"]
    text = without_defaults(text, AutoConfig.for_model(text["model_type"]).to_dict())
    vision = without_defaults(vision, AutoConfig.for_model(vision["model_type"]).to_dict())
    # The base that the reference takes where none is said; Llama's and Mistral's classes had the same.
    if text.get("rope_theta") == 10000.0:
        text.pop("rope_theta")
    default = AutoConfig.for_model(config["model_type"]).to_dict()
    older = without_defaults({key: value for key, value in older.items() if key not in ("text_config", "vision_config")}, default)
    return older | {"torch_dtype": dtype, "text_config": text, "vision_config": vision}


class Fixtures:
    """Writes the cases of one run."""

    def __init__(self, out: Path):
        self.out = out / "llava"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.pictures = {name: draw(size, seed) for seed, (name, size) in enumerate(PICTURES.items())}
        (self.out / "pictures").mkdir()
        for name, picture in self.pictures.items():
            picture.save(self.out / "pictures" / f"{name}.png", optimize=True)
        self.tokenizer = train_tokenizer()

    def processor(self, config):
        strategy = config.vision_feature_select_strategy
        classless = config.vision_config.model_type == "siglip_vision_model"
        parts = {"tokenizer": self.tokenizer, "patch_size": PATCH, "vision_feature_select_strategy": strategy,
                 "num_additional_image_tokens": 0 if classless else 1, "chat_template": TEMPLATE}
        square = {"height": SIDE, "width": SIDE}
        if config.model_type == "llava_next":
            images = LlavaNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square,
                                                image_grid_pinpoints=config.image_grid_pinpoints)
            return LlavaNextProcessor(image_processor=images, **parts)
        if isinstance(config.vision_feature_layer, int):
            images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square)
        else:
            images = LlavaImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square, do_pad=True)
        return LlavaProcessor(image_processor=images, **parts)

    def case(self, name: str, note: str, family: str, seed: int, dtype, language: str, prompts: list, text=None, vision=None,
             tower="clip_vision_model", gguf=False, **settings) -> None:
        vision_config = AutoConfig.for_model(tower, **(VISION | (vision or {})))
        text_config = AutoConfig.for_model(language, vocab_size=len(self.tokenizer) + 5, **(TEXT | (text or {})))
        config_class, model_class = {"llava": (LlavaConfig, LlavaForConditionalGeneration),
                                     "llava_next": (LlavaNextConfig, LlavaNextForConditionalGeneration)}[family]
        config = config_class(vision_config=vision_config.to_dict(), text_config=text_config.to_dict(),
                              image_token_index=IMAGE_TOKEN, **settings)
        model = self.build(model_class, config)
        randomise(model, seed, dtype, len(self.tokenizer))
        folder = self.out / name
        processor = self.processor(model.config)
        copy.deepcopy(model).to(dtype).save_pretrained(folder)
        for stale in folder.glob("generation_config.json"):
            stale.unlink()
        processor.save_pretrained(folder)
        self.share(folder)
        self.older(folder, model, processor)

        conversations = [self.conversation(model, processor, seed, index, pictures) for index, pictures in enumerate(prompts)]
        exact = copy.deepcopy(model).double()
        rows = image_rows(exact, conversations[0].pop("inputs"))
        for conversation in conversations:
            conversation.pop("inputs", None)
        write(folder / "case.json", {
            "name": name, "note": note, "made_with": versions(["transformers", "torch", "numpy", "pillow"]),
            "tolerance": TOLERANCE, "stride": STRIDE, "margin": MARGIN, "image_rows": numbers(rows),
            "conversations": conversations,
        })
        if gguf:
            llava_gguf.write_language_model(folder / "gguf" / "model.gguf", model, self.tokenizer, TEMPLATE)
        if gguf or family == "llava_next" and language == "llama":
            path = folder / "gguf" / "mmproj-model-f16.gguf"
            llava_gguf.write_tower(path, model, processor.image_processor, legacy=gguf)

    def build(self, model_class, config):
        config._attn_implementation = "eager"
        config.text_config._attn_implementation = "eager"
        config.vision_config._attn_implementation = "eager"
        return model_class(config)

    def share(self, folder: Path) -> None:
        """The tokenizer's files are the same in all folders: they are kept once."""
        shared = self.out / "tokenizer"
        shared.mkdir(exist_ok=True)
        for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
            here, there = folder / name, shared / name
            if name == "tokenizer_config.json":
                fields = json.loads(here.read_text())
                fields.pop("processor_class", None)
                here.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
            if there.exists() and there.read_bytes() != here.read_bytes():
                raise SystemExit(f"{here} differs from {there}")
            here.rename(there)

    def older(self, folder: Path, model, processor) -> None:
        """The same files as transformers 4 wrote them, and the check that transformers reads them as the same model."""
        config = json.loads((folder / "config.json").read_text())
        older = older_config(config, config["dtype"])
        fields = copy.deepcopy(older)
        again = self.build(type(model), AutoConfig.for_model(fields.pop("model_type"), **fields)).float().eval()
        again.load_state_dict(model.state_dict())
        picture = self.pictures["landscape"]
        inputs = processor(images=[picture], text="<image> A.", return_tensors="pt")
        difference = worst_relative(run(model, inputs, torch.float32), run(again, inputs, torch.float32))
        if difference > 1e-6:
            raise SystemExit(f"{folder.name}: its older spelling is another model for transformers: {difference:.1e} apart\n"
                             + json.dumps(older, indent=1))
        write(folder / "older" / "config.json", older)
        whole = json.loads((folder / "processor_config.json").read_text())
        images = whole.pop("image_processor")
        images["image_processor_type"] = images["image_processor_type"].removesuffix("Pil").removesuffix("Fast")
        write(folder / "older" / "preprocessor_config.json", images)
        write(folder / "older" / "processor_config.json", {key: value for key, value in whole.items() if key != "chat_template"})

    def conversation(self, model, processor, seed, index, pictures) -> dict:
        """A conversation about these pictures whose continuation is not in doubt."""
        generator = random.Random(f"{seed} {index}")
        exact = copy.deepcopy(model).double()
        while True:
            messages = []
            if len(pictures) > 1 and index % 2 == 1:
                # One picture a turn, with an answer between.
                for number, _ in enumerate(pictures):
                    if number > 0:
                        messages.append({"role": "assistant", "content": [{"type": "text", "text": generator.choice(ANSWERS)}]})
                    messages.append({"role": "user", "content": [
                        {"type": "image"}, {"type": "text", "text": generator.choice(QUESTIONS)}]})
            else:
                parts = [{"type": "image"} for _ in pictures]
                messages.append({"role": "user", "content": parts + [{"type": "text", "text": generator.choice(QUESTIONS)}]})
            text = processor.apply_chat_template(messages, add_generation_prompt=True)
            images = [self.pictures[name] for name in pictures]
            inputs = dict(processor(images=images, text=text, return_tensors="pt"))
            inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
            continuation, narrowest = greedy(exact, inputs)
            if narrowest >= MARGIN and min(continuation) >= len(SPECIAL) and max(continuation) < len(self.tokenizer):
                break
        reference = run(exact, inputs, torch.float64)
        single = run(model, inputs, torch.float32)
        noise = worst_relative(reference, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{pictures}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        print(f"  {pictures}: {inputs['input_ids'].shape[1]} positions, noise {noise:.1e}, narrowest {narrowest:.1e}, "
              f"{len(set(continuation))} tokens in the continuation: {self.tokenizer.decode(continuation)!r}", flush=True)
        return {"pictures": pictures, "messages": messages, "text": text, "tokens": inputs["input_ids"][0].tolist(),
                "noise": rounded(noise), "greedy": continuation, "logits": numbers(reference[:, ::STRIDE]), "inputs": inputs}


JPEGS = ["landscape-444", "landscape-420", "landscape-progressive"]


def default_init(fx: Fixtures) -> None:
    """A model as it is before training, and logits for JPEG pictures: those that image-embedding's fixtures have."""
    torch.manual_seed(7)
    vision_config = AutoConfig.for_model("clip_vision_model", **VISION)
    text_config = AutoConfig.for_model("llama", vocab_size=len(fx.tokenizer) + 5, **TEXT)
    model = fx.build(LlavaNextForConditionalGeneration, LlavaNextConfig(
        vision_config=vision_config.to_dict(), text_config=text_config.to_dict(), image_token_index=IMAGE_TOKEN,
        image_grid_pinpoints=PINPOINTS)).to(torch.float16).float().eval()
    processor = fx.processor(model.config)
    folder = fx.out / "next-default-init"
    copy.deepcopy(model).to(torch.float16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    processor.save_pretrained(folder)
    fx.share(folder)
    exact = copy.deepcopy(model).double()
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTIONS[0]}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    pictures = Path(__file__).resolve().parents[2] / "crates/image-embedding/tests/fixtures/pictures"
    found = []
    for name in JPEGS:
        picture = Image.open(pictures / f"{name}.jpg").convert("RGB")
        inputs = dict(processor(images=[picture], text=text, return_tensors="pt"))
        inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
        reference = run(exact, inputs, torch.float64)
        noise = worst_relative(reference, run(model, inputs, torch.float32))
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        # How far another picture's logits are: were they within the tolerance, the comparison would say nothing.
        white = processor(images=[Image.new("RGB", picture.size, (255, 255, 255))], text=text, return_tensors="pt")
        other = run(exact, inputs | {"pixel_values": white["pixel_values"]}, torch.float64)
        behind = 1 + int((inputs["input_ids"][0] == IMAGE_TOKEN).nonzero().max())
        apart, apart_behind = np.abs(reference - other).max(), worst_relative(reference[behind:], other[behind:])
        print(f"  {name}: {len(reference)} positions, noise {noise:.1e}, a white picture's logits are {apart:.1e} away, "
              f"and behind it {apart_behind:.1e} of themselves")
        if min(apart, apart_behind) < 10 * JPEG_TOLERANCE:
            raise SystemExit(f"{name}: a white picture would hardly be told from it")
        found.append({"pictures": [f"{name}.jpg"], "tokens": inputs["input_ids"][0].tolist(), "noise": rounded(noise),
                      "logits": numbers(reference[:, ::STRIDE])})
    write(folder / "case.json", {
        "name": folder.name, "note": "tiles, newlines; weights as before training, for JPEG pictures",
        "made_with": versions(["transformers", "torch", "numpy", "pillow"]), "tolerance": JPEG_TOLERANCE, "stride": STRIDE,
        "conversations": found,
    })


def counts(out: Path, tokenizer) -> None:
    """How many rows pictures of many sizes become, by the processor and by the model itself."""
    found = []
    generator = random.Random(7)
    sizes = [(336, 336), (1, 1), (10, 30000), (30000, 10), (672, 672), (336, 672), (672, 336), (335, 337), (1000, 100),
             (100, 1000), (480, 640), (640, 480), (1080, 1920), (4000, 3000), (500, 333), (2, 3), (97, 61), (1008, 336)]
    sizes += [(generator.randrange(1, 1500), generator.randrange(1, 1500)) for _ in range(150)]
    sizes += [(generator.randrange(1, 60), generator.randrange(1, 4000)) for _ in range(30)]
    grids = {"real": (336, 14, [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]),
             "uneven": (56, 8, [[56, 112], [168, 56], [112, 112], [224, 112]])}
    for name, (side, patch, pinpoints) in grids.items():
        images = LlavaNextImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side},
                                            image_grid_pinpoints=pinpoints)
        processor = LlavaNextProcessor(image_processor=images, tokenizer=tokenizer, patch_size=patch,
                                       vision_feature_select_strategy="default", num_additional_image_tokens=1)
        vision = AutoConfig.for_model("clip_vision_model", **(VISION | {
            "image_size": side, "patch_size": patch, "num_hidden_layers": 1}))
        text = AutoConfig.for_model("llama", vocab_size=8, **TEXT)
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(
            vision_config=vision.to_dict(), text_config=text.to_dict(), image_grid_pinpoints=pinpoints)).model
        rows = []
        for height, width in sizes:
            best = select_best_resolution((height, width), pinpoints)
            tiles = 1 + (best[0] // side) * (best[1] // side)
            # Each row says which it is, so that the order can be told from the packed ones.
            per_tile = (side // patch) ** 2
            features = torch.arange(tiles * per_tile, dtype=torch.float64).reshape(tiles, per_tile, 1)
            packed, _ = model.pack_image_features([features], torch.tensor([[height, width]]), "default",
                                                  torch.tensor([-1.0], dtype=torch.float64))
            order = [int(value) for value in packed[0][:, 0]]
            told = processor._get_num_multimodal_tokens([[height, width]])["num_image_tokens"][0]
            if told != len(order):
                raise SystemExit(f"{height}x{width}: the processor counts {told} rows, the model has {len(order)}")
            # A sum that depends on the order stands for it.
            check = sum((index + 1) * (value + 2) for index, value in enumerate(order)) % 1_000_003
            rows.append([height, width, *best, len(order), check])
        found.append({"name": name, "side": side, "patch": patch, "pinpoints": pinpoints, "sizes": rows})
    write(out / "counts.json", found)


def cases(fx: Fixtures) -> None:
    half, narrow = torch.float16, torch.bfloat16
    fx.case("llava-llama", "one layer, without the class token; also as GGUF", "llava", 1, half, "llama",
            [["square"], ["landscape", "portrait"], ["square", "other-square"]], gguf=True)
    fx.case("llava-mistral", "three layers side by side, the class token kept, no biases, padded to a square; another base",
            "llava", 2, narrow, "mistral", [["landscape"], ["portrait", "small"]],
            text={"rope_parameters": {"rope_type": "default", "rope_theta": 1e5}},
            vision={"hidden_act": "gelu"},
            vision_feature_layer=[-3, 1, -1], vision_feature_select_strategy="full", multimodal_projector_bias=False)
    fx.case("llava-siglip", "a tower without class token, its last layer", "llava", 3, narrow, "llama",
            [["portrait"]], tower="siglip_vision_model", vision_feature_layer=-1, vision_feature_select_strategy="full",
            projector_hidden_act="gelu_pytorch_tanh", text={"tie_word_embeddings": True})
    fx.case("next-llama", "tiles, newlines", "llava_next", 4, narrow, "llama",
            [["landscape"], ["wide", "portrait"]], image_grid_pinpoints=PINPOINTS)
    fx.case("next-mistral", "tiles, a window smaller than the prompt", "llava_next", 5, narrow, "mistral",
            [["portrait"], ["tall", "square"]], image_grid_pinpoints=PINPOINTS, text={"sliding_window": 40})
    fx.case("next-qwen2", "tiles, two layers side by side, biases of query, key and value", "llava_next", 6, narrow, "qwen2",
            [["wide"], ["small", "landscape"]], image_grid_pinpoints=PINPOINTS, vision_feature_layer=[-2, -1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fixtures = Fixtures(arguments.out)
    cases(fixtures)
    default_init(fixtures)
    counts(fixtures.out, fixtures.tokenizer)


if __name__ == "__main__":
    main()
