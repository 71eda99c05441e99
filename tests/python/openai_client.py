"""The official client against a Candlepool server, as its users would use it.

    openai_client.py BASE_URL KEY MODEL TEXTS_JSON

MODEL makes vectors; `narrow` is the same model with a queue of one job. What the client does by itself is checked here;
the numbers are printed as one JSON document for the caller to compare.
"""

import asyncio
import json
import sys
import threading
import time

import openai

BASE_URL, KEY, MODEL = sys.argv[1:4]
TEXTS = json.loads(sys.argv[4])


def client(**options):
    options = {"max_retries": 0, "timeout": 120, "api_key": KEY} | options
    return openai.OpenAI(base_url=BASE_URL, **options)


def vectors(answer):
    assert [datum.index for datum in answer.data] == list(range(len(answer.data)))
    return [datum.embedding for datum in answer.data]


def refused(kind, **request):
    """The error that a request ends with, which must be of a kind and say what is wrong."""
    given = request.pop("client", None) or client()
    try:
        given.embeddings.create(**({"model": MODEL, "input": "text"} | request))
    except kind as error:
        assert type(error) is kind, error
        assert error.body["message"] and "\n" not in error.body["message"], error.body
        return {"code": error.code, "param": error.param, "type": error.type, "status": error.status_code}
    raise AssertionError(f"not refused: {request}")


def numbers():
    c = client()
    as_base64 = c.embeddings.create(model=MODEL, input=TEXTS)
    as_float = c.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    assert as_base64.model == MODEL and as_base64.object == "list"
    assert as_base64.usage.prompt_tokens == as_base64.usage.total_tokens == as_float.usage.total_tokens > len(TEXTS)
    # Asked for in so many words, it stays as it came.
    raw = c.embeddings.create(model=MODEL, input=TEXTS[0], encoding_format="base64")
    assert isinstance(raw.data[0].embedding, str)
    return {
        "base64": vectors(as_base64),
        "float": vectors(as_float),
        "one": vectors(c.embeddings.create(model=MODEL, input=TEXTS[0])),
        "cut": vectors(c.embeddings.create(model=MODEL, input=TEXTS, dimensions=64)),
        "concurrent": asyncio.run(concurrently()),
    }


async def concurrently():
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as c:
        answers = await asyncio.gather(*(c.embeddings.create(model=MODEL, input=text) for text in TEXTS))
    return [answer.data[0].embedding for answer in answers]


def tokens(ids):
    c = client()
    return {
        "ids": vectors(c.embeddings.create(model=MODEL, input=ids)),
        "lists": vectors(c.embeddings.create(model=MODEL, input=[ids, ids[:1] + ids[-1:]])),
    }


def models():
    c = client()
    names = [model.id for model in c.models.list()]
    assert c.models.retrieve(MODEL).id == MODEL
    try:
        c.models.retrieve("nobody")
    except openai.NotFoundError:
        return names
    raise AssertionError("a model that is not there was found")


def errors():
    return {
        "dimensions": refused(openai.BadRequestError, dimensions=100_000),
        "empty": refused(openai.BadRequestError, input=[]),
        "ids": refused(openai.BadRequestError, input=[1, 4_000_000_000]),
        "unsupported": refused(openai.BadRequestError, extra_body={"best_of": 2}),
        "key": refused(openai.AuthenticationError, client=client(api_key="sk-wrong")),
        "model": refused(openai.NotFoundError, model="nobody"),
        # Official clients send what ended with 408 again, unless they are told not to.
        "deadline": refused(
            openai.APIStatusError if not hasattr(openai, "RequestTimeoutError") else openai.RequestTimeoutError,
            client=client(max_retries=5),
            input=[" ".join([text] * 200) for text in TEXTS] * 8,
            extra_headers={"X-Request-Timeout": "0.001"},
        ),
    }


def overload():
    """Threads that all want the one place of `narrow`: who is refused comes back when it was told to, and is served."""
    refusals, waits, failures = [], [], []
    barrier = threading.Barrier(8)

    def one(number):
        attempts = []

        def note(response):
            attempts.append((time.monotonic(), response.status_code, response.headers.get("retry-after")))

        # Wider than the server's own idea of when there is room, as all come back at once.
        c = client(
            max_retries=30,
            http_client=openai.DefaultHttpxClient(event_hooks={"response": [note]}, timeout=120),
        )
        barrier.wait()
        try:
            text = f"{number} " + " ".join(TEXTS) * 20
            assert len(c.embeddings.create(model="narrow", input=text).data) == 1
        except Exception as error:  # told to the caller, whatever it is
            failures.append(repr(error))
        for (at, status, told), (again, _, _) in zip(attempts, attempts[1:]):
            assert status == 429, status
            waits.append({"told": float(told), "waited": again - at})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # And without retries, the error's own class.
    barrier = threading.Barrier(8)

    def refuse(number):
        barrier.wait()
        try:
            client().embeddings.create(model="narrow", input=f"again {number} " + " ".join(TEXTS) * 20)
        except openai.RateLimitError as error:
            refusals.append({"code": error.code, "retry_after": float(error.response.headers["retry-after"])})

    threads = [threading.Thread(target=refuse, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"waits": waits, "failures": failures, "refusals": refusals}


def hurried():
    """A client that gives up by itself leaves a server that serves on."""
    try:
        client(timeout=0.001).embeddings.create(model=MODEL, input=[text * 1000 for text in TEXTS if text] * 20)
    except openai.APITimeoutError:
        return len(client().embeddings.create(model=MODEL, input=TEXTS).data)
    raise AssertionError("no timeout")


result = {"numbers": numbers(), "models": models(), "errors": errors(), "hurried": hurried()}
if len(sys.argv) > 5:
    result["tokens"] = tokens(json.loads(sys.argv[5]))
    result["overload"] = overload()
print(json.dumps(result))
