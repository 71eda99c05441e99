use model_source::SourceError;

/// Why there is no model, or no answer. Variants differ by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's files cannot be had or are damaged.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The checkpoint, or how it is to be loaded, asks for something that this crate does not do.
    #[error("{place}: {what} is not supported; {supported}")]
    Unsupported {
        /// The folder, repository or file.
        place: String,
        /// The field or option, and its value.
        what: String,
        /// What is supported in its place.
        supported: String,
    },
    /// The checkpoint contradicts itself, or does not fit how it is to be loaded.
    #[error("{place}: {reason}")]
    Checkpoint {
        /// The folder, repository or file.
        place: String,
        /// What does not fit together.
        reason: String,
    },
    /// The pool refused the job or ended it without an answer; what an HTTP status follows from.
    #[error(transparent)]
    Pool(#[from] pool_core::Error),
    /// One prompt of a list failed, and so the list.
    #[error("prompt {index}: {error}")]
    Item {
        /// Its position in the list, from 0.
        index: usize,
        /// What happened to it.
        #[source]
        error: pool_core::Error,
    },
}

impl Error {
    /// What the pool said, whether of one job or of one of a list. `None` where the model could not be set up.
    pub fn pool(&self) -> Option<&pool_core::Error> {
        match self {
            Self::Pool(error) | Self::Item { error, .. } => Some(error),
            _ => None,
        }
    }

    /// A request that can never be served.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Pool(pool_core::Error::Invalid { message: message.into().into() })
    }

    /// A request that the model's own rules refuse.
    pub(crate) fn refused(error: &pool_core::ModelError) -> Self {
        Self::invalid(error.to_string())
    }

    pub(crate) fn at(index: usize) -> impl FnOnce(pool_core::Error) -> Self {
        move |error| Self::Item { index, error }
    }

    /// A checkpoint that asks for something that is not done: see [`Error::Unsupported`].
    pub fn unsupported(
        place: impl Into<String>,
        what: impl Into<String>,
        supported: impl Into<String>,
    ) -> Self {
        Self::Unsupported { place: place.into(), what: what.into(), supported: supported.into() }
    }

    /// A checkpoint that does not fit: see [`Error::Checkpoint`].
    pub fn checkpoint(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Checkpoint { place: place.into(), reason: reason.to_string() }
    }
}
