//! What each token adds to a text, and which are special.

/// The tokens of a vocabulary by id.
pub(super) struct Vocabulary {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    tokens: Vec<Token>,
    /// Whether a space is put before every text when it is encoded.
    pub(super) space_before_text: bool,
}

#[derive(Clone, Copy)]
struct Token {
    /// Where its bytes end. They begin where the token's before end.
    end: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Text,
    Special,
}

impl Vocabulary {
    pub(super) fn with_capacity(tokens: usize) -> Self {
        let bytes = Vec::with_capacity(tokens.saturating_mul(8));
        Self { bytes, tokens: Vec::with_capacity(tokens), space_before_text: false }
    }

    /// Adds the token of the next id, or none.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>, special: bool) {
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
        let state = match (bytes, special) {
            (None, _) => State::Absent,
            (Some(_), false) => State::Text,
            (Some(_), true) => State::Special,
        };
        self.tokens.push(Token { end: self.bytes.len(), state });
    }

    /// Declares a token special.
    pub(super) fn mark_special(&mut self, id: u32) {
        if let Some(token) = self.tokens.get_mut(id as usize).filter(|token| token.state == State::Text) {
            token.state = State::Special;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let index = id as usize;
        let token = self.tokens.get(index).filter(|token| token.state != State::Absent)?;
        let begin = index.checked_sub(1).map_or(0, |before| self.tokens[before].end);
        Some(&self.bytes[begin..token.end])
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|token| token.state == State::Special)
    }
}
