use std::path::{Path, PathBuf};

use crate::{Source, SourceError};

/// What names a model's source: a [`Source`], its spelling, or a path.
pub trait IntoSource {
    /// The source, or what is wrong with its spelling.
    ///
    /// # Errors
    ///
    /// [`SourceError::InvalidSource`].
    fn into_source(self) -> Result<Source, SourceError>;
}

impl IntoSource for Source {
    fn into_source(self) -> Result<Source, SourceError> {
        Ok(self)
    }
}

impl IntoSource for &Source {
    fn into_source(self) -> Result<Source, SourceError> {
        Ok(self.clone())
    }
}

impl IntoSource for &str {
    fn into_source(self) -> Result<Source, SourceError> {
        self.parse()
    }
}

impl IntoSource for String {
    fn into_source(self) -> Result<Source, SourceError> {
        self.parse()
    }
}

impl IntoSource for &String {
    fn into_source(self) -> Result<Source, SourceError> {
        self.parse()
    }
}

impl IntoSource for PathBuf {
    fn into_source(self) -> Result<Source, SourceError> {
        self.as_path().into_source()
    }
}

impl IntoSource for &Path {
    /// A path is never read as the name of a scheme.
    fn into_source(self) -> Result<Source, SourceError> {
        let extension = self.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_file = ["safetensors", "gguf"].iter().any(|known| extension.eq_ignore_ascii_case(known));
        Ok(if is_file { Source::File(self.to_owned()) } else { Source::Folder(self.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_weights_file_by_its_extension_and_never_a_scheme() {
        for (path, is_file) in
            [("hf:a/b", false), ("a/b.GGUF", true), ("b.safetensors", true), ("a.b", false)]
        {
            let source = Path::new(path).into_source().unwrap();
            assert_eq!(matches!(source, Source::File(_)), is_file, "{path}");
            assert!(is_file || matches!(source, Source::Folder(_)), "{path}");
        }
    }
}
