//! JSON with errors that name the file and the field.

use serde::de::DeserializeOwned;

use crate::SourceError;

/// Parses `content`; the error names `file`, the path of the field and what is wrong with it.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, content: &[u8]) -> Result<T, SourceError> {
    // Some tools write a byte order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let invalid = |reason: String| SourceError::InvalidJson { file: file.to_owned(), reason };
    let mut deserializer = serde_json::Deserializer::from_slice(content);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // The path is "." at the top, and ends with "?" where the text broke off.
        match path.trim_end_matches(['.', '?']) {
            "" => invalid(error.inner().to_string()),
            path => invalid(format!("{path}: {}", error.inner())),
        }
    })?;
    deserializer.end().map_err(|error| invalid(error.to_string()))?;
    Ok(value)
}
