//! What the hub and the network refuse, as errors that say what to do.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};

use super::client::HubClient;
use crate::SourceError;

/// What a request was about, for its errors.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Revision(&'a str),
    File { revision: &'a str, name: &'a str },
}

impl HubClient<'_> {
    /// The error that a refusal means.
    pub(super) async fn refusal(&self, mut response: Response, about: About<'_>) -> SourceError {
        let endpoint = self.options.endpoint.clone();
        let repo = self.repo.to_string();
        let status = response.status();
        let code = text(response.headers(), "x-error-code");
        let retry_after = text(response.headers(), "retry-after").and_then(|after| after.parse().ok());
        let message = message(&mut response).await;
        let revision = match about {
            About::Revision(revision) | About::File { revision, .. } => revision.to_owned(),
        };
        match (status, code.as_deref()) {
            (_, Some("GatedRepo")) => {
                let page = self.url(&self.repo.as_str().split('/').collect::<Vec<_>>()).to_string();
                SourceError::Gated { repo, page }
            }
            (StatusCode::UNAUTHORIZED, _) => {
                let advice = match &self.token {
                    Some(_) => {
                        "the token of HF_TOKEN is not accepted for it; make one that may read it, or check the name"
                    }
                    None => {
                        "it is private or does not exist; check the name, or set HF_TOKEN to a token that may read it"
                    }
                };
                SourceError::Unauthorized { endpoint, repo, advice: advice.to_owned() }
            }
            (StatusCode::FORBIDDEN, _) => {
                let advice = "the token of HF_TOKEN may not read it";
                SourceError::Forbidden {
                    endpoint,
                    repo,
                    message: message.unwrap_or_else(|| advice.to_owned()),
                }
            }
            (StatusCode::NOT_FOUND, Some("RevisionNotFound")) => {
                SourceError::RevisionNotFound { repo, revision }
            }
            (StatusCode::NOT_FOUND, code) => match about {
                About::File { name, .. } if code != Some("RepoNotFound") => {
                    SourceError::FileNotFound { repo, revision, file: name.to_owned() }
                }
                _ => SourceError::RepoNotFound { endpoint, repo },
            },
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                SourceError::RateLimited { endpoint, retry_after: retry_after.map(Duration::from_secs) }
            }
            _ => {
                let said = message.map_or_else(String::new, |message| format!(": {message}"));
                answer(response.url(), &format!("{status}{said}"))
            }
        }
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// What the hub says about a refusal, in one short line.
async fn message(response: &mut Response) -> Option<String> {
    let from_header = text(response.headers(), "x-error-message");
    let said = match from_header {
        Some(said) => said,
        None => {
            let mut body = Vec::new();
            while body.len() < 64 << 10
                && let Ok(Some(chunk)) = response.chunk().await
            {
                body.extend_from_slice(&chunk);
            }
            let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
            json.get("error")?.as_str()?.to_owned()
        }
    };
    let line: String = said.lines().next()?.chars().filter(|c| !c.is_control()).take(200).collect();
    (!line.is_empty()).then_some(line)
}

pub(super) fn answer(url: &Url, answer: &str) -> SourceError {
    SourceError::HubAnswer { url: url.to_string(), answer: answer.to_owned() }
}

pub(super) fn network(endpoint: &str, error: reqwest::Error) -> SourceError {
    let reason = innermost(&error);
    SourceError::Network { endpoint: endpoint.to_owned(), reason, source: Some(Box::new(error)) }
}

/// The cause at the bottom of the chain, which says what happened.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
