//! SentencePiece's byte-pair encoding: the neighbours whose union has the best score are merged first. Characters that are
//! no token become byte tokens.
//!
//! As its reference does it: <https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc>.

use super::gguf::{Kind, Tokens};
use super::merging::{Chain, Join, NO_TOKEN};

/// What stands for a space in the vocabulary.
const SPACE: char = '\u{2581}';

/// The scores of a vocabulary and what it does with characters that are no token.
pub(super) struct SentencePiece {
    /// Of every token: the lower, the better its score.
    order: Vec<u32>,
    fallback: Fallback,
    /// The longest token's bytes.
    longest: usize,
    /// Whether every text begins with a space.
    pub(super) space_before_text: bool,
}

/// What becomes of a character that is no token.
enum Fallback {
    /// A token for each of its bytes.
    Bytes(Box<[u32; 256]>),
    /// One token for all such characters in a row.
    Unknown(u32),
}

impl SentencePiece {
    /// A tokenizer by these scores, or what is wrong with the file.
    pub(super) fn new(
        tokens: &Tokens,
        scores: &[f32],
        unknown: Option<u32>,
        space_before_text: bool,
    ) -> Result<Self, String> {
        if let Some(id) = scores.iter().position(|score| score.is_nan()) {
            return Err(format!("is damaged: the score of token {id} is no number"));
        }
        let longest = tokens.spellings().map(|(_, spelling)| spelling.len()).max().unwrap_or_default();
        let fallback = match (byte_tokens(tokens)?, unknown) {
            (Some(bytes), _) => Fallback::Bytes(bytes),
            (None, Some(unknown)) => Fallback::Unknown(unknown),
            (None, None) => {
                return Err(
                    "has neither byte tokens nor an unknown token, so some texts have no tokens".to_owned()
                );
            }
        };
        let order = scores.iter().map(|score| order(*score)).collect();
        Ok(Self { order, fallback, longest, space_before_text })
    }

    /// Appends the tokens of a text that is not empty.
    pub(super) fn encode(&self, text: &str, tokens: &Tokens, ids: &mut Vec<u32>) {
        let mut spelling = String::with_capacity(text.len() + text.len() / 2);
        if self.space_before_text {
            spelling.push(SPACE);
        }
        spelling.extend(text.chars().map(|character| if character == ' ' { SPACE } else { character }));
        let token = |start: usize, end: usize| {
            (end - start <= self.longest).then(|| tokens.text_token(&spelling[start..end])).flatten()
        };
        let mut chain = Chain::default();
        for (start, character) in spelling.char_indices() {
            let end = start + character.len_utf8();
            chain.push(token(start, end).unwrap_or(NO_TOKEN), end);
        }
        chain.merge(|left, right| {
            token(left.start, right.end).map(|id| Join { order: self.order[id as usize], id })
        });
        let mut in_unknown = false;
        for piece in chain.pieces() {
            match &self.fallback {
                _ if piece.id != NO_TOKEN => ids.push(piece.id),
                Fallback::Bytes(bytes) => {
                    let unknown = &spelling.as_bytes()[piece.start..piece.end];
                    ids.extend(unknown.iter().map(|byte| bytes[usize::from(*byte)]));
                }
                Fallback::Unknown(unknown) if !in_unknown => ids.push(*unknown),
                Fallback::Unknown(_) => {}
            }
            in_unknown = piece.id == NO_TOKEN;
        }
    }
}

/// The tokens of all bytes, nothing if there are none, or which one is missing.
fn byte_tokens(tokens: &Tokens) -> Result<Option<Box<[u32; 256]>>, String> {
    let mut bytes = Box::new([NO_TOKEN; 256]);
    let mut any = false;
    for (id, spelling) in tokens.of_kind(Kind::Byte) {
        let byte =
            byte(spelling).ok_or_else(|| format!("is damaged: {spelling:?} (token {id}) is no byte"))?;
        bytes[usize::from(byte)] = id;
        any = true;
    }
    match bytes.iter().position(|id| *id == NO_TOKEN) {
        _ if !any => Ok(None),
        None => Ok(Some(bytes)),
        Some(missing) => {
            Err(format!("is damaged: its vocabulary has byte tokens but none for 0x{missing:02X}"))
        }
    }
}

/// The byte of a byte token.
pub(super) fn byte(spelling: &str) -> Option<u8> {
    let digits = spelling.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// What a token's spelling means as text.
pub(super) fn unescape(spelling: &str) -> String {
    spelling.replace(SPACE, " ")
}

/// A number that is the lower, the higher the score: a float's bits are ordered as it is but for the sign.
fn order(score: f32) -> u32 {
    // Adding zero makes -0.0 the same as 0.0.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { !(bits | 1 << 31) } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_come_first() {
        let scores = [f32::INFINITY, 3.5, 1e-30, 0.0, -1e-30, -7.0, -1000.0, f32::NEG_INFINITY];
        assert!(scores.map(order).is_sorted_by(|a, b| a < b));
        assert_eq!(order(-0.0), order(0.0));
    }

    #[test]
    fn byte_tokens_are_spelled_in_two_digits() {
        assert_eq!(
            ["<0x0A>", "<0xff>", "<0x0>", "<0x+1>", "0x0A"].map(byte),
            [Some(10), Some(255), None, None, None]
        );
    }
}
