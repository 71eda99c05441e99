//! A small server that speaks the hub's routes, on two addresses as the hub does: one for the repositories, one that
//! large files are redirected to. It remembers every request and can be told to fail.
//!
//! It needs axum, tokio, futures, serde_json and sha2, and nothing of this crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use futures::stream;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The commit that `main` stands for at first.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Who may read a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Access {
    #[default]
    Public,
    /// Invisible without this token.
    Private(String),
    /// Listed for all, its files only for this token.
    Gated(String),
}

/// A repository.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) files: BTreeMap<String, Bytes>,
    pub(crate) commit: String,
    pub(crate) access: Access,
}

impl Repo {
    pub(crate) fn new<N: Into<String>, C: Into<Bytes>>(files: impl IntoIterator<Item = (N, C)>) -> Self {
        let files = files.into_iter().map(|(name, content)| (name.into(), content.into())).collect();
        Self { files, commit: COMMIT.to_owned(), access: Access::Public }
    }

    pub(crate) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    #[expect(dead_code, reason = "shown by Debug where an assertion fails")]
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Whether it came to the address of large files.
    pub(crate) at_store: bool,
}

/// What goes wrong, for the content of one file, so many times.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection breaks after so many bytes of the answer.
    Cut(usize),
    /// An answer with this status.
    Status(u16),
    /// Another content of the same length.
    Damage,
    /// Ranges are ignored: the whole file comes, with status 200.
    IgnoreRange,
    /// The answer waits so long.
    Slow(Duration),
}

#[derive(Default)]
struct Shared {
    repos: BTreeMap<String, Repo>,
    seen: Vec<Seen>,
    faults: BTreeMap<String, Vec<Fault>>,
    bare_listing: bool,
    store: Option<SocketAddr>,
}

/// The running server; it ends when dropped.
pub(crate) struct HubServer {
    shared: Arc<Mutex<Shared>>,
    hub: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl HubServer {
    /// Starts with some repositories.
    pub(crate) async fn start<N: Into<String>>(repos: impl IntoIterator<Item = (N, Repo)>) -> Self {
        let repos = repos.into_iter().map(|(name, repo)| (name.into(), repo)).collect();
        let shared = Arc::new(Mutex::new(Shared { repos, ..Shared::default() }));
        let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = hub.local_addr().unwrap();
        shared.lock().unwrap().store = Some(store.local_addr().unwrap());
        let hub_router = Router::new().fallback(answer_hub).with_state(shared.clone());
        let store_router = Router::new().fallback(answer_store).with_state(shared.clone());
        let tasks = [
            tokio::spawn(async move { axum::serve(hub, hub_router).await.unwrap() }),
            tokio::spawn(async move { axum::serve(store, store_router).await.unwrap() }),
        ];
        Self { shared, hub: address, tasks }
    }

    /// What `HF_ENDPOINT` is to be.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    /// Lists come without sizes and hashes, as from a simple mirror.
    pub(crate) fn list_names_only(&self) {
        self.shared.lock().unwrap().bare_listing = true;
    }

    /// Replaces a repository.
    pub(crate) fn put(&self, name: &str, repo: Repo) {
        self.shared.lock().unwrap().repos.insert(name.to_owned(), repo);
    }

    /// The next answers with the content of `file` go wrong, one after the other.
    pub(crate) fn fail(&self, file: &str, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().unwrap().faults.entry(file.to_owned()).or_default().extend(faults);
    }

    /// Takes the requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.lock().unwrap().seen)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

type Answer = Response<Body>;

async fn answer_hub(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    remember(&shared, &method, &uri, &headers, false);
    let path = uri.path().trim_start_matches('/').to_owned();
    if let Some((name, revision)) =
        path.strip_prefix("api/models/").and_then(|rest| rest.split_once("/tree/"))
    {
        return tree(&shared, name, revision, &headers);
    }
    if let Some(rest) = path.strip_prefix("api/models/") {
        let (name, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
        return listing(&shared, name, revision, &headers);
    }
    let Some((name, rest)) = path.split_once("/resolve/") else {
        return refuse(404, None, "Not Found");
    };
    let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
    let found = find(&shared, name, revision, &headers);
    let repo = match found {
        Ok(repo) => repo,
        Err(refusal) => return *refusal,
    };
    if matches!(&repo.access, Access::Gated(token) if bearer(&headers) != Some(token)) {
        return refuse(403, Some("GatedRepo"), "Access to this model is restricted.");
    }
    let Some(content) = repo.files.get(file) else {
        return refuse(404, Some("EntryNotFound"), "Entry not found");
    };
    let etag = format!("\"{}\"", etag(file, content));
    let mut answer = if is_large(file) {
        let store = shared.lock().unwrap().store.unwrap();
        let mut answer = status(302, Body::empty());
        let location = format!("http://{store}/{name}/{file}");
        insert(&mut answer, "location", &location);
        insert(&mut answer, "x-linked-etag", &etag);
        insert(&mut answer, "x-linked-size", &content.len().to_string());
        // Not the file's own, as on the hub.
        insert(&mut answer, "etag", "\"of-the-redirection\"");
        answer
    } else {
        let mut answer = serve(&shared, file, content.clone(), &headers, &method).await;
        insert(&mut answer, "etag", &etag);
        answer
    };
    insert(&mut answer, "x-repo-commit", &repo.commit);
    answer
}

async fn answer_store(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    remember(&shared, &method, &uri, &headers, true);
    let path = uri.path().trim_start_matches('/').to_owned();
    let found = {
        let shared = shared.lock().unwrap();
        shared.repos.iter().find_map(|(name, repo)| {
            let file = path.strip_prefix(name.as_str())?.strip_prefix('/')?;
            Some((file.to_owned(), repo.files.get(file)?.clone()))
        })
    };
    match found {
        Some((file, content)) => serve(&shared, &file, content, &headers, &method).await,
        None => refuse(404, None, "Not Found"),
    }
}

/// The content of a file, or the fault that is next.
async fn serve(
    shared: &Mutex<Shared>,
    file: &str,
    content: Bytes,
    headers: &HeaderMap,
    method: &Method,
) -> Answer {
    if *method == Method::HEAD {
        let mut answer = status(200, Body::empty());
        insert(&mut answer, "content-length", &content.len().to_string());
        return answer;
    }
    let fault = {
        let mut shared = shared.lock().unwrap();
        let faults = shared.faults.get_mut(file).filter(|faults| !faults.is_empty());
        faults.map(|faults| faults.remove(0))
    };
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let from = if matches!(fault, Some(Fault::IgnoreRange)) { None } else { from };
    let total = content.len();
    let mut answer = match from {
        Some(from) if from >= total => return refuse(416, None, "Range Not Satisfiable"),
        Some(from) => {
            let mut answer = status(206, Body::empty());
            insert(&mut answer, "content-range", &format!("bytes {from}-{}/{total}", total - 1));
            answer
        }
        None => status(200, Body::empty()),
    };
    let part = content.slice(from.unwrap_or(0)..);
    insert(&mut answer, "content-length", &part.len().to_string());
    *answer.body_mut() = match fault {
        Some(Fault::Cut(after)) => {
            let part = part.slice(..after.min(part.len()));
            // The bytes first, and a while later the break: an error at once would take the bytes with it.
            Body::from_stream(stream::unfold(Some(part), |part| async move {
                match part {
                    Some(part) if !part.is_empty() => Some((Ok(part), Some(Bytes::new()))),
                    Some(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        Some((Err(std::io::Error::other("cut")), None))
                    }
                    None => None,
                }
            }))
        }
        Some(Fault::Status(code)) => return refuse(code, None, "planted"),
        Some(Fault::Damage) => Body::from(part.iter().map(|byte| !byte).collect::<Vec<u8>>()),
        Some(Fault::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            Body::from(part)
        }
        Some(Fault::IgnoreRange) | None => Body::from(part),
    };
    answer
}

fn listing(shared: &Mutex<Shared>, name: &str, revision: &str, headers: &HeaderMap) -> Answer {
    let repo = match find(shared, name, &revision.replace("%2F", "/"), headers) {
        Ok(repo) => repo,
        Err(refusal) => return *refusal,
    };
    let bare = shared.lock().unwrap().bare_listing;
    let siblings: Vec<_> = repo
        .files
        .iter()
        .map(|(file, content)| match (bare, is_large(file)) {
            (true, _) => json!({ "rfilename": file }),
            (false, false) => {
                json!({ "rfilename": file, "size": content.len(), "blobId": etag(file, content) })
            }
            (false, true) => json!({
                "rfilename": file, "size": content.len(), "blobId": "ffffffffffffffffffffffffffffffffffffffff",
                "lfs": { "sha256": etag(file, content), "size": content.len(), "pointerSize": 134 },
            }),
        })
        .collect();
    let body = json!({ "id": name, "modelId": name, "sha": repo.commit, "siblings": siblings });
    let mut answer = status(200, Body::from(body.to_string()));
    insert(&mut answer, "content-type", "application/json");
    answer
}

/// The files as a tree, which Python's client asks for; ours does not where the other list will do.
fn tree(shared: &Mutex<Shared>, name: &str, revision: &str, headers: &HeaderMap) -> Answer {
    let repo = match find(shared, name, &revision.replace("%2F", "/"), headers) {
        Ok(repo) => repo,
        Err(refusal) => return *refusal,
    };
    let entry = |(file, content): (&String, &Bytes)| {
        let mut entry =
            json!({ "type": "file", "path": file, "size": content.len(), "oid": etag(file, content) });
        if is_large(file) {
            entry["oid"] = json!("ffffffffffffffffffffffffffffffffffffffff");
            entry["lfs"] = json!({ "oid": etag(file, content), "size": content.len(), "pointerSize": 134 });
        }
        entry
    };
    let entries: Vec<_> = repo.files.iter().map(entry).collect();
    let mut answer = status(200, Body::from(json!(entries).to_string()));
    insert(&mut answer, "content-type", "application/json");
    answer
}

fn find(
    shared: &Mutex<Shared>,
    name: &str,
    revision: &str,
    headers: &HeaderMap,
) -> Result<Repo, Box<Answer>> {
    let shared = shared.lock().unwrap();
    let visible = shared.repos.get(name).filter(|repo| match &repo.access {
        Access::Private(token) => bearer(headers) == Some(token),
        Access::Public | Access::Gated(_) => true,
    });
    let Some(repo) = visible else {
        // As on the hub: who shows no token is not told whether it exists.
        return Err(Box::new(match bearer(headers) {
            None => refuse(401, Some("RepoNotFound"), "Repository not found"),
            Some("bad") => refuse(401, None, "Invalid credentials in Authorization header"),
            Some(_) => refuse(404, Some("RepoNotFound"), "Repository not found"),
        }));
    };
    if revision != "main" && revision != repo.commit {
        return Err(Box::new(refuse(404, Some("RevisionNotFound"), "Invalid rev id")));
    }
    Ok(repo.clone())
}

fn remember(shared: &Mutex<Shared>, method: &Method, uri: &Uri, headers: &HeaderMap, at_store: bool) {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    shared.lock().unwrap().seen.push(Seen {
        method: method.clone(),
        path: uri.path().to_owned(),
        range: text(header::RANGE),
        authorization: text(header::AUTHORIZATION),
        at_store,
    });
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Which files the hub keeps apart.
fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".gguf") || file.ends_with(".bin")
}

/// The SHA-256 of a large file; forty digits, as git's hash has, of a small one.
pub(crate) fn etag(file: &str, content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let hex = hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if is_large(file) { hex } else { hex[..40].to_owned() }
}

fn refuse(code: u16, error: Option<&str>, message: &str) -> Answer {
    let mut answer = status(code, Body::from(json!({ "error": message }).to_string()));
    if let Some(error) = error {
        insert(&mut answer, "x-error-code", error);
        insert(&mut answer, "x-error-message", message);
    }
    answer
}

fn status(code: u16, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}

fn insert(answer: &mut Answer, name: &'static str, value: &str) {
    answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
}
