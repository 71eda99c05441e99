//! Byte-pair encoding over bytes: text is cut into words, and in each word the neighbours that come first in the list of
//! merges are merged first.
//!
//! From <https://arxiv.org/abs/1508.07909>, over bytes as in GPT-2.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use tokenizers::normalizers::NFC;
use tokenizers::{NormalizedString, Normalizer as _};

use super::byte_alphabet::ByteAlphabet;
use super::gguf::Tokens;
use super::merging::{Chain, Join, NO_TOKEN, Piece};
use super::split::{Preparation, Splitter};

/// The merges of a vocabulary.
pub(super) struct BytePair {
    splitter: Splitter,
    alphabet: ByteAlphabet,
    /// The token of every byte, [`NO_TOKEN`] if it has none.
    bytes: [u32; 256],
    /// What two tokens become.
    merges: FxHashMap<(u32, u32), Merge>,
    unknown: Option<u32>,
    composed: bool,
    whole_words: bool,
}

#[derive(Clone, Copy)]
struct Merge {
    order: u32,
    id: u32,
}

impl BytePair {
    /// A tokenizer by these merges (`"left right"`, best first), or what is wrong with the file.
    pub(super) fn new<'a>(
        tokens: &Tokens,
        merges: impl ExactSizeIterator<Item = &'a str>,
        preparation: Preparation,
        unknown: Option<u32>,
    ) -> Result<Self, String> {
        let splitter =
            preparation.splitter().map_err(|error| format!("has a split that is not read: {error}"))?;
        let alphabet = ByteAlphabet::new();
        let mut bytes = [NO_TOKEN; 256];
        let mut spelling = String::new();
        for byte in 0..=u8::MAX {
            spelling.clear();
            spelling.push(alphabet.character(byte));
            bytes[usize::from(byte)] = tokens.text_token(&spelling).unwrap_or(NO_TOKEN);
        }
        let mut table = FxHashMap::with_capacity_and_hasher(merges.len(), Default::default());
        for (order, merge) in (0u32..).zip(merges) {
            let merged = merge.split_once(' ').and_then(|(left, right)| {
                spelling.clear();
                spelling.extend([left, right]);
                Some(((tokens.id(left)?, tokens.id(right)?), tokens.id(&spelling)?))
            });
            let (pair, id) = merged.ok_or_else(|| {
                format!("is damaged: merge {order} of its vocabulary, {merge:?}, is not of two tokens that make a third")
            })?;
            table.entry(pair).or_insert(Merge { order, id });
        }
        let Preparation { composed, whole_words, .. } = preparation;
        Ok(Self { splitter, alphabet, bytes, merges: table, unknown, composed, whole_words })
    }

    /// Appends the tokens of a text.
    pub(super) fn encode(&self, text: &str, tokens: &Tokens, ids: &mut Vec<u32>) {
        let text = if self.composed { compose(text) } else { Cow::Borrowed(text) };
        let mut chain = Chain::default();
        let mut spelling = String::new();
        self.splitter.split(&text, |word| {
            if self.whole_words {
                spelling.clear();
                spelling.extend(word.bytes().map(|byte| self.alphabet.character(byte)));
                if let Some(id) = tokens.text_token(&spelling) {
                    ids.push(id);
                    return;
                }
            }
            chain.clear();
            for (at, byte) in word.bytes().enumerate() {
                chain.push(self.bytes[usize::from(byte)], at + 1);
            }
            chain.merge(|left, right| self.join(left, right));
            // A byte without a token is left out where there is no unknown token either, as in the models' own tokenizers.
            ids.extend(
                chain.pieces().filter_map(
                    |piece| {
                        if piece.id == NO_TOKEN { self.unknown } else { Some(piece.id) }
                    },
                ),
            );
        });
    }

    fn join(&self, left: &Piece, right: &Piece) -> Option<Join> {
        self.merges.get(&(left.id, right.id)).map(|&Merge { order, id }| Join { order, id })
    }
}

/// The text with its characters composed (Unicode normalisation form C).
fn compose(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut composed = NormalizedString::from(text);
    match NFC.normalize(&mut composed) {
        Ok(()) => Cow::Owned(composed.get().to_owned()),
        // It never fails; if it did, the text as it is would be the next best.
        Err(_) => Cow::Borrowed(text),
    }
}
