"""Hard texts and what sentence-transformers makes of them with all-MiniLM-L6-v2: token ids and vectors.

Writes `hard_texts.jsonl`, input for the command line (`id` and `text` a line), and `hard_texts.json`, the reference.
Each text is encoded alone in f32 on the CPU, so that no padding enters the reference.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from fixture_format import numbers, rounded, versions, write

FOX = "the quick brown fox jumps over the lazy dog"
THEMES = ["river", "engine", "market", "garden", "signal", "harbour", "winter", "theory", "bread", "mountain"]
VERBS = ["carries", "answers", "forgets", "measures", "follows", "breaks", "repeats", "hides", "lifts", "colours"]


def long_text(words: int) -> str:
    """`words` words in sentences of ten, written by rule so that the script is the whole source."""
    out, i = [], 0
    while len(out) < words:
        subject, verb, thing = THEMES[i % 10], VERBS[(i * 7 + i // 10) % 10], THEMES[(i * 3 + i // 7) % 10]
        out += f"Every {subject} number {i} slowly {verb} what the {thing} keeps.".split()
        i += 1
    return " ".join(out[:words])


HARD_TEXTS = {
    "empty": "",
    "space": " ",
    "spaces": " " * 40,
    "tabs-newlines": "\t\n\r\n \t",
    "newlines-between": "first line\nsecond line\r\n\r\nthird\tcolumn\x0bvertical\x0cform feed",
    "one-letter": "a",
    "plain": FOX,
    "upper": FOX.upper(),
    "padded": f"   {FOX}   ",
    "emoji": "I \u2764\ufe0f pizza \U0001f355 and \U0001f680\U0001f680\U0001f680!",
    "emoji-zwj-family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 at the beach",
    "emoji-skin-tones": "\U0001f44d\U0001f3fb \U0001f44d\U0001f3fd \U0001f44d\U0001f3ff",
    "emoji-flags": "\U0001f1fa\U0001f1f3 \U0001f1ef\U0001f1f5 \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "keycaps": "1\ufe0f\u20e3 2\ufe0f\u20e3 #\ufe0f\u20e3",
    "chinese": "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65\u5427\u3002",
    "chinese-extension-b": "\u5b57 \U00020000\U0002070e\U00029f7c \u5b57",
    "japanese": "\u6771\u4eac\u30bf\u30ef\u30fc\u306f\u9ad8\u3044\u3067\u3059\u3002\u30ab\u30bf\u30ab\u30ca\u3068\u3072\u3089\u304c\u306a",
    "japanese-halfwidth": "\uff76\uff80\uff76\uff85 \uff46\uff55\uff4c\uff4c\uff57\uff49\uff44\uff54\uff48 \uff11\uff12\uff13",
    "korean": "\uc548\ub155\ud558\uc138\uc694, \ub9cc\ub098\uc11c \ubc18\uac11\uc2b5\ub2c8\ub2e4.",
    "korean-jamo": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "arabic": "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645\u060c \u0643\u064a\u0641 \u062d\u0627\u0644\u0643\u0645\u061f",
    "arabic-diacritics": "\u0628\u0650\u0633\u0652\u0645\u0650 \u0671\u0644\u0644\u0651\u064e\u0647\u0650",
    "hebrew": "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd",
    "hindi": "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\u0964",
    "thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a \u0e22\u0e34\u0e19\u0e14\u0e35\u0e17\u0e35\u0e48\u0e44\u0e14\u0e49\u0e23\u0e39\u0e49\u0e08\u0e31\u0e01",
    "russian": "\u0421\u044a\u0435\u0448\u044c \u0436\u0435 \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 \u043c\u044f\u0433\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a",
    "greek": "\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2 \u03ba\u03b1\u03b9 \u0399\u03b8\u03ac\u03ba\u03b7",
    "accents-precomposed": "Caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u00c5ngstr\u00f6m \u00f1and\u00fa \u0142\u00f3d\u017a",
    "accents-combining": "Cafe\u0301 nai\u0308ve re\u0301sume\u0301 A\u030angstro\u0308m n\u0303andu\u0301",
    "combining-pile": "z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031ea\u0349\u032f\u031el\u035ago\u0321",
    "combining-alone": "\u0301\u0308\u20dd",
    "vietnamese": "Ti\u1ebfng Vi\u1ec7t c\u00f3 s\u00e1u thanh \u0111i\u1ec7u",
    "turkish-i": "\u0130stanbul \u0131s\u0131r\u0131r DI\u011eER I\u0130\u0131i",
    "german": "Stra\u00dfe STRASSE \u1e9e Gr\u00fc\u00dfe aus D\u00fcsseldorf",
    "ligatures": "\ufb01nance o\ufb03ce \u0132 \u01c6 \u00bd \u2460 \u2167 \u33a1",
    "control-characters": "a\x01b\x02c\x1bd\x7fe\x80f\x9fg",
    "nul": "before\x00after \x00 alone",
    "zero-width": "zero\u200bwidth\u200cspace\u200djoin\u2060word\u00adhyphen",
    "byte-order-mark": "\ufefftext after a mark\ufeff",
    "replacement": "bad \ufffd\ufffd bytes",
    "odd-spaces": "no\u00a0break\u2003em\u2009thin\u3000wide\u1680ogham\u2028line\u2029paragraph",
    "right-to-left-marks": "\u202eabc\u202c \u200fdef\u200e \u2066ghi\u2069 \u05d0\u05d1",
    "next-to-surrogates": "\ud7ff \ue000 \uf8ff \ufdd0 \uffff",
    "astral": "\U0001d54b\U0001d559\U0001d55a\U0001d564 \U00010348 \U0001f0a1 \U0010ffff",
    "long-word": "a" * 130,
    "word-of-100": "b" * 100,
    "word-of-101": "c" * 101,
    "long-german-word": "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "punctuation": "!?.,;:'\"()[]{}<>@#$%^&*-_=+\\|/`~",
    "punctuation-unicode": "\u2018quoted\u2019 \u201cdouble\u201d \u2014 dash\u2026 \u00ab\u00bb \u203d \u3010\u3011",
    "ellipsis": "..." * 30,
    "numbers": "3.14159 1,000,000 -42 1e-10 0x7fff 2026-11-23T05:14:00Z 50% $19.99",
    "url": "https://example.org:8080/a/b_c?q=caf%C3%A9&x=1#frag-ment",
    "mail": "First.Last+tag@sub.example.co.uk",
    "code": "fn main() {\n    let v: Vec<_> = (0..10).map(|x| x * x).collect();\n}",
    "json": '{"key": [1, 2.5, null, true], "nested": {"a": "\\u00e9"}}',
    "special-tokens": "[CLS] hello [SEP] world [MASK] [PAD] [UNK]",
    "special-tokens-touching": "a[MASK]b [mask] [ SEP ] [CLS][CLS]",
    "subword-marks": "##ing ## un##able #hash",
    "mixed-scripts": "hello\u4e16\u754c\u041f\u0440\u0438\u0432\u0435\u0442\u0645\u0631\u062d\u0628\u0627\U0001f30d",
    "unknown-script": "\U00010a00 \U00012000 \ua4d0\ua4d1 \u1401\u1402",
    "sentence": "A committee approved the new budget after a long debate, but nobody was satisfied.",
    "exactly-254-words": " ".join(["word"] * 254),
    "exactly-255-words": " ".join(["word"] * 255),
    "long-3000-words": long_text(3000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder that holds all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = SentenceTransformer(str(args.models / "all-MiniLM-L6-v2"), device="cpu", model_kwargs={"dtype": torch.float32})

    def encode() -> np.ndarray:
        return np.stack([model.encode(text, batch_size=1) for text in HARD_TEXTS.values()])

    vectors = encode()
    ids = [model.preprocess([text])["input_ids"][0].tolist() for text in HARD_TEXTS.values()]
    model.double()
    exact = encode()
    noise = float(np.abs(vectors.astype(np.float64) - exact).max())

    lines = [json.dumps({"id": name, "text": text}, ensure_ascii=True) for name, text in HARD_TEXTS.items()]
    (args.out / "hard_texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(args.out / "hard_texts.json", {
        "model": "all-MiniLM-L6-v2",
        "made_with": versions(),
        "tolerance": 1e-5,
        "noise": rounded(noise),
        "dimensions": int(vectors.shape[1]),
        "cases": [
            {"id": name, "text": text, "token_ids": token_ids, "embedding": numbers(vector)}
            for (name, text), token_ids, vector in zip(HARD_TEXTS.items(), ids, vectors)
        ],
    })
    print(f"hard texts: {len(HARD_TEXTS)}, largest f32-f64 difference of a component {noise:.1e}")


if __name__ == "__main__":
    main()
