use std::borrow::Cow;
use std::fmt;

/// A model's tokens, as far as writing text needs to know them.
pub trait Vocabulary: fmt::Debug + Send + Sync + 'static {
    /// Tokens there are. Ids are below it.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The very bytes that a token adds to a text: for a control token, those of its name. `None`: there is no such
    /// token.
    fn token_bytes(&self, token: u32) -> Option<Cow<'_, [u8]>>;

    /// Whether it is a control token, which is left out of texts.
    fn is_special(&self, token: u32) -> bool;

    /// The token of this name.
    fn token(&self, name: &str) -> Option<u32>;

    /// The tokens of a text that continues another: no begin token, no space put before it, and the names of control
    /// tokens within it are plain text.
    fn encode(&self, text: &str) -> Vec<u32>;

    /// Tokens that end an answer.
    fn end_tokens(&self) -> &[u32];
}
