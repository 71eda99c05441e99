use std::fmt;

use llguidance::Matcher;

use super::compile::one_line;

/// How far one answer has come through its grammar.
#[derive(Clone)]
pub(crate) struct GrammarState(Matcher);

/// A grammar could not be followed further.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer's grammar could not be followed: {0}")]
pub(crate) struct GrammarError(String);

impl GrammarState {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self(matcher)
    }

    /// Puts the logits of tokens that may not follow to negative infinity.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), GrammarError> {
        let allowed =
            self.0.compute_mask_or_eos().map_err(|error| GrammarError(one_line(&error.to_string())))?;
        for (logits, allowed) in
            logits.chunks_mut(32).zip(allowed.as_slice().iter().chain(std::iter::repeat(&0)))
        {
            if *allowed == u32::MAX {
                continue;
            }
            for (bit, logit) in logits.iter_mut().enumerate() {
                if allowed >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Ok(())
    }

    /// Whether a token may follow.
    pub(crate) fn allows(&mut self, token: u32) -> bool {
        self.0.validate_tokens(&[token]).is_ok_and(|valid| valid == 1)
    }

    /// Goes on by a token that the mask allowed.
    pub(crate) fn take(&mut self, token: u32) -> Result<(), GrammarError> {
        self.0.consume_token(token).map_err(|error| GrammarError(one_line(&error.to_string())))
    }

    /// Tokens of which no other may follow, taken at once.
    pub(crate) fn take_forced(&mut self) -> Vec<u32> {
        if self.is_complete() { Vec::new() } else { self.0.consume_ff_tokens() }
    }

    /// Whether nothing may follow but the end.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_stopped()
    }
}

impl fmt::Debug for GrammarState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarState").field("complete", &self.is_complete()).finish()
    }
}
