//! Where the hub is, who asks, and where its models are kept: the variables of `huggingface_hub`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::SourceError;

/// How to reach the hub and its cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// Proof of who asks, for private and gated models.
    pub token: Option<Token>,
    /// Where a token is looked up if none is given; `hf auth login` writes it.
    pub token_file: Option<PathBuf>,
    /// The cache's folder, shared with Python.
    pub cache: PathBuf,
    /// Ask nobody: what is not in the cache is an error.
    pub offline: bool,
    /// Whether a model in the cache is looked up again.
    pub freshness: Freshness,
    /// Attempts after a failed one, counted anew whenever some bytes have come.
    pub retries: u32,
    /// How long to wait before the first of them; doubled each time, up to 16 times as long.
    pub retry_delay: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for the next bytes of an answer.
    pub read_timeout: Duration,
}

/// Whether the hub is asked for news of a model that the cache holds whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// No: a model in the cache is used as it is, without any request.
    #[default]
    Cached,
    /// Yes: the branch is looked up, and what has changed is downloaded. If the hub cannot be reached the cached model
    /// does.
    Latest,
}

/// A secret of the hub; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as the hub's settings page shows it.
    ///
    /// # Errors
    /// [`SourceError::InvalidOption`] if it is empty or holds characters that no token has.
    pub fn new(token: impl Into<String>) -> Result<Self, SourceError> {
        let token = token.into();
        let token = token.trim();
        if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(token.to_owned()));
        }
        Err(SourceError::InvalidOption {
            name: "HF_TOKEN".to_owned(),
            value: "...".to_owned(),
            reason: "a token is printable ASCII without spaces, such as hf_...".to_owned(),
        })
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

impl HubOptions {
    /// The public hub, anonymously, with the cache in a folder of the caller's choice. Reads no environment.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            token_file: None,
            cache: cache.into(),
            offline: false,
            freshness: Freshness::Cached,
            retries: 5,
            retry_delay: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }

    /// As the environment says. Honoured, with the meaning `huggingface_hub` gives them: `HF_ENDPOINT`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_HUB_CACHE` (also under its old
    /// name `HUGGINGFACE_HUB_CACHE`), `HF_HUB_OFFLINE` (also `TRANSFORMERS_OFFLINE`), `HF_HUB_DOWNLOAD_TIMEOUT`; and by
    /// the HTTP client `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`SourceError::InvalidOption`], which names the variable.
    pub fn from_env() -> Result<Self, SourceError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// As the given variables say: [`from_env`](Self::from_env) with another environment.
    ///
    /// # Errors
    /// [`SourceError::InvalidOption`], which names the variable.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, SourceError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let user = var("HOME").or_else(|| var("USERPROFILE")).map(PathBuf::from);
        let path = |value: String| match (value.strip_prefix("~/"), &user) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(value),
        };
        let home = var("HF_HOME")
            .map(path)
            .or_else(|| Some(path(var("XDG_CACHE_HOME")?).join("huggingface")))
            .or_else(|| Some(user.as_ref()?.join(".cache/huggingface")));
        let cache = var("HF_HUB_CACHE").or_else(|| var("HUGGINGFACE_HUB_CACHE")).map(path);
        let cache = cache.or_else(|| Some(home.as_ref()?.join("hub"))).ok_or_else(|| {
            let reason = "without a home folder, HF_HOME must name one for the models".to_owned();
            SourceError::InvalidOption { name: "HOME".to_owned(), value: String::new(), reason }
        })?;
        let mut options = Self::new(cache);
        if let Some(endpoint) = var("HF_ENDPOINT") {
            options.endpoint = endpoint;
        }
        check_endpoint(&mut options.endpoint)?;
        options.token = var("HF_TOKEN").map(Token::new).transpose()?;
        if !var("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
            let kept = |home: &PathBuf| Path::new(home).join("token");
            options.token_file = var("HF_TOKEN_PATH").map(path).or_else(|| home.as_ref().map(kept));
        }
        options.offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .iter()
            .filter_map(|name| var(name))
            .any(|v| is_true(&v));
        if let Some(value) = var("HF_HUB_DOWNLOAD_TIMEOUT") {
            let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
            options.read_timeout = seconds.map(Duration::from_secs).ok_or_else(|| {
                let reason = "a timeout is 1 to 86400 seconds".to_owned();
                SourceError::InvalidOption { name: "HF_HUB_DOWNLOAD_TIMEOUT".to_owned(), value, reason }
            })?;
        }
        Ok(options)
    }

    /// The token given, or the one kept in the token file.
    pub(super) async fn find_token(&self) -> Result<Option<Token>, SourceError> {
        if self.token.is_some() {
            return Ok(self.token.clone());
        }
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        match tokio::fs::read_to_string(path).await {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Token::new(text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::unreadable(path, error)),
        }
    }
}

/// What `huggingface_hub` takes for yes.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// Checks an address and takes the slash off its end.
pub(super) fn check_endpoint(endpoint: &mut String) -> Result<reqwest::Url, SourceError> {
    endpoint.truncate(endpoint.trim_end_matches('/').len());
    let invalid = |reason: &str| SourceError::InvalidOption {
        name: "HF_ENDPOINT".to_owned(),
        value: endpoint.clone(),
        reason: reason.to_owned(),
    };
    let url = reqwest::Url::parse(endpoint).map_err(|error| invalid(&format!("no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(invalid("the hub's address begins with https:// or http://"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)]) -> Result<HubOptions, String> {
        let find = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        HubOptions::from_vars(find).map_err(|error| error.to_string())
    }

    #[test]
    fn the_cache_is_where_python_looks_for_it() {
        let cache = |vars: &[(&str, &str)]| options(vars).unwrap().cache;
        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/m")]), Path::new("/h/m/hub"));
        assert_eq!(cache(&[("HF_HOME", "/m"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        let error = options(&[]).unwrap_err();
        assert_eq!(error, "HOME is \"\": without a home folder, HF_HOME must name one for the models");
    }

    #[test]
    fn values_that_mean_nothing_are_refused_by_name() {
        let error = options(&[("HOME", "/h"), ("HF_ENDPOINT", "hub.local")]).unwrap_err();
        assert!(error.starts_with("HF_ENDPOINT is \"hub.local\": no address"), "{error}");
        let error = options(&[("HOME", "/h"), ("HF_ENDPOINT", "ftp://hub")]).unwrap_err();
        assert!(error.contains("begins with https:// or http://"), "{error}");
        let error = options(&[("HOME", "/h"), ("HF_HUB_DOWNLOAD_TIMEOUT", "soon")]).unwrap_err();
        assert!(error.contains("1 to 86400 seconds"), "{error}");
        let error = options(&[("HOME", "/h"), ("HF_TOKEN", "hf_a b")]).unwrap_err();
        assert!(error.contains("printable ASCII") && !error.contains("hf_a"), "{error}");
    }

    #[test]
    fn offline_and_token_follow_their_variables() {
        let found = options(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "yes"), ("HF_TOKEN", "hf_secret")]).unwrap();
        assert!(found.offline);
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(found.token_file.as_deref(), Some(Path::new("/h/.cache/huggingface/token")));
        let found =
            options(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]);
        let found = found.unwrap();
        assert!(!found.offline && found.token_file.is_none());
    }
}
