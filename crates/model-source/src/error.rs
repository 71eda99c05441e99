//! What can go wrong between a source's name and a loaded model, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a source could not be resolved or one of its files not be used. Each message is one line: what, why, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The source is misspelt, or of a kind that is never read.
    #[error("{given:?} is no model source: {reason}")]
    InvalidSource {
        /// What was given.
        given: String,
        /// What is wrong with it, or what to write instead.
        reason: String,
    },

    /// An environment variable or option has a value that cannot be used.
    #[error("{name} is {value:?}: {reason}")]
    InvalidOption {
        /// The variable or option.
        name: String,
        /// Its value.
        value: String,
        /// What is accepted.
        reason: String,
    },

    /// A device or number type that this build or machine does not have.
    #[error("{what} is not available: {reason}")]
    Unsupported {
        /// The device or number type.
        what: String,
        /// Why, and what to use instead.
        reason: String,
    },

    /// No compiled-in model of that name, or none for that modality.
    #[error("there is no built-in {wanted}; there {known}")]
    UnknownBuiltin {
        /// `model NAME`, or `model for MODALITY`.
        wanted: String,
        /// `is none`, or `are NAMES`.
        known: String,
    },

    /// A local path that does not exist.
    #[error("{} does not exist{hint}", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// What may have been meant; empty, or beginning with a semicolon.
        hint: String,
    },

    /// A local file or folder that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The model's cache cannot be written.
    #[error("cannot write {}: {source}; make room or set HF_HUB_CACHE to another folder", path.display())]
    CacheUnwritable {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The source lacks a file that the model needs.
    #[error("{place} has no {file}{hint}")]
    MissingFile {
        /// The folder, repository or built-in model.
        place: String,
        /// The file, or what kind of file.
        file: String,
        /// What to do; empty, or beginning with a semicolon or comma.
        hint: String,
    },

    /// The weights exist as pickle only, which can run code and is never read.
    #[error(
        "{place} has its weights as pickle only ({file}), which is never read; convert them to safetensors"
    )]
    PickleOnly {
        /// The folder or repository.
        place: String,
        /// One of the pickle files.
        file: String,
    },

    /// Several weights files, and no rule that says which one is meant.
    #[error("{place} has several weights files: {names}; name one: {example}")]
    Ambiguous {
        /// The folder or repository.
        place: String,
        /// Some of them.
        names: String,
        /// How to name one.
        example: String,
    },

    /// A file whose content is damaged or not what its name says.
    #[error("{file} {reason}")]
    InvalidFile {
        /// The file, with its folder where it has one.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },

    /// A JSON file that lacks a field or has one of the wrong type.
    #[error("{file} is not valid: {reason}")]
    InvalidJson {
        /// The file, with its folder where it has one.
        file: String,
        /// The field and what is wrong with it.
        reason: String,
    },

    /// The weights have no tensor of that name.
    #[error("the weights {file} have no tensor {tensor:?}; they are of another architecture or incomplete")]
    MissingTensor {
        /// The weights file, or the first of them.
        file: String,
        /// The name looked for.
        tensor: String,
    },

    /// A tensor of another shape than the configuration says.
    #[error("tensor {tensor:?} in {file} has shape {found:?}, the configuration wants {wanted:?}")]
    ShapeMismatch {
        /// The weights file.
        file: String,
        /// Which tensor.
        tensor: String,
        /// The shape stored.
        found: Vec<usize>,
        /// The shape that follows from the configuration.
        wanted: Vec<usize>,
    },

    /// A tensor of a number type that cannot be used here.
    #[error("tensor {tensor:?} in {file} is {found}, which cannot be used here")]
    DtypeMismatch {
        /// The weights file.
        file: String,
        /// Which tensor.
        tensor: String,
        /// The stored type.
        found: String,
    },

    /// The hub does not know the repository.
    #[error("{endpoint} has no model {repo}; check the name")]
    RepoNotFound {
        /// Which hub.
        endpoint: String,
        /// `owner/name`.
        repo: String,
    },

    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision {revision:?}; name a branch, a tag or a commit of it")]
    RevisionNotFound {
        /// `owner/name`.
        repo: String,
        /// The revision asked for.
        revision: String,
    },

    /// The repository has no such file.
    #[error("{repo} has no file {file:?} at revision {revision}")]
    FileNotFound {
        /// `owner/name`.
        repo: String,
        /// The revision looked at.
        revision: String,
        /// The file asked for.
        file: String,
    },

    /// The hub wants a token, or another one.
    #[error("{endpoint} refused {repo} (401): {advice}")]
    Unauthorized {
        /// Which hub.
        endpoint: String,
        /// `owner/name`.
        repo: String,
        /// What to do about the token.
        advice: String,
    },

    /// The model's terms must be accepted first.
    #[error("{repo} is gated: accept its terms at {page} and set HF_TOKEN to a token of that account")]
    Gated {
        /// `owner/name`.
        repo: String,
        /// Where the terms are.
        page: String,
    },

    /// The token may not read the repository, or the repository is disabled.
    #[error("{endpoint} forbids {repo} (403): {message}")]
    Forbidden {
        /// Which hub.
        endpoint: String,
        /// `owner/name`.
        repo: String,
        /// What the hub said, or what to do.
        message: String,
    },

    /// The hub asks to come back later.
    #[error("{endpoint} limits the rate of requests (429); try again {}", later(.retry_after))]
    RateLimited {
        /// Which hub.
        endpoint: String,
        /// When, if it said so.
        retry_after: Option<Duration>,
    },

    /// The hub cannot be reached.
    #[error("cannot reach {endpoint}: {reason}; check the network and HF_ENDPOINT, or name a local folder")]
    Network {
        /// Which host.
        endpoint: String,
        /// The innermost cause.
        reason: String,
        /// The whole chain.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The hub answered with something unexpected.
    #[error("{url} answered {answer}; try again later, or check HF_ENDPOINT")]
    HubAnswer {
        /// The address asked.
        url: String,
        /// The status or what is wrong with the body.
        answer: String,
    },

    /// A download ended early, again and again. What came is kept.
    #[error(
        "the download of {file} from {repo} stopped at {received} of {expected} bytes: {reason}; run it again to resume"
    )]
    Truncated {
        /// `owner/name`.
        repo: String,
        /// Which file.
        file: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes it should have.
        expected: u64,
        /// Why it stopped.
        reason: String,
    },

    /// A download is complete but not what the hub's checksum says. It was thrown away.
    #[error("the download of {file} from {repo} is damaged: {reason}; it was discarded, run it again")]
    Damaged {
        /// `owner/name`.
        repo: String,
        /// Which file.
        file: String,
        /// The checksum or size expected and found.
        reason: String,
    },

    /// Offline mode, and the cache does not hold the whole model.
    #[error("HF_HUB_OFFLINE is set and {missing} in the cache at {}; unset it to download", cache.display())]
    Offline {
        /// What is not there.
        missing: String,
        /// The cache looked into.
        cache: PathBuf,
    },
}

fn later(after: &Option<Duration>) -> String {
    match after {
        Some(after) => format!("in {} s", after.as_secs().max(1)),
        None => "later".to_owned(),
    }
}

impl SourceError {
    pub(crate) fn invalid_source(given: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidSource { given: given.into(), reason: reason.into() }
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source }
    }

    pub(crate) fn unwritable(path: &Path, source: io::Error) -> Self {
        Self::CacheUnwritable { path: path.to_owned(), source }
    }

    /// Why it failed, without what to do about it: for whoever does that already.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Truncated { reason, .. } | Self::Damaged { reason, .. } | Self::Network { reason, .. } => {
                reason.clone()
            }
            Self::HubAnswer { url, answer } => format!("{url} answered {answer}"),
            Self::RateLimited { endpoint, .. } => format!("{endpoint} limits the rate of requests (429)"),
            other => other.to_string(),
        }
    }

    /// Whether trying the same again later may succeed: the network or the hub failed, not the request.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Network { .. }
                | Self::HubAnswer { .. }
                | Self::Truncated { .. }
                | Self::Damaged { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_gives_no_advice() {
        let reason = || "the connection was closed".to_owned();
        let (repo, file) = ("o/n".to_owned(), "f".to_owned());
        let truncated = SourceError::Truncated { repo, file, received: 1, expected: 2, reason: reason() };
        assert!(truncated.to_string().ends_with("run it again to resume"));
        assert_eq!(truncated.reason(), reason());
        let endpoint = "http://hub".to_owned();
        let limited = SourceError::RateLimited { endpoint, retry_after: None };
        assert_eq!(limited.reason(), "http://hub limits the rate of requests (429)");
    }
}
