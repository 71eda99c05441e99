use std::borrow::Cow;
use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::vocabulary::Vocabulary;

/// The trie keeps at most so many bytes above one another; no grammar needs a longer token.
const LONGEST: usize = 1000;

/// A vocabulary as grammars see it.
struct Tokens {
    trie: TokTrie,
    vocabulary: Arc<dyn Vocabulary>,
}

/// A vocabulary as grammars see it. `None` if it has no token that ends an answer.
pub(super) fn tokens(vocabulary: &Arc<dyn Vocabulary>) -> Option<TokEnv> {
    let size = vocabulary.len() as u32;
    let ends: Vec<u32> = vocabulary.end_tokens().iter().copied().filter(|token| *token < size).collect();
    let first = *ends.first()?;
    let words: Vec<Vec<u8>> = (0..size).map(|token| word(&**vocabulary, token)).collect();
    let trie = TokTrie::from(&TokRxInfo::new(size, first), &words).with_eos_tokens(&ends);
    Some(Arc::new(Tokens { trie, vocabulary: Arc::clone(vocabulary) }))
}

fn word(vocabulary: &dyn Vocabulary, token: u32) -> Vec<u8> {
    let bytes = vocabulary.token_bytes(token).unwrap_or(Cow::Borrowed(&[]));
    if bytes.len() > LONGEST {
        return Vec::new();
    }
    if vocabulary.is_special(token) {
        // Marked so that no text matches it.
        return [&[TokTrie::SPECIAL_TOKEN_MARKER], &*bytes].concat();
    }
    bytes.into_owned()
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.vocabulary.encode(text))
    }
}
