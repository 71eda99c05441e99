//! The spelling of a source: what `--model` and `source = "..."` accept. Nothing here touches the file system.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SourceError;

/// Where a model's files come from.
///
/// ```
/// use model_source::Source;
///
/// let source: Source = "hf:sentence-transformers/all-MiniLM-L6-v2@main".parse()?;
/// assert!(matches!(source, Source::Hub(_)));
/// assert_eq!(source.to_string(), "hf:sentence-transformers/all-MiniLM-L6-v2@main");
/// assert!("minilm.onnx".parse::<Source>().is_err());
/// # Ok::<(), model_source::SourceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `hf:owner/name[@revision][:file]`: a repository of the Hugging Face hub.
    Hub(HubModel),
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// One `.safetensors` or `.gguf` file; the configuration and tokenizer lie beside it.
    File(PathBuf),
    /// `builtin[:name]`: a model compiled in. Without a name, the first one of the modality asked for.
    Builtin(Option<String>),
}

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubModel {
    /// Which repository.
    pub repo: RepoId,
    /// Branch, tag or commit; the branch `main` if absent.
    pub revision: Option<String>,
    /// The one weights file wanted, where a repository holds several.
    pub file: Option<String>,
}

impl HubModel {
    /// The revision to ask the hub for.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

/// A repository's name on the hub: `owner/name`, or a bare `name` for the few old ones without an owner.
///
/// Letters, digits, `-`, `_` and `.`, at most 96 of them, not beginning or ending with `-` or `.`, without `--` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId(String);

impl RepoId {
    /// The name as the hub spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        let invalid = |reason: &str| SourceError::invalid_source(given, reason);
        if given.is_empty() {
            return Err(invalid("the repository's name is missing; write hf:owner/name"));
        }
        if given.len() > 96 {
            return Err(invalid("a repository's name has at most 96 characters"));
        }
        let parts: Vec<&str> = given.split('/').collect();
        if parts.len() > 2 {
            return Err(invalid(
                "a repository is owner/name; a file in it follows a colon: hf:owner/name:file",
            ));
        }
        for part in parts {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if part.is_empty() || !part.chars().all(plain) {
                return Err(invalid("a repository is owner/name, of letters, digits, '-', '_' and '.'"));
            }
            let edge = |c: char| matches!(c, '-' | '.');
            if part.starts_with(edge) || part.ends_with(edge) || part.contains("--") || part.contains("..") {
                return Err(invalid(
                    "a name neither begins nor ends with '-' or '.', and has no '--' or '..'",
                ));
            }
        }
        Ok(Self(given.to_owned()))
    }
}

/// The forms, as every refusal lists them. A GGUF file is one for modalities that read it, which a spelling does not tell.
pub(crate) const FORMS: &str =
    "hf:owner/name[@revision][:file], a folder, a .safetensors or .gguf file, or builtin[:name]";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        let invalid = |reason: &str| SourceError::invalid_source(given, reason);
        if given.trim().is_empty() {
            return Err(invalid(&format!("a source is {FORMS}")));
        }
        if given.chars().any(char::is_control) {
            return Err(invalid("it contains a control character"));
        }
        if given == "builtin" {
            return Ok(Self::Builtin(None));
        }
        if let Some((scheme, rest)) = scheme(given) {
            return match scheme {
                "hf" => hub_model(given, rest).map(Self::Hub),
                "builtin" if rest.is_empty() => Err(invalid("the name after the colon is missing")),
                "builtin" => Ok(Self::Builtin(Some(rest.to_owned()))),
                "file" => Err(invalid("write the path alone, without file:")),
                "http" | "https" => Err(match hub_page(rest) {
                    Some(repo) => invalid(&format!("write hf:{repo}")),
                    None => {
                        invalid(&format!("models are not fetched from other addresses; a source is {FORMS}"))
                    }
                }),
                _ => Err(invalid(&format!("unknown scheme {scheme}:; a source is {FORMS}"))),
            };
        }
        let path = PathBuf::from(given);
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("gguf" | "safetensors") => Ok(Self::File(path)),
            Some("bin" | "pt" | "pth" | "ckpt" | "pkl" | "pickle") => {
                Err(invalid("pickle files are never read; convert the weights to safetensors"))
            }
            Some("onnx" | "h5" | "msgpack" | "tflite" | "zip" | "gz" | "tar") => {
                Err(invalid(&format!("such a file is not supported; a source is {FORMS}")))
            }
            _ => Ok(Self::Folder(path)),
        }
    }
}

impl TryFrom<&str> for Source {
    type Error = SourceError;

    fn try_from(given: &str) -> Result<Self, SourceError> {
        given.parse()
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(given: String) -> Result<Self, SourceError> {
        given.parse()
    }
}

/// Splits `scheme:rest`. A single letter is no scheme but a drive (`C:\models`), and a colon after a separator is part
/// of a path.
fn scheme(given: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = given.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    (scheme.len() > 1 && begins && scheme.chars().all(plain)).then_some((scheme, rest))
}

/// `owner/name` of a page address such as `//huggingface.co/owner/name/tree/main`.
fn hub_page(rest: &str) -> Option<RepoId> {
    let path = rest.strip_prefix("//")?;
    let path = path.strip_prefix("huggingface.co/").or_else(|| path.strip_prefix("hf.co/"))?;
    let mut parts = path.split(['/', '?', '#']);
    format!("{}/{}", parts.next()?, parts.next()?).parse().ok()
}

fn hub_model(given: &str, rest: &str) -> Result<HubModel, SourceError> {
    let invalid = |reason: &str| SourceError::invalid_source(given, reason);
    let (address, file) = match rest.split_once(':') {
        Some((address, file)) => (address, Some(file)),
        None => (rest, None),
    };
    let (repo, revision) = match address.split_once('@') {
        Some((repo, revision)) => (repo, Some(revision)),
        None => (address, None),
    };
    let repo: RepoId = repo.parse().map_err(|error| match error {
        SourceError::InvalidSource { reason, .. } => SourceError::invalid_source(given, reason),
        other => other,
    })?;
    if let Some(revision) = revision {
        // What git allows in a reference's name, as far as it matters for an address and for a path in the cache.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
        if revision.is_empty() || !revision.chars().all(plain) || !is_relative_path(revision) {
            return Err(invalid("the revision after @ is a branch, a tag or a commit"));
        }
    }
    if let Some(file) = file {
        if !is_relative_path(file) {
            return Err(invalid("the file after the colon is a path inside the repository"));
        }
        if !file.ends_with(".gguf") && !file.ends_with(".safetensors") {
            return Err(invalid("the file after the colon is a .safetensors or .gguf file"));
        }
    }
    Ok(HubModel { repo, revision: revision.map(str::to_owned), file: file.map(str::to_owned) })
}

/// Whether a name from outside may be joined to a folder: relative, forward slashes, no `.` or `..`, nothing odd.
pub(crate) fn is_relative_path(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 1024
        && !name.contains('\\')
        && !name.chars().any(char::is_control)
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !name.split('/').any(|part| part.contains(':'))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(model) => model.fmt(f),
            Self::Folder(path) | Self::File(path) => path.display().fmt(f),
            Self::Builtin(None) => f.write_str("builtin"),
            Self::Builtin(Some(name)) => write!(f, "builtin:{name}"),
        }
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, ":{file}")?;
        }
        Ok(())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
