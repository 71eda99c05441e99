use std::sync::Arc;

use imaging::ImagingError;
use model_source::SourceError;

/// Why there is no model, or no answer. Variants differ by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's files cannot be had or are damaged.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The checkpoint asks for something that this crate does not do.
    #[error("{place}: {what} is not supported; {supported}")]
    Unsupported {
        /// The folder, repository or file.
        place: String,
        /// The field, and its value.
        what: String,
        /// What is supported in its place.
        supported: String,
    },
    /// The checkpoint contradicts itself.
    #[error("{place}: {reason}")]
    Checkpoint {
        /// The folder, repository or file.
        place: String,
        /// What does not fit together.
        reason: String,
    },
    /// A picture cannot be read. (What is wrong with one that was handed to a call is told by the pool.)
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The pool refused the job or ended it without an answer; what an HTTP status follows from.
    #[error(transparent)]
    Pool(#[from] pool_core::Error),
    /// One input of a list failed, and so the list.
    #[error("input {index}: {error}")]
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

    /// An input that can never be served.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Pool(invalid(message))
    }

    pub(crate) fn at(index: usize) -> impl FnOnce(pool_core::Error) -> Self {
        move |error| Self::Item { index, error }
    }
}

/// An input that can never be served.
pub(crate) fn invalid(message: impl Into<String>) -> pool_core::Error {
    let message: String = message.into();
    pool_core::Error::Invalid { message: Arc::from(message) }
}
