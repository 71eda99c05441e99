use pool_core::JobOptions;

/// What all calls can be told.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    pub(crate) job: JobOptions,
    pub(crate) normalize: bool,
    pub(crate) wait: bool,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { job: JobOptions::default(), normalize: true, wait: false }
    }
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
    };
}

/// The setter of calls that hand out vectors.
macro_rules! normalize_option {
    () => {
        /// Whether vectors are scaled to length 1. Default: they are, as these models compare vectors by their cosine; what
        /// the reference calls `image_embeds` and `text_embeds` of a whole model is scaled, too, and what its
        /// `get_image_features` and `get_text_features` give is not.
        pub fn normalize(mut self, normalize: bool) -> Self {
            self.options.normalize = normalize;
            self
        }
    };
}

pub(crate) use {call_options, normalize_option};
