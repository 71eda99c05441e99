use std::borrow::Cow;
use std::sync::Arc;

use pool_core::ModelError;

use crate::grammar::{Grammar, GrammarState};
use crate::job::GenerationJob;
use crate::output::{Choice, Delta, FinishReason, Written};
use crate::sampling::{Sampler, Unsampled, logprobs};
use crate::text::TextStream;
use crate::tools::{ToolCall, ToolParser};
use crate::vocabulary::Vocabulary;

#[cfg(test)]
mod tests;

/// Writes one choice of a job: from each row of logits to tokens, and from tokens to what its caller sees.
#[derive(Debug)]
pub(crate) struct Writer {
    choice: u32,
    sampler: Sampler,
    grammar: Option<GrammarState>,
    /// What a call must look like once one has begun, and whether the grammar at hand is of such a call.
    call: Option<Arc<Grammar>>,
    within_call: bool,
    /// The last call that began in a way that its grammar does not know: it is left to the model.
    free_call: usize,
    /// Whether the answer ends with its first call.
    one_call: bool,
    text: TextStream,
    tools: Option<ToolParser>,
    ignore_eos: bool,
    /// Tokens written, and how many may be.
    written: usize,
    most: usize,
    whole: Choice,
    finished: bool,
    /// How much of the whole has been told.
    told: Told,
}

#[derive(Clone, Copy, Default, Debug)]
struct Told {
    text: usize,
    tokens: usize,
    calls: usize,
    end: bool,
}

impl Writer {
    /// Begins a choice. `most`: tokens it may have.
    pub(crate) fn new<P>(job: &GenerationJob<P>, choice: u32, most: usize) -> Self {
        let prompt = job.prompt.iter().filter_map(|item| item.token());
        let whole = Choice {
            text: String::new(),
            tokens: Vec::new(),
            tool_calls: Vec::new(),
            finish: FinishReason::Length,
        };
        Self {
            choice,
            sampler: Sampler::new(job.sampling.clone(), prompt),
            grammar: job.grammar.as_ref().map(|grammar| grammar.start()),
            text: TextStream::new(job.stop.clone()),
            call: job.tools.as_ref().and_then(|used| used.call.clone()),
            within_call: false,
            free_call: 0,
            one_call: job.tools.as_ref().is_some_and(|used| !used.several),
            tools: job.tools.as_ref().map(|used| ToolParser::new(used.format, used.tools.clone())),
            ignore_eos: job.ignore_eos,
            written: 0,
            most,
            whole,
            finished: false,
            told: Told::default(),
        }
    }

    /// Tokens written so far, one that ended it included.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The choice as far as it has come.
    pub(crate) fn into_choice(self) -> Choice {
        self.whole
    }

    /// Chooses the token at a position from a row of logits, which is used up, and gives the tokens that follow the
    /// sequence: this one, and those that the grammar forces after it. None, if the choice ends with it. `weights` is
    /// used as working memory.
    pub(crate) fn write(
        &mut self,
        logits: &mut [f32],
        position: usize,
        vocabulary: &dyn Vocabulary,
        weights: &mut Vec<f64>,
    ) -> Result<Vec<u32>, ModelError> {
        let asked = self.sampler.params().logprobs;
        let own = asked.map(|_| logits.to_vec());
        self.sampler.penalise(logits);
        if self.ignore_eos {
            for &end in vocabulary.end_tokens() {
                if let Some(logit) = logits.get_mut(end as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        if let Some(grammar) = &mut self.grammar {
            grammar.mask(logits)?;
        }
        let drawn = self.sampler.draw(logits, position, self.choice, weights);
        let token = drawn.map_err(|unsampled| match (unsampled, &self.grammar) {
            (Unsampled::NothingAllowed, Some(grammar)) => grammar.excludes_all(),
            _ => ModelError::failed("the logits are no finite numbers; the weights may be damaged"),
        })?;
        let logprobs = own.zip(asked).map(|(logits, top)| logprobs(&logits, token, top));
        self.put(Written { token, logprobs }, vocabulary)?;
        let mut tokens = vec![token];
        // With logarithms of probabilities, each token must be asked for.
        while asked.is_none() && !self.finished {
            let forced = self.grammar.as_mut().map(GrammarState::take_forced).unwrap_or_default();
            if forced.is_empty() {
                break;
            }
            let last = forced.len() - 1;
            for (index, token) in forced.into_iter().enumerate() {
                if self.finished {
                    break;
                }
                self.note(Written { token, logprobs: None }, index == last, vocabulary);
                tokens.push(token);
            }
        }
        Ok(if self.finished { Vec::new() } else { tokens })
    }

    /// Takes a token that was drawn.
    fn put(&mut self, token: Written, vocabulary: &dyn Vocabulary) -> Result<(), ModelError> {
        if vocabulary.end_tokens().contains(&token.token) {
            self.written += 1;
            self.finish(FinishReason::Stop);
            return Ok(());
        }
        if let Some(grammar) = &mut self.grammar {
            grammar.take(token.token)?;
        }
        self.note(token, true, vocabulary);
        Ok(())
    }

    /// Adds a token to the text, and looks whether that ends the choice. `last`: the grammar has come no further.
    fn note(&mut self, token: Written, last: bool, vocabulary: &dyn Vocabulary) {
        let mut completes = last && self.grammar.as_ref().is_some_and(GrammarState::is_complete);
        if completes && self.within_call {
            // After a call the answer is free again.
            self.grammar = None;
            self.within_call = false;
            completes = false;
        }
        self.written += 1;
        self.sampler.note(token.token);
        let bytes = self.bytes(token.token, vocabulary);
        let (text, tokens) = self.text.push(token, &bytes);
        self.show(&text, tokens);
        self.follow_call(vocabulary);
        let called = self.one_call && !self.whole.tool_calls.is_empty();
        if self.text.has_stopped() || completes || called {
            self.finish(FinishReason::Stop);
        } else if self.written >= self.most {
            self.finish(FinishReason::Length);
        }
    }

    /// Where a call has just begun, the answer follows its grammar from here on.
    fn follow_call(&mut self, vocabulary: &dyn Vocabulary) {
        let (None, Some(call), Some(tools)) = (&self.grammar, &self.call, &self.tools) else { return };
        let Some(begun) = tools.begun().filter(|_| !self.text.holds_back()) else { return };
        if tools.opened() == self.free_call {
            return;
        }
        let mut grammar = call.start();
        let mut tokens = tools.format().opening(vocabulary);
        tokens.extend(vocabulary.encode(begun));
        if tokens.into_iter().all(|token| grammar.allows(token) && grammar.take(token).is_ok()) {
            self.grammar = Some(grammar);
            self.within_call = true;
        } else {
            self.free_call = tools.opened();
        }
    }

    /// What a token adds to the text: a control token nothing, but where it marks a call.
    fn bytes<'v>(&self, token: u32, vocabulary: &'v dyn Vocabulary) -> Cow<'v, [u8]> {
        let bytes = vocabulary.token_bytes(token).unwrap_or(Cow::Borrowed(&[]));
        let shown = !vocabulary.is_special(token)
            || self.tools.as_ref().is_some_and(|tools| tools.format().has_marker(&bytes));
        if shown { bytes } else { Cow::Borrowed(&[]) }
    }

    fn show(&mut self, text: &str, tokens: Vec<Written>) {
        self.whole.tokens.extend(tokens);
        match &mut self.tools {
            None => self.whole.text.push_str(text),
            Some(tools) => {
                let (text, calls) = tools.push(text);
                self.whole.text.push_str(&text);
                self.add_calls(calls);
            }
        }
    }

    fn add_calls(&mut self, calls: Vec<ToolCall>) {
        self.whole.tool_calls.extend(calls);
        if self.one_call {
            self.whole.tool_calls.truncate(1);
        }
    }

    fn finish(&mut self, reason: FinishReason) {
        if self.finished {
            return;
        }
        self.finished = true;
        let (text, tokens) = self.text.finish();
        self.show(&text, tokens);
        if let Some(tools) = &mut self.tools {
            let (text, calls) = tools.finish();
            self.whole.text.push_str(&text);
            self.add_calls(calls);
        }
        let calls = reason == FinishReason::Stop && !self.whole.tool_calls.is_empty();
        self.whole.finish = if calls { FinishReason::ToolCalls } else { reason };
    }

    /// What has come since it was last asked. `None`: nothing.
    pub(crate) fn delta(&mut self) -> Option<Delta> {
        let told = self.told;
        self.told = Told {
            text: self.whole.text.len(),
            tokens: self.whole.tokens.len(),
            calls: self.whole.tool_calls.len(),
            end: self.finished,
        };
        let delta = Delta {
            choice: self.choice,
            text: self.whole.text[told.text..].to_owned(),
            tokens: self.whole.tokens[told.tokens..].to_vec(),
            tool_calls: self.whole.tool_calls[told.calls..].to_vec(),
            finish: (self.finished && !told.end).then_some(self.whole.finish),
        };
        let nothing = delta.text.is_empty() && delta.tokens.is_empty() && delta.tool_calls.is_empty();
        (!nothing || delta.finish.is_some()).then_some(delta)
    }
}
