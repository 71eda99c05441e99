//! Where a text may be cut so that its parts' tokens, one after another, are the whole's.
//!
//! Tokenising 20 MB to keep 256 tokens takes ten seconds; tokenising the first kilobytes takes a millisecond. The result
//! is the same only if nothing the tokenizer does reaches across the cut. What is known of each kind of pipeline is
//! written down here; a pipeline of another kind is given its text whole.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

use super::characters::{Characters, Class};

/// What is known about a tokenizer's pipeline.
#[derive(Debug)]
pub(super) enum Cuts {
    /// `BertNormalizer`, `BertPreTokenizer` and `WordPiece`, as in BERT: see [`Characters`].
    Bert(Box<Bert>),
    /// A pipeline that splits at spaces and then sees words alone, after a normalizer that may look at whole grapheme
    /// clusters: `WhitespaceSplit` or `Metaspace`. A cut before a space that follows a printable ASCII character lies
    /// between two clusters.
    Words,
    /// Nothing is known: never cut.
    Never,
}

/// What is known about a BERT tokenizer.
#[derive(Debug)]
pub(super) struct Bert {
    characters: Characters,
    /// Whether added tokens are ASCII. Others may be normalised to anything, so that only whitespace parts from them.
    plain: bool,
    /// A word of more characters than the model takes is one unknown token, whatever it holds: so many letters at both
    /// ends of an overlong word are enough. `None`: words are never shortened.
    keep: Option<usize>,
}

impl Cuts {
    /// What is known of `tokenizer`.
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let added = tokenizer.get_added_tokens_decoder();
        // Whether such a token is found depends on what stands around it.
        if added.values().any(|token| token.single_word || token.rstrip) {
            return Self::Never;
        }
        let added: Vec<String> = added.into_values().map(|token| token.content).collect();
        // An added token is found wherever it stands, so a cut must not fall into one.
        if added.iter().any(|content| content.is_empty() || content.chars().any(char::is_whitespace)) {
            return Self::Never;
        }
        let (Ok(normalizer), Ok(pre_tokenizer)) = (
            serde_json::to_value(tokenizer.get_normalizer()),
            serde_json::to_value(tokenizer.get_pre_tokenizer()),
        ) else {
            return Self::Never;
        };
        let normalizers = steps(&normalizer, "normalizers");
        let pre_tokenizers = steps(&pre_tokenizer, "pretokenizers");
        let kinds = |steps: &[&Value]| steps.iter().map(|step| kind(step).to_owned()).collect::<Vec<_>>();
        let pre_kinds = kinds(&pre_tokenizers);
        if pre_kinds == ["BertPreTokenizer"] {
            return Self::bert(&normalizers, tokenizer, &added);
        }
        let words = match pre_kinds.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["WhitespaceSplit"] => true,
            ["WhitespaceSplit", "Metaspace"] => splits(pre_tokenizers[1]),
            ["Metaspace"] => splits(pre_tokenizers[0]),
            _ => false,
        };
        if words && normalizers.iter().all(|step| is_clusterwise(step)) { Self::Words } else { Self::Never }
    }

    fn bert(normalizers: &[&Value], tokenizer: &Tokenizer, added: &[String]) -> Self {
        let (lower, last) = match normalizers {
            [] => return Self::Never,
            [lower @ .., last] => (lower, last),
        };
        if kind(last) != "BertNormalizer" || !lower.iter().all(|step| kind(step) == "Lowercase") {
            return Self::Never;
        }
        let (Some(normalizer), Some(pre_tokenizer)) =
            (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer())
        else {
            return Self::Never;
        };
        let plain = added.iter().all(|content| content.is_ascii());
        let mut reserved = [false; 128];
        for c in added.iter().flat_map(|content| content.chars()).filter(|c| !c.is_ascii_alphanumeric()) {
            if let Some(reserved) = reserved.get_mut(c as usize) {
                *reserved = true;
            }
        }
        // An added token must not be able to lie inside a run of letters, or to reach further than what is kept.
        let outside = |content: &String| content.bytes().any(|byte| !byte.is_ascii_alphanumeric());
        let longest = added.iter().map(String::len).max().unwrap_or(0);
        let keep = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) if plain && added.iter().all(outside) => {
                Some(model.max_input_chars_per_word).filter(|limit| *limit <= 1 << 16)
            }
            _ => None,
        };
        let keep = keep.map(|limit| limit + 1 + longest);
        let characters = Characters::new(normalizer.clone(), pre_tokenizer.clone(), reserved);
        Self::Bert(Box::new(Bert { characters, plain, keep }))
    }

    /// The end of a part of `text` that begins at `start` and has at least `bytes`; the text's end if there is no cut.
    pub(super) fn end(&self, text: &str, start: usize, bytes: usize) -> usize {
        let from = ceil_boundary(text, start.saturating_add(bytes));
        if from >= text.len() || matches!(self, Self::Never) {
            return text.len();
        }
        let mut before = text[..from].chars().next_back();
        for (offset, here) in text[from..].char_indices() {
            if from + offset > start && self.allows(before, here) {
                return from + offset;
            }
            before = Some(here);
        }
        text.len()
    }

    /// The start of a part of `text` that ends at `end` and has at least `bytes`; 0 if there is no cut.
    pub(super) fn start(&self, text: &str, end: usize, bytes: usize) -> usize {
        if matches!(self, Self::Never) {
            return 0;
        }
        let mut at = floor_boundary(text, end.saturating_sub(bytes));
        while let Some(here) = text[at..].chars().next().filter(|_| at > 0) {
            let before = text[..at].chars().next_back();
            if at < end && self.allows(before, here) {
                return at;
            }
            at -= before.map_or(at, char::len_utf8);
        }
        0
    }

    /// Whether the text may be cut before `here`.
    fn allows(&self, before: Option<char>, here: char) -> bool {
        match self {
            Self::Bert(bert) => match bert.characters.class(here) {
                Class::Space => true,
                Class::Break => bert.plain,
                Class::Letter | Class::Void | Class::Other => false,
            },
            Self::Words => here == ' ' && before.is_some_and(|before| before.is_ascii_graphic()),
            Self::Never => false,
        }
    }

    /// The same part without what cannot change its tokens: the middle of overlong words, repeated whitespace, repeated
    /// characters that the normalizer drops.
    pub(super) fn squeeze<'t>(&self, part: &'t str) -> Cow<'t, str> {
        let Self::Bert(bert) = self else {
            return Cow::Borrowed(part);
        };
        let Bert { keep: Some(keep), characters, .. } = &**bert else {
            return Cow::Borrowed(part);
        };
        // No run can be too long.
        if part.len() <= 2 * keep {
            return Cow::Borrowed(part);
        }
        match characters.without_repeats(part) {
            Cow::Borrowed(part) => characters.without_middles(part, *keep),
            Cow::Owned(part) => Cow::Owned(characters.without_middles(&part, *keep).into_owned()),
        }
    }
}

/// A step, or the steps of a sequence.
fn steps<'v>(value: &'v Value, list: &str) -> Vec<&'v Value> {
    match value {
        Value::Null => Vec::new(),
        value if kind(value) == "Sequence" => {
            value[list].as_array().map(|list| list.iter().collect()).unwrap_or_default()
        }
        value => vec![value],
    }
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or_default()
}

/// Whether a `Metaspace` makes a word of what follows a space.
fn splits(metaspace: &Value) -> bool {
    metaspace["split"] != false && metaspace["prepend_scheme"] != "never"
}

/// Whether a normalizer looks at no more than one grapheme cluster, or one run of spaces, at a time.
fn is_clusterwise(step: &Value) -> bool {
    match kind(step) {
        "Precompiled" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "Nmt" => true,
        "Replace" => step["pattern"]["Regex"] == " {2,}",
        // No part but the last ends in whitespace.
        "Strip" => step["strip_left"] == false,
        _ => false,
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while at < text.len() && !text.is_char_boundary(at) {
        at += 1;
    }
    at.min(text.len())
}
