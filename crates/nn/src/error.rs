//! What can go wrong, by what the caller can do about it.

/// Why a decoder or a tower cannot be built, or cannot take a step. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// The model, or a setting, asks for something that is not computed here.
    #[error("{what} is not supported: {supported}")]
    Unsupported {
        /// The field and its value.
        what: String,
        /// What would be accepted.
        supported: String,
    },
    /// A configuration that lacks something or contradicts itself.
    #[error("{0}")]
    InvalidConfig(String),
    /// A tensor that is missing, has another shape, or cannot be read.
    #[error("{0}")]
    Weights(String),
    /// Chunks that do not fit the model or the cache; nothing has been computed or written.
    #[error("{0}")]
    InvalidCall(String),
    /// The machine does not give the memory that the cache's blocks take.
    #[error("{bytes} bytes for the key-value cache cannot be allocated: give it fewer blocks")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// The tensor library failed at something that was checked beforehand.
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl NnError {
    pub(crate) fn unsupported(what: impl Into<String>, supported: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), supported: supported.into() }
    }

    /// The first line of what a store says: the tensor library may put a backtrace behind it.
    pub(crate) fn weights(error: impl std::fmt::Display) -> Self {
        let text = error.to_string();
        Self::Weights(text.lines().next().unwrap_or_default().to_owned())
    }
}
