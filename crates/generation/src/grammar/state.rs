use std::fmt;

use llguidance::Matcher;
use pool_core::ModelError;

use super::compile::one_line;

/// How far one answer has come through its grammar.
///
/// Where it cannot be followed further, it asks for more than its limits allow: the request is at fault, not the model.
#[derive(Clone)]
pub(crate) struct GrammarState {
    matcher: Matcher,
    /// The parameter that asks for it.
    parameter: &'static str,
}

impl GrammarState {
    pub(super) fn new(matcher: Matcher, parameter: &'static str) -> Self {
        Self { matcher, parameter }
    }

    /// Puts the logits of tokens that may not follow to negative infinity.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), ModelError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|error| self.fails(&error.to_string()))?;
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
        self.matcher.validate_tokens(&[token]).is_ok_and(|valid| valid == 1)
    }

    /// Goes on by a token that the mask allowed.
    pub(crate) fn take(&mut self, token: u32) -> Result<(), ModelError> {
        self.matcher.consume_token(token).map_err(|error| self.fails(&error.to_string()))
    }

    /// Tokens of which no other may follow, taken at once.
    pub(crate) fn take_forced(&mut self) -> Vec<u32> {
        if self.is_complete() { Vec::new() } else { self.matcher.consume_ff_tokens() }
    }

    /// Whether nothing may follow but the end.
    pub(crate) fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// No token is left to follow.
    pub(crate) fn excludes_all(&self) -> ModelError {
        let parameter = self.parameter;
        ModelError::invalid(format!(
            "{parameter}: no token can follow: the answer's grammar allows none that the model has; allow more in it"
        ))
    }

    fn fails(&self, why: &str) -> ModelError {
        let (parameter, why) = (self.parameter, one_line(why));
        ModelError::invalid(format!("{parameter}: the answer cannot be written as asked, simplify it: {why}"))
    }
}

impl fmt::Debug for GrammarState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarState").field("complete", &self.is_complete()).finish()
    }
}
