use std::borrow::Cow;
use std::sync::Arc;

use generation::Vocabulary;
use model_source::{LanguageTokenizer, Special};

/// A model's tokenizer, as far as writing text needs it.
#[derive(Debug)]
pub(crate) struct TokenVocabulary {
    tokenizer: Arc<LanguageTokenizer>,
    ends: Vec<u32>,
}

/// Put before a text to be encoded as the continuation of another: a character that no tokenizer merges with what
/// follows.
const BEFORE: &str = "\u{2}";

impl TokenVocabulary {
    /// `ends`: tokens that end an answer.
    pub(crate) fn new(tokenizer: Arc<LanguageTokenizer>, ends: Vec<u32>) -> Self {
        Self { tokenizer, ends }
    }

    /// The tokens of a text, if their bytes are the text's own.
    fn exact(&self, text: &str, before: &str) -> Option<Vec<u32>> {
        let ids = self.tokenizer.encode(&format!("{before}{text}"), Special::Plain).ok()?;
        let bytes = |ids: &[u32]| -> Vec<u8> {
            ids.iter().filter_map(|id| self.tokenizer.token_bytes(*id)).flatten().copied().collect()
        };
        // With a text before it, the tokens of that are left out.
        let cut = (0..=ids.len()).find(|cut| bytes(&ids[..*cut]).ends_with(before.as_bytes()))?;
        let own = &ids[cut..];
        (bytes(own) == text.as_bytes()).then(|| own.to_vec())
    }
}

impl Vocabulary for TokenVocabulary {
    fn len(&self) -> usize {
        self.tokenizer.vocab_size()
    }

    fn token_bytes(&self, token: u32) -> Option<Cow<'_, [u8]>> {
        self.tokenizer.token_bytes(token).map(Cow::Borrowed)
    }

    fn is_special(&self, token: u32) -> bool {
        self.tokenizer.is_special(token)
    }

    fn token(&self, name: &str) -> Option<u32> {
        self.tokenizer.id(name)
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        // A tokenizer that puts a space before every text is shown that this one continues another.
        self.exact(text, "").or_else(|| self.exact(text, BEFORE)).unwrap_or_default()
    }

    fn end_tokens(&self) -> &[u32] {
        &self.ends
    }
}
