"""The official client sends pictures to a Candlepool server, as its users would.

    openai_pictures.py BASE_URL KEY VISION_MODEL IMAGE_MODEL PICTURE OTHER_PICTURE

PICTURE and OTHER_PICTURE are PNG files of one size. What the client does is checked here; what it was told is printed as
one JSON document.
"""

import base64
import json
import sys

import openai

BASE_URL, KEY, VISION_MODEL, IMAGE_MODEL, PICTURE, OTHER_PICTURE = sys.argv[1:7]

client = openai.OpenAI(api_key=KEY, base_url=BASE_URL, max_retries=0, timeout=240)


def url(path):
    with open(path, "rb") as file:
        return "data:image/png;base64," + base64.b64encode(file.read()).decode()


def about(*urls, **options):
    content = [{"type": "image_url", "image_url": {"url": one, "detail": "auto"}} for one in urls]
    content.append({"type": "text", "text": "What is in the picture?"})
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(**({"model": VISION_MODEL, "messages": messages, "max_tokens": 24, "temperature": 0} | options))


def streamed(*urls):
    chunks = list(about(*urls, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0, chunks[-1]
    return text, chunks


def answers():
    text, chunks = streamed(url(PICTURE))
    assert len(chunks) > 4, "it came in one piece"
    whole = about(url(PICTURE))
    assert whole.choices[0].message.content == text, (whole, text)
    assert whole.usage.prompt_tokens == chunks[-1].usage.prompt_tokens
    cached = whole.usage.prompt_tokens_details.cached_tokens
    assert cached > 0, whole.usage
    other = about(url(OTHER_PICTURE))
    assert other.choices[0].message.content != text and other.usage.prompt_tokens == whole.usage.prompt_tokens
    assert other.usage.prompt_tokens_details.cached_tokens < 16, other.usage
    both = about(url(PICTURE), url(OTHER_PICTURE))
    assert both.usage.prompt_tokens > whole.usage.prompt_tokens
    return {"pieces": len(chunks), "prompt": whole.usage.prompt_tokens, "cached": cached}


def vectors():
    told = client.embeddings.create(model=IMAGE_MODEL, input=[{"image": url(PICTURE)}, "a picture", {"image": url(OTHER_PICTURE)}])
    one, text, other = (datum.embedding for datum in told.data)
    assert len(one) == len(text) == len(other) and one != other and one != text
    for vector in (one, text, other):
        assert abs(sum(number * number for number in vector) - 1) < 1e-4, "not of length 1"
    again = client.embeddings.create(model=IMAGE_MODEL, input=[{"image": url(PICTURE)}], encoding_format="float")
    assert max(abs(a - b) for a, b in zip(again.data[0].embedding, one)) < 1e-5


def refused(text, ask):
    try:
        ask()
    except openai.BadRequestError as error:
        message = error.body["message"]
        assert text in message and "\n" not in message, message
        return
    raise AssertionError(f"not refused: {text}")


told = answers()
vectors()
refused("is not a picture that can be read", lambda: about("data:image/png;base64," + base64.b64encode(b"<svg/>").decode()))
refused("fetches no pictures", lambda: about("http://127.0.0.1/picture.png"))
refused("embeds pictures", lambda: client.chat.completions.create(model=IMAGE_MODEL, messages=[{"role": "user", "content": "a"}]))
refused("writes text", lambda: client.embeddings.create(model=VISION_MODEL, input="a"))
print(json.dumps(told))
