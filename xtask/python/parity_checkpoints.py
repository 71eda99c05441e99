"""Tiny random-weight checkpoints, one for each behaviour, with the reference's output in `cases.json`.

The folders under `checkpoints/` have the layout that real checkpoints have: written by sentence-transformers and
transformers 5 themselves, or (`spelling: "legacy"`) rewritten to the keys and names of transformers 4 and of
sentence-transformers before 5.4. Weights are drawn large, so that an error shows. Every text is encoded alone, in f32,
on the CPU; half-precision weights are widened to f32 first.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from model2vec import StaticModel
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import (
    BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, BertTokenizer, XLMRobertaConfig,
    XLMRobertaForSequenceClassification, XLMRobertaModel, XLMRobertaTokenizer,
)

from fixture_format import numbers, rounded, versions, worst_relative, write

HIDDEN, POSITIONS, DENSE_OUT = 24, 48, 17
TOLERANCE = 2e-4

WORDS = """the a an of to and in is are was it that this with for on as by from not fox dog cat bird fish river
mountain winter summer engine market bread query passage find search retrieve document red blue green quick brown lazy
jump run speak read write small large old new""".split()
SUFFIXES = "ing ed er s es ly tion ness ment able".split()
CASED_WORDS = "The Fox Paris London Monday".split()
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PUNCTUATION = ".,;:!?'\"-()[]#@/"

TEXTS = [
    "the quick brown fox",
    "a",
    "",
    "The Fox runs from PARIS to London, and the lazy dogs are not speaking!",
    "caf\u00e9 \u4e16\u754c \U0001f98a zzz",
    "small cats, large birds; old mountains: new rivers? 1984",
    # 45 pieces with the two special ones: under the 48 positions.
    "the river is a small river and the mountain is a large mountain and winter is not summer in this old market "
    "for bread with fish and birds by the engine that was new",
    # Far over them: cut.
    "it was a dog and it was a cat and it was a bird and it was a fish and " * 6,
]
# What a SentencePiece normalizer changes: ligatures, wide letters, runs of spaces, spaces at the end, other whitespace.
ROBERTA_TEXTS = TEXTS + ["the \ufb01sh", "\uff34he   lazy  dog  ", "the fox\nand\tthe dog", "\u3000 ", "<mask> the <s>cat"]
PAIRS = [
    ["quick fox", "the quick brown fox jumps"],
    ["bread market", "a mountain in winter"],
    ["", "the lazy dog"],
    ["read", ""],
    ["find the old river", "this document is not for the engine; it was written by an old bird, and read by a fish."],
    # Both long: longest_first takes tokens from both.
    ["the large red fish and the small blue fish and the green bird " * 3, "winter in the mountain is not summer in the market " * 4],
    # A short query and a long passage: only the passage is cut.
    ["new engine", "search and find and read and write and speak and run and jump " * 6],
]


def vocabulary(cased: bool) -> dict:
    characters = CHARACTERS + (UPPER if cased else "")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PUNCTUATION, *characters, *("##" + ch for ch in characters),
              *WORDS, *("##" + suffix for suffix in SUFFIXES), *(CASED_WORDS if cased else [])]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def tokenizer(cased: bool = False, max_length: int = POSITIONS, **more) -> BertTokenizer:
    return BertTokenizer(vocab=vocabulary(cased), do_lower_case=not cased, model_max_length=max_length, **more)


def config(cased: bool = False, **more) -> BertConfig:
    settings = {"vocab_size": len(vocabulary(cased)), "hidden_size": HIDDEN, "num_hidden_layers": 2,
                "num_attention_heads": 3, "intermediate_size": 37, "max_position_embeddings": POSITIONS,
                "type_vocab_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(**(settings | more))


def randomised(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Draws every parameter anew, in the order of its name, larger than training would leave it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.3 * noise)
            elif "embeddings" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise * 1.7 / parameter.shape[-1] ** 0.5)
    return module.eval()


class Fixtures:
    """Collects the cases and writes the folders of one run."""

    def __init__(self, out: Path):
        self.out = out / "checkpoints"
        shutil.rmtree(self.out, ignore_errors=True)
        self.scratch = out / "scratch"
        self.cases = []

    def raw(self, name: str, model, tok) -> Path:
        """The bare transformers folder that sentence-transformers then reads."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        tok.save_pretrained(folder)
        return folder

    def save(self, name: str, model) -> Path:
        folder = self.out / name
        model.save(str(folder), create_model_card=False)
        (folder / "README.md").unlink(missing_ok=True)
        return folder

    def embed(self, name: str, folder: str, note: str, texts=None, prompt_name=None, prompt=None, dimensions=None):
        """Loads `folder` as a user would and records what it makes of the texts."""
        texts = TEXTS if texts is None else texts
        model = SentenceTransformer(str(self.out / folder), device="cpu", model_kwargs={"dtype": torch.float32})

        def encode():
            options = {"truncate_dim": dimensions, "normalize_embeddings": True} if dimensions else {}
            if prompt_name is not None:
                options["prompt_name"] = prompt_name
            if prompt is not None:
                options["prompt"] = prompt
            return np.stack([model.encode(text, batch_size=1, **options) for text in texts])

        single = encode()
        model.double()
        self.case("embed", name, folder, note, single, encode(),
                  {"prompt_name": prompt_name, "prompt": prompt, "dimensions": dimensions, "texts": texts})

    def rerank(self, name: str, folder: str, note: str):
        model = CrossEncoder(str(self.out / folder), device="cpu", model_kwargs={"dtype": torch.float32})

        def scores():
            return np.stack([np.atleast_1d(model.predict(pair, batch_size=1)) for pair in PAIRS])

        single = scores()
        model.double()
        self.case("rerank", name, folder, note, single, scores(), {"pairs": PAIRS})

    def case(self, kind, name, folder, note, single, exact, inputs):
        noise = worst_relative(exact, single)
        if noise > TOLERANCE / 10:
            raise SystemExit(f"{name}: f32 is {noise:.1e} from f64, over a tenth of the tolerance {TOLERANCE:.0e}")
        self.cases.append({
            "name": name, "kind": kind, "folder": f"checkpoints/{folder}", "note": note,
            **{key: value for key, value in inputs.items() if value is not None},
            "tolerance": TOLERANCE, "noise": rounded(noise), "expected": numbers(single),
        })
        print(f"{kind} {name}: noise {noise:.1e}")

    def sentence_transformer(self, name: str, seed: int, pooling="mean", normalize=True, extra=(), act="gelu", cased=False,
                             max_length=POSITIONS, include_prompt=True, module_options=None, tok_options=None, **options):
        bert = randomised(BertModel(config(cased, hidden_act=act)), seed)
        folder = self.raw(name, bert, tokenizer(cased, max_length, **(tok_options or {})))
        modules = [Transformer(str(folder), model_kwargs={"dtype": torch.float32}, **(module_options or {})),
                   Pooling(HIDDEN, pooling_mode=pooling, include_prompt=include_prompt), *extra]
        if normalize:
            modules.append(Normalize())
        return self.save(name, SentenceTransformer(modules=modules, device="cpu", **options))

    def sentence_transformer_of(self, name: str, model, tok) -> Path:
        """A model that is not BERT, mean pooling and Normalize."""
        modules = [Transformer(str(self.raw(name, model, tok)), model_kwargs={"dtype": torch.float32}),
                   Pooling(HIDDEN, pooling_mode="mean"), Normalize()]
        return self.save(name, SentenceTransformer(modules=modules, device="cpu"))


def edit_json(path: Path, **changes) -> None:
    """Sets keys, or drops those that are None."""
    value = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for key, item in changes.items():
        if item is None:
            value.pop(key, None)
        else:
            value[key] = item
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def legacy_spelling(folder: Path, max_seq_length: int, pooling: str | None) -> None:
    """Rewrites what transformers 5 and sentence-transformers 5.4 write to what their predecessors wrote."""
    edit_json(folder / "config.json", dtype=None, torch_dtype="float32", transformers_version="4.30.2",
              _name_or_path="tiny", gradient_checkpointing=False, position_embedding_type="absolute",
              # Absent fields take the class's defaults.
              hidden_act=None, layer_norm_eps=None, type_vocab_size=None, is_decoder=None, add_cross_attention=None,
              tie_word_embeddings=None, bos_token_id=None, eos_token_id=None, classifier_dropout=None)
    edit_json(folder / "tokenizer_config.json", backend=None, is_local=None, do_basic_tokenize=True, never_split=None)
    modules = folder / "modules.json"
    if pooling is not None:
        listed = json.loads(modules.read_text("utf-8"))
        for module in listed:
            module["type"] = "sentence_transformers.models." + module["type"].rsplit(".", 1)[1]
        modules.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
        (folder / "1_Pooling/config.json").unlink()
        edit_json(folder / "1_Pooling/config.json", word_embedding_dimension=HIDDEN,
                  **{f"pooling_mode_{mode}": mode == pooling
                     for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")})
        (folder / "sentence_bert_config.json").unlink()
        edit_json(folder / "sentence_bert_config.json", max_seq_length=max_seq_length, do_lower_case=False)
        (folder / "config_sentence_transformers.json").unlink()
        edit_json(folder / "config_sentence_transformers.json",
                  __version__={"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"})


def encoders(fx: Fixtures) -> None:
    for i, (name, pooling) in enumerate([("mean", "mean"), ("cls", "cls"), ("max", "max"), ("lasttoken", "lasttoken"),
                                         ("mean-sqrt-len", "mean_sqrt_len_tokens"), ("weightedmean", "weightedmean")]):
        fx.sentence_transformer(f"pool-{name}", 10 + i, pooling, normalize=False)
        fx.embed(f"pool-{name}", f"pool-{name}", f"pooling mode {pooling}, not normalised")
    fx.sentence_transformer("pool-cls-mean", 16, ("cls", "mean"))
    fx.embed("pool-cls-mean", "pool-cls-mean", "two pooling modes, concatenated, then normalised")
    fx.sentence_transformer("normalize", 17)
    fx.embed("normalize", "normalize", "mean pooling and Normalize, as sentence-transformers 5 saves it")
    fx.embed("normalize-dimensions", "normalize", "cut to 7 dimensions and normalised again", dimensions=7)

    legacy = fx.sentence_transformer("legacy", 18)
    legacy_spelling(legacy, POSITIONS, "mean_tokens")
    fx.embed("legacy", "legacy", "the spelling of transformers 4 and of sentence-transformers 2: torch_dtype, pooling_mode_* flags")
    legacy_cut = fx.sentence_transformer("legacy-max-seq-length", 19, "cls", normalize=False)
    legacy_spelling(legacy_cut, 12, "cls_token")
    fx.embed("legacy-max-seq-length", "legacy-max-seq-length", "max_seq_length 12 in sentence_bert_config.json; 48 positions")

    fx.sentence_transformer("max-seq-length", 20, max_length=13)
    fx.embed("max-seq-length", "max-seq-length", "the limit as sentence-transformers 5 keeps it: model_max_length 13 in tokenizer_config.json")
    fx.sentence_transformer("no-limit", 21, max_length=int(1e30))
    fx.embed("no-limit", "no-limit", "no length limit but the 48 positions")
    fx.sentence_transformer("truncate-left", 22, tok_options={"truncation_side": "left"})
    fx.embed("truncate-left", "truncate-left", "truncation_side left: the end of a long text is kept")

    identity = Dense(HIDDEN, 9, bias=False, activation_function=torch.nn.Identity())
    fx.sentence_transformer("dense", 23, extra=[randomised(Dense(HIDDEN, DENSE_OUT), 24)])
    fx.embed("dense", "dense", "a Dense module with Tanh between Pooling and Normalize")
    fx.sentence_transformer("dense-identity", 25, normalize=False, extra=[randomised(identity, 26)])
    fx.embed("dense-identity", "dense-identity", "a Dense module without bias or activation, not normalised")

    prompts = {"query": "query: ", "passage": "passage: "}
    fx.sentence_transformer("prompts", 27, prompts=prompts, default_prompt_name="passage")
    fx.embed("prompts-default", "prompts", "default_prompt_name passage is put before every text")
    fx.embed("prompts-query", "prompts", "the prompt named query", prompt_name="query")
    fx.embed("prompts-own", "prompts", "the caller's own prompt", prompt="find the document: ")
    fx.embed("prompts-none", "prompts", "an empty prompt switches the default off", prompt="")
    fx.sentence_transformer("prompt-not-pooled", 28, include_prompt=False, prompts=prompts)
    fx.embed("prompt-not-pooled", "prompt-not-pooled", "include_prompt false: the prompt's tokens (and [CLS]) are left out of the mean",
             prompt_name="query", texts=[text for text in TEXTS if text])

    fx.sentence_transformer("cased", 29, cased=True)
    fx.embed("cased", "cased", "a cased vocabulary: neither lower-cased nor stripped of accents")
    fx.sentence_transformer("lower-case", 30, cased=True, module_options={"do_lower_case": True})
    fx.embed("lower-case", "lower-case", "do_lower_case as sentence-transformers 5 saves it: a Lowercase step in tokenizer.json")
    lower = fx.sentence_transformer("legacy-lower-case", 31, cased=True)
    legacy_spelling(lower, POSITIONS, "mean_tokens")
    edit_json(lower / "sentence_bert_config.json", do_lower_case=True)
    fx.embed("legacy-lower-case", "legacy-lower-case", "do_lower_case in sentence_bert_config.json over a cased tokenizer")
    fx.sentence_transformer("truncate-dim", 32, truncate_dim=11)
    fx.embed("truncate-dim", "truncate-dim", "truncate_dim 11 in config_sentence_transformers.json: cut, not normalised again")

    for i, act in enumerate(["gelu_new", "relu", "gelu_pytorch_tanh", "silu"]):
        fx.sentence_transformer(f"act-{act}", 40 + i, act=act)
        fx.embed(f"act-{act}", f"act-{act}", f"hidden_act {act}")


def spellings(fx: Fixtures) -> None:
    """Folders without modules.json, other key names, other number formats."""
    for name, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16)]:
        folder = fx.sentence_transformer(name, 50 + len(name))
        weights = {key: value.to(dtype) for key, value in load_file(folder / "model.safetensors").items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        edit_json(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
        fx.embed(name, name, f"weights stored in {name}, computed in f32")

    bert = randomised(BertModel(config()), 60)
    shutil.copytree(fx.raw("bare", bert, tokenizer()), fx.out / "bare")
    fx.embed("bare", "bare", "a transformers folder without modules.json: mean pooling, not normalised")

    masked = randomised(BertForMaskedLM(config()), 61)
    folder = fx.out / "bert-prefix"
    shutil.copytree(fx.raw("bert-prefix", masked, tokenizer()), folder)
    weights = load_file(folder / "model.safetensors")
    if not any(key.startswith("bert.") for key in weights):
        raise SystemExit("bert-prefix: transformers no longer writes the bert. prefix")
    weights = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
               for key, value in weights.items()}
    weights["bert.embeddings.position_ids"] = torch.arange(POSITIONS).unsqueeze(0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    legacy_spelling(folder, POSITIONS, None)
    fx.embed("bert-prefix", "bert-prefix", "a masked-language checkpoint: keys under bert., LayerNorm.gamma and .beta, position_ids, unused heads")


def cross_encoders(fx: Fixtures) -> None:
    def build(name: str, seed: int, labels: int, **options) -> Path:
        bert = randomised(BertForSequenceClassification(config(num_labels=labels)), seed)
        with torch.no_grad():  # Keeps sigmoids off their flat ends.
            bert.classifier.weight.mul_(0.5)
        model = CrossEncoder(str(fx.raw(name, bert, tokenizer())), device="cpu", model_kwargs={"dtype": torch.float32}, **options)
        return fx.save(name, model)

    build("rerank-1", 70, 1)
    fx.rerank("rerank-1", "rerank-1", "one label, as sentence-transformers 5 saves it: sigmoid")
    build("rerank-3", 71, 3)
    fx.rerank("rerank-3", "rerank-3", "three labels: logits as they are")
    build("rerank-identity", 72, 1, activation_fn=torch.nn.Identity())
    fx.rerank("rerank-identity", "rerank-identity", "one label, activation_fn Identity kept by sentence-transformers 5.4 and later")

    def legacy(name: str, seed: int, labels: int, **config_changes) -> Path:
        bert = randomised(BertForSequenceClassification(config(num_labels=labels)), seed)
        folder = fx.out / name
        shutil.copytree(fx.raw(name, bert, tokenizer()), folder)
        legacy_spelling(folder, POSITIONS, None)
        edit_json(folder / "config.json", **config_changes)
        return folder

    legacy("rerank-legacy", 73, 1)
    fx.rerank("rerank-legacy", "rerank-legacy", "one label, a bare transformers 4 folder: sigmoid by default")
    legacy("rerank-legacy-activation", 74, 1, sbert_ce_default_activation_function="torch.nn.modules.linear.Identity")
    fx.rerank("rerank-legacy-activation", "rerank-legacy-activation", "sbert_ce_default_activation_function in config.json")
    legacy("rerank-config-activation", 75, 1,
           sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"})
    fx.rerank("rerank-config-activation", "rerank-config-activation", "sentence_transformers.activation_fn in config.json")
    folder = legacy("rerank-f16", 76, 1, torch_dtype="float16")
    weights = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fx.rerank("rerank-f16", "rerank-f16", "weights stored in f16, computed in f32")


def roberta(fx: Fixtures) -> None:
    """XLM-RoBERTa, as multilingual E5 and BGE-M3 are built: positions begin at 2, pieces of a unigram model, no segments."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", *PUNCTUATION, *CHARACTERS, *UPPER, *("\u2581" + word for word in WORDS),
              *SUFFIXES, "<mask>"]
    # Longer pieces are likelier, so that words win over letters.
    scored = [(piece, 0.0 if piece.startswith("<") else -12.0 + 1.5 * min(len(piece), 6)) for piece in dict.fromkeys(pieces)]
    tok = XLMRobertaTokenizer(vocab=scored, model_max_length=POSITIONS)
    settings = XLMRobertaConfig(**(config().to_dict() | {
        "model_type": "xlm-roberta", "vocab_size": len(tok), "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5}))
    fx.sentence_transformer_of("xlm-roberta", randomised(XLMRobertaModel(settings), 90), tok)
    fx.embed("xlm-roberta", "xlm-roberta", "XLM-RoBERTa with a unigram tokenizer")
    legacy = fx.sentence_transformer_of("xlm-roberta-legacy", randomised(XLMRobertaModel(settings), 92), tok)
    legacy_spelling(legacy, POSITIONS - 8, "mean_tokens")
    legacy_roberta(legacy)
    fx.embed("xlm-roberta-legacy", "xlm-roberta-legacy",
             "XLM-RoBERTa as transformers 4 saves it: the tokenizer.json of a converted SentencePiece model, max_seq_length 40",
             texts=ROBERTA_TEXTS)
    settings.num_labels = 1
    head = randomised(XLMRobertaForSequenceClassification(settings), 91)
    fx.save("rerank-xlm-roberta", CrossEncoder(str(fx.raw("rerank-xlm-roberta", head, tok)), device="cpu",
                                               model_kwargs={"dtype": torch.float32}))
    fx.rerank("rerank-xlm-roberta", "rerank-xlm-roberta", "a cross-encoder on XLM-RoBERTa: its two-layer head, keys under roberta.")
    head = randomised(XLMRobertaForSequenceClassification(settings), 93)
    folder = fx.out / "rerank-xlm-roberta-legacy"
    shutil.copytree(fx.raw("rerank-xlm-roberta-legacy", head, tok), folder)
    legacy_spelling(folder, POSITIONS, None)
    legacy_roberta(folder)
    fx.rerank("rerank-xlm-roberta-legacy", "rerank-xlm-roberta-legacy", "a bare XLM-RoBERTa cross-encoder as transformers 4 saves it")


def legacy_roberta(folder: Path) -> None:
    """What is transformers 4's own in an XLM-RoBERTa folder that `legacy_spelling` has been over."""
    # These differ from what the class has by itself; its padding token does not, and so is not written.
    edit_json(folder / "config.json", layer_norm_eps=1e-5, type_vocab_size=1, pad_token_id=None)
    weights = load_file(folder / "model.safetensors")
    prefix = "roberta." if any(key.startswith("roberta.") for key in weights) else ""
    weights[prefix + "embeddings.position_ids"] = torch.arange(POSITIONS + 2).unsqueeze(0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # The steps of transformers 4's converter. Its class's name would make transformers 5 build its own pipeline.
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    backend.save(str(folder / "tokenizer.json"))
    edit_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", add_prefix_space=None,
              local_files_only=None)


def static_models(fx: Fixtures) -> None:
    backend = tokenizer()._tokenizer
    backend.no_truncation()
    generator = torch.Generator().manual_seed(80)
    table = torch.randn(backend.get_vocab_size(), HIDDEN, generator=generator)

    def fresh() -> Tokenizer:
        return Tokenizer.from_str(backend.to_str())

    for name, modules in [("static", [StaticEmbedding(fresh(), table)]),
                          ("static-normalize", [StaticEmbedding(fresh(), table.flip(0).contiguous()), Normalize()])]:
        fx.save(name, SentenceTransformer(modules=modules, device="cpu"))
        fx.embed(name, name, "StaticEmbedding of sentence-transformers; an empty text is a zero vector")

    vectors = torch.randn(backend.get_vocab_size(), HIDDEN, generator=generator).numpy()
    weights = (0.2 + torch.rand(backend.get_vocab_size(), generator=generator)).numpy()
    clusters = np.arange(backend.get_vocab_size()) % 50
    scale = np.abs(vectors).max() / 127
    models = {
        "model2vec": (StaticModel(vectors, fresh(), normalize=True), "model2vec, f32"),
        "model2vec-int8": (StaticModel(np.rint(vectors / scale).astype(np.int8), fresh(), normalize=True, weights=weights),
                           "model2vec with int8 embeddings and one weight a token, the built-in model's format"),
        "model2vec-mapping": (StaticModel(vectors[:50], fresh(), normalize=False, weights=weights, token_mapping=clusters),
                              "model2vec with a vocabulary mapped to fewer rows, not normalised"),
    }
    for name, (model, note) in models.items():
        folder = fx.out / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        model = StaticModel.from_pretrained(folder)
        single = np.stack([model.encode(text) for text in TEXTS])
        model.embedding = model.embedding.astype(np.float64)
        exact = np.stack([model.encode(text) for text in TEXTS])
        fx.case("embed", name, name, note + "; unknown tokens are left out, an empty text is a zero vector", single, exact, {"texts": TEXTS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="not used: nothing here is trained")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    fx = Fixtures(args.out)
    for part in (encoders, spellings, cross_encoders, roberta, static_models):
        part(fx)
    shutil.rmtree(fx.scratch)
    for folder in fx.out.glob("*/*"):  # `2_Normalize`: version control keeps no empty folder.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    write(args.out / "cases.json", {"made_with": versions(), "cases": fx.cases})


if __name__ == "__main__":
    main()
