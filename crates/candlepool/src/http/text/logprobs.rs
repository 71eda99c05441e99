//! How likely tokens were, as OpenAI tells it: one shape for chats, another for completions.

use std::collections::BTreeMap;

use language_model::{LanguageModel, Modality, Written};
use serde::Serialize;

/// Of a message's tokens.
#[derive(Serialize, Debug)]
pub(super) struct ChatLogprobs {
    content: Vec<TokenLogprob>,
    /// No model here refuses in a channel of its own.
    refusal: Option<()>,
}

#[derive(Serialize, Debug)]
struct TokenLogprob {
    #[serde(flatten)]
    token: Alternative,
    top_logprobs: Vec<Alternative>,
}

#[derive(Serialize, Debug)]
struct Alternative {
    token: String,
    logprob: f32,
    /// What the token adds to the text. A character may be spread over several tokens.
    bytes: Option<Vec<u8>>,
}

impl Alternative {
    fn of<M: Modality>(pool: &LanguageModel<M>, token: u32, logprob: f32) -> Self {
        let bytes = pool.token_bytes(token).map(<[u8]>::to_vec);
        Self { token: pool.token_text(token).into_owned(), logprob: finite(logprob), bytes }
    }
}

impl ChatLogprobs {
    pub(super) fn of<M: Modality>(pool: &LanguageModel<M>, tokens: &[Written]) -> Self {
        let told = tokens.iter().filter_map(|written| {
            let logprobs = written.logprobs.as_ref()?;
            let top = logprobs.top.iter().map(|&(token, logprob)| Alternative::of(pool, token, logprob));
            Some(TokenLogprob {
                token: Alternative::of(pool, written.token, logprobs.own),
                top_logprobs: top.collect(),
            })
        });
        Self { content: told.collect(), refusal: None }
    }
}

/// Of a completion's tokens: lists of equal length.
#[derive(Default, Serialize, Debug)]
pub(super) struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Where in the choice's text each token begins, in characters.
    text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// Of tokens that begin at this character of the text; moves it behind them.
    pub(super) fn of<M: Modality>(pool: &LanguageModel<M>, tokens: &[Written], offset: &mut usize) -> Self {
        let mut told = Self::default();
        for written in tokens {
            let Some(logprobs) = &written.logprobs else {
                continue;
            };
            told.tokens.push(pool.token_text(written.token).into_owned());
            told.token_logprobs.push(finite(logprobs.own));
            let top = logprobs.top.iter();
            // Names that read the same are one; the likelier comes first and stays.
            let mut named = BTreeMap::new();
            for &(token, logprob) in top {
                named.entry(pool.token_text(token).into_owned()).or_insert_with(|| finite(logprob));
            }
            told.top_logprobs.push(named);
            told.text_offset.push(*offset);
            // A character begins with the one of its bytes that continues none.
            let bytes = pool.token_bytes(written.token).unwrap_or_default();
            *offset += bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        }
        told
    }
}

/// JSON has no infinity; OpenAI tells this number for what is impossible.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
