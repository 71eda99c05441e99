use std::sync::Arc;

use serde_json::Value;

/// What an answer must look like.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ResponseFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that this schema describes.
    JsonSchema(Arc<Value>),
}

impl ResponseFormat {
    /// JSON that this schema describes.
    pub fn schema(schema: impl Into<Value>) -> Self {
        Self::JsonSchema(Arc::new(schema.into()))
    }
}
