"""llama.cpp's side of `cargo xtask bench`, through the C functions of its own build for this processor, with its defaults.

`logits` tokenises a text and writes what the `agreement` example of nn reads: a line of JSON, then a row of f32 for every
token but the last. `speed` answers lines of standard input as the `speed` example of text-to-text does.
"""

import argparse
import ctypes
import json
import sys
import time
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int32, c_int8, c_uint32, c_void_p
from pathlib import Path

# Rows of logits of a large vocabulary take a mebibyte each.
LOGITS_BATCH = 128


class ModelParams(ctypes.Structure):
    """Passed on as the library fills it in; it is smaller than this."""

    _fields_ = [("all", ctypes.c_uint8 * 512)]


class ContextParams(ctypes.Structure):
    """The fields that are set here come first; what follows is smaller than this."""

    _fields_ = [(name, c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max",
                                              "n_outputs_max_per_seq", "n_threads", "n_threads_batch")]
    _fields_ += [("rest", ctypes.c_uint8 * 512)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", POINTER(c_float)), ("pos", POINTER(c_int32)),
                ("n_seq_id", POINTER(c_int32)), ("seq_id", POINTER(POINTER(c_int32))), ("logits", POINTER(c_int8))]


LOG = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)

# What is called: its result, and its arguments.
FUNCTIONS = {
    "llama_version": (c_char_p, []),
    "llama_print_system_info": (c_char_p, []),
    "llama_log_set": (None, [LOG, c_void_p]),
    "llama_backend_init": (None, []),
    "llama_model_default_params": (ModelParams, []),
    "llama_model_load_from_file": (c_void_p, [c_char_p, ModelParams]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_tokenize": (c_int32, [c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool]),
    "llama_context_default_params": (ContextParams, []),
    "llama_init_from_model": (c_void_p, [c_void_p, ContextParams]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_clear": (None, [c_void_p, c_bool]),
    "llama_batch_init": (Batch, [c_int32, c_int32, c_int32]),
    "llama_decode": (c_int32, [c_void_p, Batch]),
    "llama_get_logits_ith": (c_void_p, [c_void_p, c_int32]),
    "llama_sampler_init_greedy": (c_void_p, []),
    "llama_sampler_sample": (c_int32, [c_void_p, c_void_p, c_int32]),
}


@LOG
def silent(_level, _text, _data):
    pass


class Llama:
    """The library's functions, by their names."""

    def __init__(self, folder: Path):
        # The library finds its parts beside it, but for those that depend on the processor.
        parts = ctypes.CDLL(str(only(folder, "libggml.*")), mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(only(folder, "libllama.*")))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("llama_"), function)
        self.log_set(silent, None)
        parts.ggml_backend_load_all_from_path.argtypes = [c_char_p]
        parts.ggml_backend_load_all_from_path(str(folder).encode())
        self.backend_init()

    def described(self) -> dict:
        """Its version, and what of the processor it uses."""
        parts = self.print_system_info().decode().replace("CPU :", "").split("|")
        on = [name.strip() for name, value in (part.split("=") for part in parts if "=" in part) if value.strip() == "1"]
        return {"llama.cpp": self.version().decode(), "features": on}


def only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} should hold one {pattern}, and holds {len(found)}")
    return found[0]


class Decoder:
    """A context of so many sequences, each of so many tokens, and a batch to fill; with `batch`, one of which every token may
    have its logits."""

    def __init__(self, llama: Llama, model, context: int, sequences: int, threads: int, batch: int | None = None):
        self.llama = llama
        params = llama.context_default_params()
        params.n_ctx, params.n_seq_max = context * sequences, sequences
        params.n_threads = params.n_threads_batch = threads
        if batch is not None:
            params.n_batch = params.n_ubatch = params.n_outputs_max = params.n_outputs_max_per_seq = batch
        self.context = llama.init_from_model(model, params)
        if not self.context:
            raise SystemExit("llama.cpp could not make a context")
        self.room = params.n_batch
        self.batch = llama.batch_init(self.room, 0, 1)
        self.greedy = llama.sampler_init_greedy()

    def clear(self) -> None:
        self.llama.memory_clear(self.llama.get_memory(self.context), True)

    def step(self, entries) -> None:
        """Computes entries of (token, position, sequence, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for index, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            batch.logits[index] = wanted
        status = self.llama.decode(self.context, batch)
        if status != 0:
            raise SystemExit(f"llama_decode ended with {status}")

    def best(self, index: int) -> int:
        return self.llama.sampler_sample(self.greedy, self.context, index)

    def prefill(self, prompts) -> list:
        """The first token of each answer."""
        entries = [(token, position, sequence, position + 1 == len(prompt))
                   for sequence, prompt in enumerate(prompts) for position, token in enumerate(prompt)]
        first = []
        for start in range(0, len(entries), self.room):
            part = entries[start:start + self.room]
            self.step(part)
            first += [self.best(index) for index, entry in enumerate(part) if entry[3]]
        return first


def tokenize(llama: Llama, vocabulary, text: str) -> list:
    text = text.encode()
    tokens = (c_int32 * (len(text) + 8))()
    count = llama.tokenize(vocabulary, text, len(text), tokens, len(tokens), True, False)
    if count < 0:
        raise SystemExit("llama.cpp could not tokenise the text")
    return tokens[:count]


def logits(llama: Llama, model, text: Path, threads: int) -> None:
    vocabulary = llama.model_get_vocab(model)
    tokens = tokenize(llama, vocabulary, text.read_text(encoding="utf-8"))
    size = llama.vocab_n_tokens(vocabulary)
    head = {"made_with": llama.described(), "tokens": tokens}
    out = sys.stdout.buffer
    out.write(json.dumps(head).encode() + b"\n")
    decoder = Decoder(llama, model, len(tokens), 1, threads, LOGITS_BATCH)
    entries = [(token, position, 0, True) for position, token in enumerate(tokens[:-1])]
    for start in range(0, len(entries), LOGITS_BATCH):
        part = entries[start:start + LOGITS_BATCH]
        decoder.step(part)
        for index in range(len(part)):
            row = llama.get_logits_ith(decoder.context, index)
            if not row:
                raise SystemExit(f"llama.cpp gave no logits for token {start + index}")
            out.write(ctypes.string_at(row, size * ctypes.sizeof(c_float)))
    out.flush()


def speed(llama: Llama, model, threads: int, context: int) -> None:
    print(json.dumps(llama.described()), flush=True)
    decoders = {}
    for line in sys.stdin:
        asked = json.loads(line)
        prompts, tokens = asked["prompts"], asked["tokens"]
        if len(prompts) not in decoders:
            decoders[len(prompts)] = Decoder(llama, model, context, len(prompts), threads)
        decoder = decoders[len(prompts)]
        decoder.clear()
        start = time.perf_counter()
        last = decoder.prefill(prompts)
        prefilled = time.perf_counter()
        for count in range(tokens):
            decoder.step([(token, len(prompt) + count, sequence, True)
                          for sequence, (prompt, token) in enumerate(zip(prompts, last))])
            last = [decoder.best(index) for index in range(len(prompts))]
        end = time.perf_counter()
        print(json.dumps({"prefill": sum(map(len, prompts)) / (prefilled - start),
                          "decode": tokens * len(prompts) / (end - prefilled)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["logits", "speed"])
    parser.add_argument("--library", type=Path, required=True, help="the folder of llama.cpp's libraries")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--text", type=Path, help="for logits: what to read")
    parser.add_argument("--context", type=int, help="for speed: the most tokens of a sequence")
    arguments = parser.parse_args()
    llama = Llama(arguments.library)
    model = llama.model_load_from_file(str(arguments.gguf).encode(), llama.model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp could not load {arguments.gguf}")
    if arguments.task == "logits":
        logits(llama, model, arguments.text, arguments.threads)
    else:
        speed(llama, model, arguments.threads, arguments.context)


if __name__ == "__main__":
    main()
