use pool_core::JobOptions;

use super::ResponseFormat;

/// What all calls can be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions {
    pub(crate) job: JobOptions,
    pub(crate) wait: bool,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) temperature: Option<f32>,
    /// `Some(None)`: no limit, whatever the model's default is.
    pub(crate) top_k: Option<Option<usize>>,
    pub(crate) top_p: Option<f32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) frequency_penalty: f32,
    pub(crate) presence_penalty: f32,
    pub(crate) logit_bias: Vec<(u32, f32)>,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    /// `None`: one.
    pub(crate) choices: Option<u32>,
    pub(crate) logprobs: Option<usize>,
    pub(crate) ignore_eos: bool,
    pub(crate) format: ResponseFormat,
}

/// The setters every call has; its options are in the field `options`.
macro_rules! call_options {
    () => {
        /// Sets the class of the job. Default: normal.
        pub fn priority(mut self, priority: pool_core::Priority) -> Self {
            self.options.job.priority = priority;
            self
        }

        /// Sets when the answer stops being of use: a moment, or so long from now. Default: never.
        pub fn deadline(mut self, deadline: impl Into<pool_core::Deadline>) -> Self {
            self.options.job.deadline = deadline.into();
            self
        }

        /// Sets on whose behalf the job runs: what fair sharing goes by. Default: nobody's.
        pub fn principal(mut self, principal: pool_core::Principal) -> Self {
            self.options.job.principal = principal;
            self
        }

        /// Whether to wait for room in a full queue, until the deadline, rather than be refused at once.
        pub fn wait(mut self, wait: bool) -> Self {
            self.options.wait = wait;
            self
        }

        /// Sets how many tokens an answer has at most, at least 1. Default: the model's, or as many as it can take.
        pub fn max_tokens(mut self, max_tokens: usize) -> Self {
            self.options.max_tokens = Some(max_tokens);
            self
        }

        /// Sets what logits are divided by, from 0 to 2; 0 always takes the most likely token. Default: the model's.
        pub fn temperature(mut self, temperature: f32) -> Self {
            self.options.temperature = Some(temperature);
            self
        }

        /// Draws from the so many most likely tokens only; `None`: from all. Default: the model's.
        pub fn top_k(mut self, top_k: impl Into<Option<usize>>) -> Self {
            self.options.top_k = Some(top_k.into());
            self
        }

        /// Draws from the fewest tokens whose probabilities add up to this, above 0, to 1. Default: the model's.
        pub fn top_p(mut self, top_p: f32) -> Self {
            self.options.top_p = Some(top_p);
            self
        }

        /// Draws from tokens at least so likely, as against the most likely one, from 0 to 1. Default: the model's.
        pub fn min_p(mut self, min_p: f32) -> Self {
            self.options.min_p = Some(min_p);
            self
        }

        /// Sets what logits of tokens of the prompt and the answer are divided by, above 0. Default: the model's.
        pub fn repetition_penalty(mut self, penalty: f32) -> Self {
            self.options.repetition_penalty = Some(penalty);
            self
        }

        /// Sets what is subtracted from a token's logit for each time it stands in the answer, from -2 to 2. Default: 0.
        pub fn frequency_penalty(mut self, penalty: f32) -> Self {
            self.options.frequency_penalty = penalty;
            self
        }

        /// Sets what is subtracted from a token's logit if it stands in the answer, from -2 to 2. Default: 0.
        pub fn presence_penalty(mut self, penalty: f32) -> Self {
            self.options.presence_penalty = penalty;
            self
        }

        /// Sets what is added to the logits of these tokens, from -100 to 100. Default: nothing.
        pub fn logit_bias(mut self, bias: impl IntoIterator<Item = (u32, f32)>) -> Self {
            self.options.logit_bias = bias.into_iter().collect();
            self
        }

        /// Sets what the draws depend on: equal calls with equal seeds give equal answers, but for near-ties unless the
        /// model is loaded as [deterministic](crate::Load::deterministic). Default: drawn at random.
        pub fn seed(mut self, seed: u64) -> Self {
            self.options.seed = Some(seed);
            self
        }

        /// Ends an answer before the first of these texts. Default: none.
        pub fn stop<T: Into<String>>(mut self, texts: impl IntoIterator<Item = T>) -> Self {
            self.options.stop = texts.into_iter().map(Into::into).collect();
            self
        }

        /// Sets how many answers are wanted. They share the prompt's memory and differ by their draws. Default: 1.
        pub fn n(mut self, choices: u32) -> Self {
            self.options.choices = Some(choices);
            self
        }

        /// Asks for the logarithm of each token's probability, and of so many of the most likely tokens', at most 20.
        pub fn logprobs(mut self, top: usize) -> Self {
            self.options.logprobs = Some(top);
            self
        }

        /// Whether end tokens are never drawn, so that every answer is as long as it may be.
        pub fn ignore_eos(mut self, ignore: bool) -> Self {
            self.options.ignore_eos = ignore;
            self
        }

        /// Sets what an answer must look like. Default: any text.
        pub fn response_format(mut self, format: $crate::ResponseFormat) -> Self {
            self.options.format = format;
            self
        }
    };
}

pub(crate) use call_options;
