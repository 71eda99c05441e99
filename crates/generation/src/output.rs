use crate::tools::ToolCall;

/// What a job's caller sees of a choice while it is written. All deltas of a choice together are the choice.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// Which choice, from 0.
    pub choice: u32,
    /// Text that follows what came before. It never splits a character and never shows a part of a stop string.
    pub text: String,
    /// The tokens that this text came with.
    pub tokens: Vec<Written>,
    /// Calls of tools that are complete now.
    pub tool_calls: Vec<ToolCall>,
    /// Why the choice ends here, if it does.
    pub finish: Option<FinishReason>,
}

/// A token of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Written {
    /// Its id.
    pub token: u32,
    /// How likely it was, if that was asked.
    pub logprobs: Option<Logprobs>,
}

/// How likely tokens were in the model's own distribution: natural logarithms of probabilities.
#[derive(Clone, PartialEq, Debug)]
pub struct Logprobs {
    /// The token that was chosen.
    pub own: f32,
    /// The most likely tokens, the most likely first.
    pub top: Vec<(u32, f32)>,
}

/// Why a choice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// It has as many tokens as were asked for, or as the model can take.
    Length,
    /// The model called tools and waits for their results.
    ToolCalls,
}

impl FinishReason {
    /// The name as OpenAI's protocol spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// One answer of a job, whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// Its text, without calls of tools.
    pub text: String,
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<Written>,
    /// The tools it calls.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// What a job comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Generation {
    /// Its answers, as many as were asked for.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Usage,
}

impl Generation {
    /// The text of its first answer, which is the only one unless more were asked for.
    pub fn text(&self) -> &str {
        self.choices.first().map_or("", |choice| &choice.text)
    }
}

/// Tokens that a job took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Positions of the prompt.
    pub prompt: usize,
    /// Those of them that were in the cache.
    pub cached: usize,
    /// Tokens written for all choices, those that ended them included.
    pub completion: usize,
}
