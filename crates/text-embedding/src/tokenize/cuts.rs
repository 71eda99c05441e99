//! Where a text may be cut so that its parts' tokens, one after another, are the whole's.
//!
//! Tokenising 20 MB to keep 256 tokens takes ten seconds; tokenising the first kilobytes takes a millisecond. The result
//! is the same only if nothing the tokenizer does reaches across the cut. What is known of each kind of pipeline is
//! written down here; a pipeline of another kind is given its text whole.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

/// What is known about a tokenizer's pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cuts {
    /// `BertNormalizer`, `BertPreTokenizer` and `WordPiece`, as in BERT.
    ///
    /// - Words end at whitespace; cleaning, case and padding of Chinese characters look at one character alone.
    /// - Canonical decomposition reorders marks between two base characters only, and whitespace, Chinese characters and
    ///   ASCII punctuation are such: a cut *before* one keeps its marks with it.
    /// - A Chinese character and an ASCII punctuation mark is a word of its own.
    /// - A word of more than so many characters is one unknown token, whatever it holds.
    Bert(Bert),
    /// A pipeline that splits at spaces and then sees words alone, after a normalizer that may look at whole grapheme
    /// clusters: `WhitespaceSplit` or `Metaspace`. A cut before a space that follows a printable ASCII character lies
    /// between two clusters.
    Words,
    /// Nothing is known: never cut.
    Never,
}

/// What is known about a BERT tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bert {
    /// Whether Chinese characters are words.
    chinese: bool,
    /// ASCII punctuation that no added token contains.
    punctuation: [bool; 128],
    /// So many letters at both ends of an overlong word are enough. `None`: words are never shortened.
    keep: Option<usize>,
}

impl Cuts {
    /// What is known of `tokenizer`.
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
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
            return Self::bert(&normalizers, tokenizer.get_model(), &added);
        }
        let words = match pre_kinds.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["WhitespaceSplit"] => true,
            ["WhitespaceSplit", "Metaspace"] => splits(pre_tokenizers[1]),
            ["Metaspace"] => splits(pre_tokenizers[0]),
            _ => false,
        };
        if words && normalizers.iter().all(|step| is_clusterwise(step)) { Self::Words } else { Self::Never }
    }

    fn bert(normalizers: &[&Value], model: &ModelWrapper, added: &[String]) -> Self {
        let (lower, last) = match normalizers {
            [] => return Self::Never,
            [lower @ .., last] => (lower, last),
        };
        if kind(last) != "BertNormalizer" || !lower.iter().all(|step| kind(step) == "Lowercase") {
            return Self::Never;
        }
        let plain = added.iter().all(|content| content.is_ascii());
        let mut punctuation = [false; 128];
        for (code, free) in punctuation.iter_mut().enumerate() {
            let c = code as u8;
            *free = plain
                && c.is_ascii_punctuation()
                && !added.iter().any(|content| content.as_bytes().contains(&c));
        }
        // An added token must not be able to lie inside a run of letters, or to reach further than what is kept.
        let outside = |content: &String| content.bytes().any(|byte| !byte.is_ascii_alphanumeric());
        let longest = added.iter().map(String::len).max().unwrap_or(0);
        let keep = match model {
            ModelWrapper::WordPiece(model) if plain && added.iter().all(outside) => {
                Some(model.max_input_chars_per_word).filter(|limit| *limit <= 1 << 16)
            }
            _ => None,
        };
        let keep = keep.map(|limit| limit + 1 + longest);
        Self::Bert(Bert { chinese: plain && last["handle_chinese_chars"] == true, punctuation, keep })
    }

    /// The end of a part of `text` that begins at `start` and has at least `bytes`; the text's end if there is no cut.
    pub(super) fn end(&self, text: &str, start: usize, bytes: usize) -> usize {
        let from = ceil_boundary(text, start.saturating_add(bytes));
        if from >= text.len() || *self == Self::Never {
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
        if *self == Self::Never {
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
            Self::Bert(bert) => {
                is_space(here)
                    || (here.is_ascii() && bert.punctuation[here as usize])
                    || (bert.chinese && is_chinese(here))
            }
            Self::Words => here == ' ' && before.is_some_and(|before| before.is_ascii_graphic()),
            Self::Never => false,
        }
    }

    /// The same part without what cannot change its tokens: the middle of overlong words, repeated whitespace.
    pub(super) fn squeeze<'t>(&self, part: &'t str) -> Cow<'t, str> {
        let Self::Bert(Bert { keep: Some(keep), .. }) = self else {
            return Cow::Borrowed(part);
        };
        // No run can be too long.
        if part.len() <= 2 * keep {
            return Cow::Borrowed(part);
        }
        let mut squeezed = String::new();
        let mut copied = 0;
        let mut chars = part.char_indices().peekable();
        while let Some((_, first)) = chars.next() {
            let Some(class) = Class::of(first) else { continue };
            let (head, tail) = if class == Class::Space { (1, 0) } else { (*keep, *keep) };
            let (mut count, mut cut) = (1, None);
            while let Some((at, _)) = chars.next_if(|(_, c)| Class::of(*c) == Some(class)) {
                if count == head {
                    cut = Some(at);
                }
                count += 1;
            }
            if let Some(cut) = cut.filter(|_| count > head + tail) {
                let end = chars.peek().map_or(part.len(), |(at, _)| *at);
                let kept = part[..end].char_indices().rev().take(tail).last().map_or(end, |(at, _)| at);
                squeezed.push_str(&part[copied..cut]);
                copied = kept;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(part);
        }
        squeezed.push_str(&part[copied..]);
        Cow::Owned(squeezed)
    }
}

/// Characters of which each makes at least one character of a word, or each none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Parts words.
    Space,
    /// A letter or digit that stays one, whatever its case and marks become.
    Letter,
    /// A non-spacing mark: stripped like all of them, or kept like all of them.
    Mark,
    /// A control character: cleaned away like all of them, or kept like all of them.
    Control,
}

impl Class {
    fn of(c: char) -> Option<Self> {
        Some(match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => Self::Letter,
            _ if is_space(c) => Self::Space,
            '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{fffd}' => Self::Control,
            '\u{300}'..='\u{36f}' => Self::Mark,
            // Latin, Greek, Cyrillic, Hebrew, Arabic, Thai, kana and Hangul, without marks, signs and gaps.
            '\u{c0}'..='\u{d6}'
            | '\u{d8}'..='\u{f6}'
            | '\u{f8}'..='\u{24f}'
            | '\u{391}'..='\u{3a1}'
            | '\u{3a3}'..='\u{3c9}'
            | '\u{400}'..='\u{481}'
            | '\u{48a}'..='\u{4ff}'
            | '\u{5d0}'..='\u{5ea}'
            | '\u{621}'..='\u{63a}'
            | '\u{641}'..='\u{64a}'
            | '\u{e01}'..='\u{e30}'
            | '\u{3041}'..='\u{3096}'
            | '\u{30a1}'..='\u{30fa}'
            | '\u{ac00}'..='\u{d7a3}' => Self::Letter,
            _ => return None,
        })
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
        _ => false,
    }
}

/// Whitespace that the normalizer keeps: what is both whitespace and a control character may be removed, and then parts
/// no words.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c.is_whitespace() && !c.is_control())
}

/// What BERT's tokenizer takes for a Chinese character.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
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
