use std::sync::Arc;

/// What is embedded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// A text, tokenised as the model's own tokenizer does.
    Text(Arc<str>),
    /// Token ids of the model's own vocabulary, taken as they are: special tokens included, no prompt put before them.
    Tokens(Arc<[u32]>),
}

impl Input {
    /// Bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tokens(ids) => size_of_val::<[u32]>(ids),
        }
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Input {
    fn from(text: &String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<Arc<str>> for Input {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Input {
    fn from(ids: Vec<u32>) -> Self {
        Self::Tokens(ids.into())
    }
}

impl From<&[u32]> for Input {
    fn from(ids: &[u32]) -> Self {
        Self::Tokens(ids.into())
    }
}
