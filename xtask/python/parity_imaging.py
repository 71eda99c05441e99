"""What Pillow decodes and resizes, and what the image processors of transformers make of pictures.

Four things are written. `pictures` holds files of every format that is read, each with what Pillow sees in it: turned
upright, alpha on white, as a PNG of its own under `decoded`. `resize.json` has digests of resized pictures, and
`processors.json` has configurations, in the spelling of transformers 5 and in older ones, with digests and samples of
their `pixel_values`. `drawing.json` has digests of what diffusers makes of a picture to edit, of a mask, and of numbers that a
model has drawn. Pictures that are only resized or processed are not stored: a formula in whole numbers draws them here and in
the tests.

The processors are those of the PIL backend, whatever else is installed.
"""

import argparse
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, ImageDraw, ImageOps, ImageSequence
from transformers.image_transforms import convert_to_rgb
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from fixture_format import numbers, versions, write

ORIENTATION = 0x0112
FILTERS = [0, 1, 2, 3, 4, 5]
SIZES = [((1, 1), (1, 1)), ((1, 1), (7, 5)), ((2, 3), (1, 1)), ((17, 31), (31, 17)), ((40, 30), (40, 30)), ((40, 30), (40, 7)),
         ((40, 30), (9, 30)), ((101, 67), (33, 23)), ((33, 23), (101, 67)), ((255, 256), (224, 224)), ((640, 427), (224, 224)),
         ((427, 640), (336, 336)), ((1000, 3), (10, 300)), ((3, 1000), (300, 10)), ((30000, 10), (336, 1)), ((30000, 10), (97, 31)),
         ((10, 30000), (31, 97)), ((5, 4), (1200, 3)), ((2048, 1), (1, 1)), ((1, 2048), (3, 5)), ((97, 89), (96, 90))]


def drawn(width: int, height: int) -> Image.Image:
    """A picture by formula: waves with overflow, blocks of black and white for what overshoots."""
    y, x, channel = np.ogrid[0:height, 0:width, 0:3]
    waves = (x * 7 + y * 13 + channel * 59 + (x * y >> 4) + (x * x >> 7)) & 255
    block = (x // 5 + y // 3 + channel) % 7
    return Image.fromarray(np.where(block == 0, 0, np.where(block == 3, 255, waves)).astype(np.uint8))


def scene(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours, shapes with hard edges, and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([128 + 90 * np.sin(x / 9 + y / 17), 128 + 90 * np.cos(x / 7 - y / 11), 255 * x / width], -1)
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for index in range(9):
        corners = np.sort(random.integers(0, [width, height], (2, 2)), axis=0)
        shape = draw.ellipse if index % 2 else draw.rectangle
        shape([int(value) for value in corners.flatten()], fill=tuple(int(value) for value in random.integers(0, 256, 3)))
    noisy = np.asarray(image) + random.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def with_alpha(image: Image.Image) -> Image.Image:
    width, height = image.size
    alpha = np.linspace(-40, 300, width * height).clip(0, 255).astype(np.uint8).reshape(height, width)
    return Image.merge("RGBA", (*image.split(), Image.fromarray(alpha)))


def png(colour: int, samples: np.ndarray) -> bytes:
    """A PNG of 16 bits a sample, which Pillow does not write."""
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Pictures:
    """Files, and what Pillow sees in them."""

    def __init__(self, out: Path):
        self.files, self.seen, self.cases = out / "pictures", out / "decoded", []
        self.files.mkdir(parents=True)
        self.seen.mkdir(parents=True)

    def save(self, name: str, image: Image.Image, tolerance=None, expected=None, **settings) -> None:
        image.save(self.files / name, **settings)
        self.see(name, tolerance, expected)

    def raw(self, name: str, content: bytes, expected=None) -> None:
        (self.files / name).write_bytes(content)
        self.see(name, None, expected)

    def see(self, name: str, tolerance, expected) -> None:
        if expected is None:
            image = ImageOps.exif_transpose(Image.open(self.files / name))
            expected = Image.fromarray(convert_to_rgb(image, return_numpy=True))
        expected.save(self.seen / f"{name}.png")
        case = {"file": name, "width": expected.width, "height": expected.height}
        self.cases.append(case | ({"worst": tolerance[0], "mean": tolerance[1]} if tolerance else {}))


def pictures(out: Path) -> list:
    all = Pictures(out)
    lossy, small = scene(83, 61, 1), scene(23, 17, 2)
    # What the decoded samples of a JPEG may differ by, at worst and on average.
    jpeg = (6, 0.3)
    for name, settings in {"444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2},
                           "420-best": {"subsampling": 2, "quality": 98}, "420-poor": {"subsampling": 2, "quality": 40},
                           "progressive-444": {"subsampling": 0, "progressive": True},
                           "progressive-420": {"subsampling": 2, "progressive": True},
                           "restarts": {"subsampling": 2, "restart_marker_blocks": 2}}.items():
        all.save(f"{name}.jpg", lossy, jpeg, **({"quality": 85} | settings))
    all.save("grey.jpg", lossy.convert("L"), jpeg)
    all.save("cmyk.jpg", lossy.convert("CMYK"), jpeg, quality=90)
    all.save("1x1.jpg", scene(1, 1, 3), jpeg)
    all.save("9x2.jpg", scene(9, 2, 4), jpeg, subsampling=2, quality=90)
    for value in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = value
        all.save(f"turned-{value}.png", small.resize((7, 5)), exif=exif)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    all.save("turned-6.jpg", small, jpeg, exif=exif, subsampling=0)
    all.save("turned-6.webp", small, exif=exif, lossless=True)
    all.save("turned-6.tif", small, tiffinfo={ORIENTATION: 6})
    all.save("colour.png", small)
    all.save("grey.png", small.convert("L"))
    all.save("two-levels.png", small.convert("1"))
    all.save("alpha.png", with_alpha(small))
    all.save("grey-alpha.png", with_alpha(small).convert("LA"))
    palette = small.quantize(13)
    all.save("palette.png", palette)
    all.save("palette-alpha.png", palette, transparency=bytes([0, 255, 128, 7, 200]))
    key = np.asarray(small).copy()
    key[3:9, 4:12] = (1, 2, 3)
    all.save("key.png", Image.fromarray(key), transparency=(1, 2, 3))
    wide = (np.asarray(with_alpha(small)).astype(np.uint16) << 8) | np.random.default_rng(5).integers(0, 256, (17, 23, 4), np.uint16)
    all.raw("colour-16.png", png(2, wide[..., :3]))
    all.raw("alpha-16.png", png(6, wide))
    # Pillow clips 16-bit grey at 255; the high byte is what is wanted.
    all.raw("grey-16.png", png(0, wide[..., 0]), Image.fromarray((wide[..., 0] >> 8).astype(np.uint8)).convert("RGB"))
    all.save("lossless.webp", small, lossless=True)
    all.save("alpha.webp", with_alpha(small), lossless=True, exact=True)
    all.save("lossy.webp", lossy, (6, 0.6), quality=80)
    frames = [scene(23, 17, seed).quantize(32) for seed in (6, 7, 8)]
    all.save("still.gif", frames[0])
    all.save("animated.gif", frames[0], save_all=True, append_images=frames[1:], duration=50, loop=0)
    all.save("animated.webp", small, save_all=True, append_images=[frame.convert("RGB") for frame in frames[1:]], lossless=True)
    all.save("transparent.gif", frames[1], transparency=3)
    all.save("colour.bmp", small)
    all.save("palette.bmp", palette)
    all.save("two-levels.bmp", small.convert("1"))
    all.save("colour.tif", small)
    all.save("lzw.tif", small, compression="tiff_lzw")
    all.save("deflate.tif", small, compression="tiff_adobe_deflate")
    all.save("grey.tif", small.convert("L"))
    all.save("alpha.tif", with_alpha(small))
    assert len(list(ImageSequence.Iterator(Image.open(all.files / "animated.gif")))) == 3
    return all.cases


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def resized() -> list:
    cases = []
    for (width, height), (wide, high) in SIZES:
        image = drawn(width, height)
        digests = [digest(image.resize((wide, high), resample).tobytes()) for resample in FILTERS]
        cases.append({"from": [width, height], "to": [wide, high], "digests": digests})
    return cases


def processed(name: str, kind, configs: list, images: list, out: Path) -> dict:
    """One configuration in several spellings; all must be the same to the reference."""
    processors = [kind.from_dict(config) for config in configs]
    assert all(processor.backend == "pil" for processor in processors), name
    results = []
    for image in images:
        picture = drawn(*image) if isinstance(image, tuple) else ImageOps.exif_transpose(Image.open(out / "pictures" / image))
        values = [np.asarray(processor(picture, return_tensors="np")["pixel_values"][0]) for processor in processors]
        assert all(value.dtype in (np.float32, np.uint8) and np.array_equal(value, values[0]) for value in values), (name, image)
        value = np.ascontiguousarray(values[0], dtype=np.float32)
        flat = value.reshape(-1)
        samples = flat[:: max(1, len(flat) // 16)]
        results.append({"picture": list(image) if isinstance(image, tuple) else image, "shape": list(value.shape),
                        "samples": numbers(samples), "digest": digest(value.astype("<f4").tobytes())})
    named = kind.__name__.removesuffix("Pil")
    written = [config if {"image_processor_type", "feature_extractor_type"} & config.keys()
               else {"image_processor_type": named} | config for config in configs]
    return {"name": name, "configs": [processors[0].to_dict(), *written], "pictures": results}


def processors(out: Path) -> list:
    usual = [(64, 48), (48, 64), (37, 91), (1, 1), "colour.png", "alpha.png", "palette-alpha.png", "turned-6.webp", "grey-alpha.png"]
    long = [(3000, 10), (10, 3000), (30000, 10)]
    rounds = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    clip, next_, llava = CLIPImageProcessorPil, LlavaNextImageProcessorPil, LlavaImageProcessorPil
    pinpoints = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
    cases = [
        ("clip", clip, [{}, {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3,
                             "do_resize": True, "do_center_crop": True, "do_normalize": True, **rounds},
                        {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 224}}],
         [(640, 427), (427, 640), (300, 300), (100, 90), (30000, 10)]),
        ("clip-336", clip, [{"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}, {"size": 336, "crop_size": 336}],
         [(640, 427)]),
        ("small", clip, [{"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}, {"size": 24, "crop_size": [24, 24]}],
         usual + long),
        ("odd-crop", clip, [{"size": {"shortest_edge": 23}, "crop_size": {"height": 18, "width": 21}}], usual + long),
        ("crop-larger", clip, [{"size": {"shortest_edge": 20}, "crop_size": {"height": 37, "width": 30}}], usual + long),
        ("square", clip, [{"size": {"height": 24, "width": 20}, "do_center_crop": False},
                          {"size": [24, 20], "do_center_crop": False}], usual + long),
        ("default-to-square", clip, [{"size": 24, "default_to_square": True, "do_center_crop": False}], usual),
        ("nulls", clip, [{"size": {"height": 24, "width": 20}, "do_center_crop": None, "crop_size": None, "do_normalize": None,
                          "image_mean": None, "do_convert_rgb": None, "do_pad": None, "pad_size": None, "device": None,
                          "default_to_square": True, "data_format": "channels_first", "input_data_format": None}], usual[:2]),
        ("longest", clip, [{"size": {"shortest_edge": 24, "longest_edge": 40}, "do_center_crop": False}], usual),
        ("within", clip, [{"size": {"max_height": 30, "max_width": 20}, "do_center_crop": False}], usual),
        ("proportional", clip, [{"size": {"shortest_edge": 9}, "do_center_crop": False}], usual),
        ("not-resized", clip, [{"do_resize": False, "crop_size": 20}], usual),
        ("not-normalised", clip, [{"size": 24, "crop_size": 24, "do_normalize": False}], usual[:2]),
        ("not-rescaled", clip, [{"size": 24, "crop_size": 24, "do_rescale": False}], usual[:2]),
        ("levels", clip, [{"size": 24, "crop_size": 24, "do_rescale": False, "do_normalize": False, "do_resize": True}], usual[:2]),
        ("other-factor", clip, [{"size": 24, "crop_size": 24, "rescale_factor": 0.0078431, "image_mean": 0.1, "image_std": [0.3, 0.5, 0.7]}],
         usual[:2]),
        *((f"resample-{resample}", clip, [{"size": 24, "crop_size": 24, "resample": resample}], usual + long) for resample in FILTERS),
        ("siglip", SiglipImageProcessorPil, [{}, {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
                                                  "image_processor_type": "SiglipImageProcessor", "rescale_factor": 0.00392156862745098}],
         [(640, 427), (30000, 10)]),
        ("siglip-small", SiglipImageProcessorPil, [{"size": {"height": 24, "width": 24}}], usual + long),
        ("dinov2", BitImageProcessorPil, [{"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
                                           "image_processor_type": "BitImageProcessor"}], [(640, 427), (427, 640)]),
        ("llava", llava, [{"size": 24, "crop_size": 24}], usual + long),
        ("llava-square", llava, [{"size": 24, "crop_size": 24, "do_pad": True}], usual + long[:2]),
        ("llava-square-336", llava, [{"size": 336, "crop_size": 336, "do_pad": True, "image_mean": [0.5] * 3}], [(640, 427)]),
        ("next", next_, [{"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
                         {"size": {"height": 336, "width": 336}, "crop_size": 336,
                          "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]}],
         [(640, 427), (427, 640), (100, 1000), (30000, 10)]),
        ("next-small", next_, [{"size": 24, "crop_size": 24, "image_grid_pinpoints": pinpoints},
                               {"size": {"height": 24, "width": 24}, "crop_size": 24, "image_grid_pinpoints": pinpoints, "do_pad": False}],
         usual + long + [(100, 1000), (1000, 100), (48, 24), (24, 72), (25, 71)]),
        ("next-uneven", next_, [{"size": {"shortest_edge": 24}, "crop_size": 20, "image_grid_pinpoints": [[30, 50], [50, 30], [41, 41]]}],
         usual),
        ("next-not-resized", next_, [{"size": 24, "crop_size": 24, "do_resize": False, "image_grid_pinpoints": pinpoints}], usual[:4]),
        ("next-bilinear", next_, [{"size": 24, "crop_size": 24, "resample": 2, "image_grid_pinpoints": pinpoints}], usual[:4]),
    ]
    return [processed(*case, out) for case in cases]


def for_drawing() -> list:
    """What pipelines of diffusers make of a picture to edit, and of one as a mask, of which squares stand for latents."""
    picture = VaeImageProcessor(vae_scale_factor=8)
    mask = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    cases = []
    for (width, height), (wide, high) in [((64, 48), (32, 40)), ((37, 91), (64, 64)), ((5, 3), (40, 24)), ((48, 64), (48, 64))]:
        image = drawn(width, height)
        numbers_of = picture.preprocess(image, height=high, width=wide)[0].numpy()
        covered = mask.preprocess(image, height=high, width=wide)
        back = picture.postprocess(torch.from_numpy(numbers_of)[None] * 1.3 + 0.01, output_type="np")[0]
        squares = torch.nn.functional.interpolate(covered, size=(high // 8, wide // 8))[0, 0].numpy()
        cases.append({"from": [width, height], "to": [wide, high], "numbers": digest(np.ascontiguousarray(numbers_of, "<f4").tobytes()),
                      "mask": digest(covered[0, 0].numpy().astype(np.uint8).tobytes()), "squares": squares.astype(int).tolist(),
                      "back": digest(np.asarray(picture.numpy_to_pil(back)[0]).tobytes())})
    return cases


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, help="not needed here")
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out / "imaging"
    out.mkdir(parents=True)
    made_with = versions(["pillow", "transformers", "numpy"])
    write(out / "pictures.json", {"versions": made_with, "pictures": pictures(out)})
    write(out / "resize.json", {"versions": made_with, "cases": resized()})
    write(out / "drawing.json", {"versions": versions(["pillow", "diffusers", "numpy"]), "cases": for_drawing()})
    write(out / "processors.json", {"versions": made_with, "cases": processors(out)})


if __name__ == "__main__":
    main()
