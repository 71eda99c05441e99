//! Text to tokens and back, as a language model's own files define it: its `tokenizer.json`, or the vocabulary in its GGUF
//! file, byte-pair or SentencePiece.
//!
//! Which tokens mean something beyond text is known here; what a conversation looks like (chat templates) and when text
//! ends (stop strings) is not.

mod byte_alphabet;
mod byte_pair;
mod gguf;
mod huggingface;
mod matcher;
mod merging;
mod sentence_piece;
mod special;
mod split;
mod vocabulary;

use std::fmt;

use crate::{Gguf, ModelFiles, SourceError};
use gguf::GgufTokenizer;
use huggingface::JsonTokenizer;
pub use special::SpecialTokens;
use vocabulary::Vocabulary;

/// What becomes of special tokens (`<|im_end|>`) when text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Those spelled in the text become tokens, and the model's own are put around it: the beginning of text, where the
    /// model wants one. For text that is a whole prompt.
    Add,
    /// Those spelled in the text become tokens, and none is added. For what a chat template rendered.
    Parse,
    /// Their spellings are text like any other. For what a user wrote and should not be able to say.
    Plain,
}

/// A language model's tokenizer.
///
/// Encoding takes time in proportion to the text, milliseconds for a hundred kilobytes of words: that belongs on a compute
/// lane. The rest is light.
pub struct LanguageTokenizer {
    label: String,
    encoder: Encoder,
    vocabulary: Vocabulary,
    special: SpecialTokens,
}

enum Encoder {
    Json(Box<JsonTokenizer>),
    Gguf(Box<GgufTokenizer>),
}

impl LanguageTokenizer {
    /// The tokenizer of a model's `tokenizer.json`, with what its `tokenizer_config.json` and `generation_config.json` say
    /// about special tokens. Blocks, for a good part of a second where the vocabulary is large.
    ///
    /// # Errors
    /// [`SourceError::MissingFile`], [`SourceError::Unreadable`], [`SourceError::InvalidJson`], or
    /// [`SourceError::InvalidFile`] where the tokenizer is damaged or turns tokens into text in a way that is not known.
    pub fn from_files(files: &ModelFiles) -> Result<Self, SourceError> {
        let (encoder, vocabulary, special) = huggingface::open(files)?;
        let label = files.require("tokenizer.json")?.label().to_owned();
        Ok(Self { label, encoder: Encoder::Json(Box::new(encoder)), vocabulary, special })
    }

    /// The tokenizer in a GGUF file's metadata. Blocks.
    ///
    /// # Errors
    /// [`SourceError::InvalidFile`] where there is none, it is damaged, or of a kind that is not known.
    pub fn from_gguf(file: &Gguf) -> Result<Self, SourceError> {
        let (encoder, vocabulary, special) = gguf::open(file)?;
        let label = file.label().to_owned();
        Ok(Self { label, encoder: Encoder::Gguf(Box::new(encoder)), vocabulary, special })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`SourceError::InvalidFile`] if a `tokenizer.json` has no token for something in the text and no rule for that.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, SourceError> {
        match &self.encoder {
            Encoder::Gguf(encoder) => Ok(encoder.encode(text, special)),
            Encoder::Json(encoder) => {
                encoder.encode(text, special).map_err(|error| SourceError::InvalidFile {
                    file: self.label.clone(),
                    reason: format!("cannot encode this text: {error}"),
                })
            }
        }
    }

    /// The text of tokens, without special ones if `skip_special`. Bytes that are not UTF-8 become U+FFFD; where the
    /// tokenizer puts a space before every text, the first one is taken away again. Ids that are no token are left out.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let shown = ids.iter().filter(|id| !(skip_special && self.is_special(**id)));
        let bytes: Vec<u8> = shown.filter_map(|id| self.token_bytes(*id)).flatten().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let text =
            if self.vocabulary.space_before_text { text.strip_prefix(' ').unwrap_or(&text) } else { &text };
        text.to_owned()
    }

    /// The very bytes a token adds to a text, of a special token its spelling. A character may be spread over several
    /// tokens, so these need not be UTF-8 by themselves.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// One more than the highest token id. The model may have more rows of logits than that, for padding.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that is spelled so in the model's files.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.encoder {
            Encoder::Json(encoder) => encoder.id(token),
            Encoder::Gguf(encoder) => encoder.id(token),
        }
    }

    /// Whether a token means something beyond text and is not shown.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.is_special(id)
    }

    /// The special tokens with a known meaning.
    #[must_use]
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }
}

impl fmt::Debug for LanguageTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanguageTokenizer")
            .field("label", &self.label)
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}
