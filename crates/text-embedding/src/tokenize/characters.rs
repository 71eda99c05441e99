//! What BERT's normalizer and pre-tokenizer make of each character.
//!
//! They look at one character at a time: cleaning, case, accents and the padding of Chinese characters make of a text what
//! they make of its characters, one after another. Only canonical decomposition looks further: it puts the marks between
//! two base characters in order, and neither whitespace nor punctuation is a mark. So what becomes of a character is
//! learned by letting them process it between two letters, once, and holds wherever it stands:
//!
//! - A text may be cut *before* a character that begins with whitespace or punctuation: no word and no run of marks
//!   reaches across.
//! - Any other character adds to the word it stands in, or vanishes. So what lies in the middle of a run of such
//!   characters is of no account once the word is longer than the model takes.

use std::borrow::Cow;
use std::sync::OnceLock;

use tokenizers::{
    Normalizer as _, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
    PreTokenizerWrapper,
};

/// What becomes of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It parts words, and nothing is left of it.
    Space,
    /// It begins with what is a word of its own: punctuation, a Chinese character.
    Break,
    /// At least one character of the word it stands in.
    Letter,
    /// Nothing: it is cleaned away, or stripped as an accent.
    Void,
    /// It may belong to an added token, or is none of these.
    Other,
}

/// The class of each character, learned when it is first met: of 256 at once.
pub(super) struct Characters {
    normalizer: NormalizerWrapper,
    pre_tokenizer: PreTokenizerWrapper,
    /// ASCII characters of added tokens that are neither letters nor digits.
    reserved: [bool; 128],
    blocks: Box<[OnceLock<Box<[Class; BLOCK]>>]>,
}

const BLOCK: usize = 256;

impl Characters {
    pub(super) fn new(
        normalizer: NormalizerWrapper,
        pre_tokenizer: PreTokenizerWrapper,
        reserved: [bool; 128],
    ) -> Self {
        let blocks = char::MAX as usize / BLOCK + 1;
        Self { normalizer, pre_tokenizer, reserved, blocks: (0..blocks).map(|_| OnceLock::new()).collect() }
    }

    pub(super) fn class(&self, c: char) -> Class {
        let (block, at) = (c as usize / BLOCK, c as usize % BLOCK);
        let classes = self.blocks[block].get_or_init(|| {
            let mut classes = Box::new([Class::Other; BLOCK]);
            for (at, class) in classes.iter_mut().enumerate() {
                let c = u32::try_from(block * BLOCK + at).ok().and_then(char::from_u32);
                *class = c.map_or(Class::Other, |c| self.learn(c));
            }
            classes
        });
        classes[at]
    }

    fn learn(&self, c: char) -> Class {
        if self.is_reserved(c) {
            return Class::Other;
        }
        let mut probe = PreTokenizedString::from(format!("x{c}x"));
        let processed = probe
            .normalize(|text| self.normalizer.normalize(text))
            .and_then(|()| self.pre_tokenizer.pre_tokenize(&mut probe));
        if processed.is_err() {
            return Class::Other;
        }
        let words = probe.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let words: Vec<&str> = words.into_iter().map(|(word, _, _)| word).collect();
        match words.as_slice() {
            ["xx"] => Class::Void,
            [word] if word.len() > 2 && word.starts_with('x') && word.ends_with('x') => Class::Letter,
            ["x", "x"] => Class::Space,
            ["x", second, ..] if !second.starts_with(|first| self.is_reserved(first)) => Class::Break,
            _ => Class::Other,
        }
    }

    fn is_reserved(&self, c: char) -> bool {
        self.reserved.get(c as usize).copied().unwrap_or(false)
    }

    /// The text without what parts words or vanishes where words are parted already, and with one character of those
    /// that vanish where several stand together.
    pub(super) fn without_repeats<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shorter = String::new();
        let mut copied = 0;
        let mut before = Class::Other;
        for (at, c) in text.char_indices() {
            let class = self.class(c);
            match (before, class) {
                (Class::Space, Class::Space | Class::Void) | (Class::Void, Class::Void) => {
                    shorter.push_str(&text[copied..at]);
                    copied = at + c.len_utf8();
                }
                _ => before = class,
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        shorter.push_str(&text[copied..]);
        Cow::Owned(shorter)
    }

    /// The text with no more than the first and the last `keep` letters of each run of letters and what vanishes among
    /// them.
    pub(super) fn without_middles<'t>(&self, text: &'t str, keep: usize) -> Cow<'t, str> {
        let mut shorter = String::new();
        let mut copied = 0;
        let (mut letters, mut head) = (0, 0);
        let ends = text.char_indices().map(|(at, c)| (at, self.class(c))).chain([(text.len(), Class::Other)]);
        for (at, class) in ends {
            match class {
                Class::Letter => {
                    letters += 1;
                    // The run's first letters end here.
                    if letters == keep + 1 {
                        head = at;
                    }
                }
                Class::Void => {}
                Class::Space | Class::Break | Class::Other => {
                    if letters > 2 * keep {
                        let run = text[..at].char_indices().rev();
                        let mut last = run.filter(|(_, c)| self.class(*c) == Class::Letter);
                        let tail = last.nth(keep.saturating_sub(1)).map_or(at, |(tail, _)| tail);
                        shorter.push_str(&text[copied..head]);
                        copied = tail;
                    }
                    letters = 0;
                }
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        shorter.push_str(&text[copied..]);
        Cow::Owned(shorter)
    }
}

impl std::fmt::Debug for Characters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let learned = self.blocks.iter().filter(|block| block.get().is_some()).count();
        f.debug_struct("Characters").field("blocks", &learned).finish_non_exhaustive()
    }
}
