//! The hub's routes over HTTP.

use std::time::Duration;

use reqwest::header;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::hex;
use super::listing::{Entry, Listing, RepoInfo, TreeItem, into_files, is_file_name};
use super::options::{HubOptions, Token, check_endpoint};
use super::refusal::{About, answer, network, text};
use super::tls::tls;
use crate::{RepoId, SourceError};

/// As many as browsers follow.
const MOST_REDIRECTS: usize = 10;
/// A list of some ten thousand files; no model has more.
const LONGEST_LISTING: usize = 8 << 20;
/// Longer waits than this are the caller's to decide on.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// One repository on the hub.
pub(super) struct HubClient<'a> {
    http: Client,
    endpoint: Url,
    pub(super) options: &'a HubOptions,
    pub(super) repo: &'a RepoId,
    pub(super) token: Option<Token>,
}

impl<'a> HubClient<'a> {
    pub(super) async fn new(options: &'a HubOptions, repo: &'a RepoId) -> Result<Self, SourceError> {
        let mut endpoint = options.endpoint.clone();
        let endpoint = check_endpoint(&mut endpoint)?;
        let token = options.find_token().await?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls(&endpoint)?)
            // Followed here, since the first answer has what the last one lacks: the size and hash of the linked file.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .user_agent(concat!("candlepool/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| network(&options.endpoint, error))?;
        Ok(Self { http, endpoint, options, repo, token })
    }

    /// What the repository holds at a revision.
    pub(super) async fn listing(&self, revision: &str) -> Result<Listing, SourceError> {
        let about = About::Revision(revision);
        let url = self.api_url(&["revision", revision], "blobs=true");
        let info: RepoInfo = match self.json(&url, about).await {
            // A mirror that knows its main branch only under the repository's own address.
            Err(SourceError::RepoNotFound { .. }) if revision == "main" => {
                self.json(&self.api_url(&[], "blobs=true"), about).await?
            }
            answered => answered?,
        };
        let commit = info.sha.clone().filter(|sha| is_file_name(sha));
        let commit = commit.ok_or_else(|| answer(&url, "a list of files without a commit"))?;
        let mut files = info.into_files();
        if files.is_empty() {
            let url = self.api_url(&["tree", &commit], "recursive=true");
            files = into_files(self.json::<Vec<TreeItem>>(&url, about).await?);
        }
        Ok(Listing { commit, files })
    }

    /// The size and blob of one file.
    pub(super) async fn entry(&self, commit: &str, name: &str) -> Result<Entry, SourceError> {
        let url = self.file_url(commit, name);
        let response = self.ask(Method::HEAD, &url, About::File { revision: commit, name }).await?;
        let headers = response.headers();
        let size = text(headers, "x-linked-size").or_else(|| {
            // The length of a redirection is not the file's.
            if response.status().is_success() { text(headers, "content-length") } else { None }
        });
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let etag = etag.filter(|etag| is_file_name(etag)).unwrap_or_else(|| {
            // A plain file server: the commit and the name say as much. As long as git's hash, so that it is not taken
            // for a checksum of the content.
            hex(&Sha256::digest(format!("{commit}/{name}"))[..20])
        });
        Ok(Entry { size: size.and_then(|size| size.parse().ok()), etag: Some(etag) })
    }

    /// The content of one file from a byte on. No retries: the caller keeps what came.
    pub(super) async fn content(&self, commit: &str, name: &str, from: u64) -> Result<Response, SourceError> {
        let response = self.send(Method::GET, &self.file_url(commit, name), from).await?;
        if response.status().is_success() || response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        Err(self.refusal(response, About::File { revision: commit, name }).await)
    }

    /// A JSON answer of the hub.
    async fn json<T: DeserializeOwned>(&self, url: &Url, about: About<'_>) -> Result<T, SourceError> {
        let mut response = self.ask(Method::GET, url, about).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| network(&self.options.endpoint, e))? {
            if body.len() + chunk.len() > LONGEST_LISTING {
                return Err(answer(url, "a list of files that does not end"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body)
            .map_err(|error| answer(url, &format!("something that is no list of files ({error})")))
    }

    fn api_url(&self, rest: &[&str], query: &str) -> Url {
        let mut url = self.url(&["api", "models"]);
        self.push(&mut url, self.repo.as_str());
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(rest);
        }
        url.set_query(Some(query));
        url
    }

    fn file_url(&self, commit: &str, name: &str) -> Url {
        let mut url = self.url(&[]);
        self.push(&mut url, self.repo.as_str());
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("resolve").push(commit);
        }
        self.push(&mut url, name);
        url
    }

    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn push(&self, url: &mut Url, path: &str) {
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.split('/'));
        }
    }

    /// Sends a small request, again where the network or the hub failed for a moment.
    async fn ask(&self, method: Method, url: &Url, about: About<'_>) -> Result<Response, SourceError> {
        let mut left = self.options.retries.min(2);
        let mut delay = self.options.retry_delay;
        loop {
            let (error, passing) = match self.send(method.clone(), url, 0).await {
                Ok(response) if is_answer(&method, response.status()) => return Ok(response),
                Ok(response) => {
                    let status = response.status();
                    let passing = status.is_server_error()
                        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                    (self.refusal(response, about).await, passing)
                }
                Err(error) => {
                    let passing = was_connected(&error);
                    (error, passing)
                }
            };
            let pause = match &error {
                SourceError::RateLimited { retry_after: Some(after), .. } => *after,
                _ if passing => delay,
                _ => return Err(error),
            };
            if left == 0 || pause > LONGEST_RETRY_AFTER {
                return Err(error);
            }
            tracing::debug!(%url, %error, "asking again");
            tokio::time::sleep(pause).await;
            left -= 1;
            delay *= 2;
        }
    }

    /// Sends one request and follows redirections: a HEAD within the hub only, since the first answer that leads
    /// elsewhere describes the file; the token never goes to another host.
    async fn send(&self, method: Method, url: &Url, from: u64) -> Result<Response, SourceError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let at_hub = url.origin() == self.endpoint.origin();
            let mut request =
                self.http.request(method.clone(), url.clone()).header(header::ACCEPT_ENCODING, "identity");
            if let (true, Some(token)) = (at_hub, &self.token) {
                request = request.bearer_auth(token.secret());
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.send().await.map_err(|error| network(&self.options.endpoint, error))?;
            let location =
                text(response.headers(), "location").filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return Ok(response);
            };
            let next = url.join(&location).map_err(|_| answer(&url, "a redirection that leads nowhere"))?;
            if !matches!(next.scheme(), "http" | "https") {
                return Err(answer(&url, "a redirection to another protocol"));
            }
            if method == Method::HEAD && next.origin() != self.endpoint.origin() {
                return Ok(response);
            }
            // A HEAD that is linked within the hub's own host is described here too.
            if method == Method::HEAD && response.headers().contains_key("x-linked-etag") {
                return Ok(response);
            }
            url = next;
        }
        Err(answer(&url, "redirections without end"))
    }
}

/// Whether somebody answered at all; if not, nobody will a second later.
fn was_connected(error: &SourceError) -> bool {
    match error {
        SourceError::Network { source: Some(source), .. } => {
            !source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
        }
        _ => false,
    }
}

/// Whether this is what was asked for. A server that knows no HEAD says nothing of the file, but serves it.
fn is_answer(method: &Method, status: StatusCode) -> bool {
    let no_head = matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
    status.is_success() || status.is_redirection() || (*method == Method::HEAD && no_head)
}
