"""The official client has pictures drawn and edited by a Candlepool server, as its users would.

    openai_images.py BASE_URL KEY MODEL PICTURE MASK

PICTURE is the picture to edit, and MASK a grey one that is white where it is to be drawn anew. What the client does is checked
here; what it was told is printed as one JSON document.
"""

import asyncio
import base64
import io
import json
import struct
import sys
import zlib

import openai

BASE_URL, KEY, MODEL, PICTURE, MASK = sys.argv[1:6]
OPTIONS = {"api_key": KEY, "base_url": BASE_URL, "max_retries": 0, "timeout": 240}
PROMPT = "a photo of the dogs and a cat"

client = openai.OpenAI(**OPTIONS)


def asked(more, options):
    """What both calls are told alike; what is not the protocol's goes into the body besides."""
    body = {"steps": 6, "seed": 5, "guidance": 7.5, "scheduler": "ddim"} | more
    return {"model": MODEL, "prompt": PROMPT, "size": "32x32", "extra_body": body} | options


def generate(more={}, **options):
    return client.images.generate(**asked(more, options))


def edit(more={}, **options):
    with open(PICTURE, "rb") as picture:
        return client.images.edit(**({"image": picture} | asked(more, options)))


def files(answer):
    return [base64.b64decode(image.b64_json) for image in answer.data]


def size(file):
    assert file.startswith(b"\x89PNG\r\n\x1a\n"), file[:16]
    return struct.unpack(">II", file[16:24])


def png(width, height, colour, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def drawn():
    answer = generate(response_format="b64_json", n=2)
    first, second = files(answer)
    assert size(first) == size(second) == (32, 32) and first != second
    assert answer.size == "32x32" and answer.output_format == "png" and answer.background == "opaque", answer
    assert answer.usage.total_tokens == answer.usage.input_tokens > 2 and answer.seed == 5, answer
    assert files(generate())[0] == first, "the same seed, another picture"
    assert files(generate({"seed": 6}))[0] != first
    assert files(generate({"negative_prompt": "the sofa!"}))[0] != first
    wide = files(generate(size="48x24", quality="standard", moderation="low", background="opaque", user="me"))[0]
    assert size(wide) == (48, 24)
    assert files(generate(output_format="webp"))[0][8:12] == b"WEBP"
    assert files(generate(output_format="jpeg", output_compression=50))[0][:3] == b"\xff\xd8\xff"
    return first


def streamed(whole):
    events = list(generate(stream=True, partial_images=2))
    kinds = [event.type.removeprefix("image_generation.") for event in events]
    assert kinds.count("progress") == 6 and kinds.count("partial_image") == 2, kinds
    assert [event.step for event in events if event.type == "image_generation.progress"] == [1, 2, 3, 4, 5, 6]
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == [0, 1]
    for event in partial:
        assert "x".join(map(str, size(base64.b64decode(event.b64_json)))) == event.size
    last = events[-1]
    assert isinstance(last, openai.types.ImageGenCompletedEvent), last
    assert base64.b64decode(last.b64_json) == whole and last.size == "32x32" and last.usage.input_tokens > 2


def edited():
    alone = files(edit({"strength": 0.6}))[0]
    assert size(alone) == (32, 32)
    assert files(edit({"strength": 0.6}))[0] == alone
    assert files(edit({"strength": 1}))[0] != alone
    with open(PICTURE, "rb") as picture:
        assert files(edit({"strength": 0.6}, image=[picture]))[0] == alone
    with open(MASK, "rb") as mask:
        masked = files(edit(mask=mask))[0]
    assert masked != files(edit())[0]
    # The left half: transparent, as this client's users make it, and white.
    transparent = png(32, 32, 6, [b"\x80\x80\x80\0" * 16 + b"\x80\x80\x80\xff" * 16] * 32)
    white = png(32, 32, 0, [b"\xff" * 16 + b"\0" * 16] * 32)
    halves = [files(edit(mask=("mask.png", io.BytesIO(mask), "image/png")))[0] for mask in (transparent, white)]
    assert halves[0] == halves[1] != masked
    events = list(edit({"strength": 0.6}, stream=True, partial_images=1))
    assert isinstance(events[-1], openai.types.ImageEditCompletedEvent), events[-1]
    assert base64.b64decode(events[-1].b64_json) == alone
    assert [event.type for event in events].count("image_edit.partial_image") == 1
    return alone


async def beside_each_other():
    """Two pictures of different sizes, and one that is given up half-way."""
    async with openai.AsyncOpenAI(**OPTIONS) as client:

        async def leave():
            stream = await client.images.generate(**asked({"steps": 500}, {"stream": True}))
            async for event in stream:
                if event.step == 2:
                    break
            await stream.close()

        small = client.images.generate(**asked({}, {}))
        large = client.images.generate(**asked({"steps": 12}, {"size": "64x64"}))
        small, large, _ = await asyncio.gather(small, large, leave())
        return size(files(small)[0]), size(files(large)[0])


def refused(ask, kind=openai.BadRequestError):
    try:
        ask()
    except kind as error:
        assert "\n" not in error.body["message"], error.body
        return {"code": error.code, "param": error.param, "status": error.status_code}
    raise AssertionError("not refused")


picture = drawn()
streamed(picture)
alone = edited()
assert asyncio.run(beside_each_other()) == ((32, 32), (64, 64))
errors = {
    "size": refused(lambda: generate(size="7x7")),
    "steps": refused(lambda: generate({"steps": 0})),
    "guidance": refused(lambda: generate({"guidance": "NaN"})),
    "n": refused(lambda: generate(n=0)),
    "url": refused(lambda: generate(response_format="url")),
    "background": refused(lambda: generate(background="transparent")),
    "style": refused(lambda: generate(style="vivid")),
    "streamed": refused(lambda: list(generate(stream=True, size="7x7"))),
    "image": refused(lambda: edit(image=b"<svg/>")),
    "strength": refused(lambda: edit({"strength": 2})),
    "fidelity": refused(lambda: edit(input_fidelity="high")),
    "model": refused(lambda: generate(model="nobody"), openai.NotFoundError),
}
print(json.dumps({"picture": base64.b64encode(picture).decode(), "edited": base64.b64encode(alone).decode(), "errors": errors}))
