use pool_core::ModelError;

/// How tokens are chosen. The default draws from the model's own distribution.
#[derive(Clone, PartialEq, Debug)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 always takes the most likely token. From 0 to 2.
    pub temperature: f32,
    /// Only the so many most likely tokens may be drawn. `None`: all.
    pub top_k: Option<usize>,
    /// Only the fewest tokens whose probabilities add up to this may be drawn. Above 0, to 1.
    pub top_p: f32,
    /// Only tokens at least so likely, as against the most likely one, may be drawn. From 0 to 1.
    pub min_p: f32,
    /// Logits of tokens of the prompt and the answer are divided by it, or multiplied where negative. From 0.01 to 100.
    ///
    /// Keskar et al., *CTRL: A Conditional Transformer Language Model for Controllable Generation*, section 4.1.
    pub repetition_penalty: f32,
    /// Subtracted from a token's logit for every time it stands in the answer. From -2 to 2.
    pub frequency_penalty: f32,
    /// Subtracted from a token's logit if it stands in the answer. From -2 to 2.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens. From -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// What the draws depend on.
    pub seed: u64,
    /// Logarithms of probabilities are told of each token, and of so many of the most likely. `None`: none. They are
    /// the model's own, before penalties, masks and temperature. At most 20.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

/// Most alternatives that are told.
const ALTERNATIVES: usize = 20;

impl SamplingParams {
    /// Refuses what is out of range for a vocabulary of so many tokens.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] with the parameter, its value and what is accepted.
    pub fn check(&self, vocab_size: usize) -> Result<(), ModelError> {
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(refused("top_p", self.top_p, "a number above 0, to 1"));
        }
        if self.top_k == Some(0) {
            return Err(refused("top_k", 0, "at least 1, or leave it out for no limit"));
        }
        if let Some(alternatives) = self.logprobs.filter(|alternatives| *alternatives > ALTERNATIVES) {
            return Err(refused("top_logprobs", alternatives, "a number from 0 to 20"));
        }
        for &(token, bias) in &self.logit_bias {
            within("logit_bias", bias, -100.0, 100.0)?;
            if token as usize >= vocab_size {
                let range = format!("token ids from 0 to {}", vocab_size.saturating_sub(1));
                return Err(refused("logit_bias", format_args!("for token {token}"), &range));
            }
        }
        Ok(())
    }
}

fn within(name: &str, value: f32, least: f32, most: f32) -> Result<(), ModelError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(refused(name, value, &format!("a number from {least} to {most}")))
}

fn refused(name: &str, value: impl std::fmt::Display, accepted: &str) -> ModelError {
    ModelError::invalid(format!("{name} is {value}; accepted: {accepted}"))
}
