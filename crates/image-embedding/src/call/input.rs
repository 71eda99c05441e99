use std::sync::Arc;

use imaging::EncodedImage;

/// What is embedded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A picture.
    Image(EncodedImage),
    /// A text, for models whose texts have vectors in the same space as pictures.
    Text(Arc<str>),
}

impl Input {
    /// Bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Image(image) => image.bytes().len(),
            Self::Text(text) => text.len(),
        }
    }
}

impl From<EncodedImage> for Input {
    fn from(image: EncodedImage) -> Self {
        Self::Image(image)
    }
}

impl From<&EncodedImage> for Input {
    fn from(image: &EncodedImage) -> Self {
        Self::Image(image.clone())
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
