use std::sync::Arc;

use imaging::ImagingError;
use model_source::SourceError;

/// Why there is no model, or no picture. Variants differ by what the caller can do.
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
    /// A picture cannot be read or written.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The pool refused the job or ended it without a picture; what an HTTP status follows from.
    #[error(transparent)]
    Pool(#[from] pool_core::Error),
}

impl Error {
    /// What the pool said. `None` where the model could not be set up.
    pub fn pool(&self) -> Option<&pool_core::Error> {
        match self {
            Self::Pool(error) => Some(error),
            _ => None,
        }
    }

    /// A request that can never be served.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self::Pool(pool_core::Error::Invalid { message: Arc::from(message) })
    }
}
