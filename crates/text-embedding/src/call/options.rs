use pool_core::JobOptions;

/// What happens to an input of more tokens than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Truncation {
    /// It is cut at the side the model's tokenizer says: at the end, unless told otherwise.
    #[default]
    Auto,
    /// Its end is cut off.
    Right,
    /// Its beginning is cut off.
    Left,
    /// It is refused.
    Refuse,
}

/// Which text is put before an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PromptChoice {
    /// The model's default prompt, if it has one.
    #[default]
    Default,
    /// The model's prompt of that name.
    Named(String),
    /// This text.
    Text(String),
}

/// What all calls can be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions {
    pub(crate) job: JobOptions,
    pub(crate) prompt: PromptChoice,
    pub(crate) truncation: Truncation,
    pub(crate) dimensions: Option<usize>,
    pub(crate) wait: bool,
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

        /// Sets what happens to an input that is too long. Default: it is cut at the side the model says.
        pub fn truncation(mut self, truncation: $crate::Truncation) -> Self {
            self.options.truncation = truncation;
            self
        }

        /// Whether to wait for room in a full queue, until the deadline, rather than be refused at once.
        pub fn wait(mut self, wait: bool) -> Self {
            self.options.wait = wait;
            self
        }
    };
}

/// The setters of calls that embed.
macro_rules! prompt_options {
    () => {
        /// Asks for so many dimensions: the vector is cut, and scaled to length 1 again if the model does so.
        pub fn dimensions(mut self, dimensions: usize) -> Self {
            self.options.dimensions = Some(dimensions);
            self
        }

        /// Puts the model's prompt of that name before the text.
        pub fn prompt(mut self, name: impl Into<String>) -> Self {
            self.options.prompt = $crate::call::PromptChoice::Named(name.into());
            self
        }

        /// Puts this before the text; an empty one switches the model's default prompt off.
        pub fn prompt_text(mut self, prompt: impl Into<String>) -> Self {
            self.options.prompt = $crate::call::PromptChoice::Text(prompt.into());
            self
        }
    };
}

pub(crate) use {call_options, prompt_options};
