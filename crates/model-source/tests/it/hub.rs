//! Hub models, against a local server that speaks the hub's routes.

mod cache;
mod download;
mod refusal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use axum::http::Method;
use model_source::{
    Freshness, HubOptions, ModelFiles, Progress, Source, SourceError, Token, Wanted, Weights, verify_blob,
};
use tempfile::TempDir;

use crate::hub_server::{Access, COMMIT, Fault, HubServer, Repo, etag};
use crate::safetensors_files::{TOKENIZER, safetensors};

const MODULES: &str =
    r#"[{"idx":0,"name":"0","path":"","type":"T"},{"idx":1,"name":"1","path":"1_Pooling","type":"P"}]"#;

/// Large enough to be cut in several places.
fn weights() -> Vec<u8> {
    safetensors(&[("w", &[300, 1000])])
}

fn repo() -> Repo {
    Repo::new([
        ("config.json", br#"{"hidden_size":8}"#.to_vec()),
        ("tokenizer.json", TOKENIZER.as_bytes().to_vec()),
        ("modules.json", MODULES.as_bytes().to_vec()),
        ("1_Pooling/config.json", br#"{"pooling_mode_mean_tokens":true}"#.to_vec()),
        ("model.safetensors", weights()),
        ("pytorch_model.bin", b"never fetched".to_vec()),
        ("onnx/model.onnx", b"never fetched".to_vec()),
        ("onnx/config.json", b"never fetched".to_vec()),
        ("README.md", b"never fetched".to_vec()),
    ])
}

/// A server with `owner/name`, an empty cache, and options that try again without much delay.
async fn hub(repo: Repo) -> (HubServer, TempDir, HubOptions) {
    let server = HubServer::start([("owner/name", repo)]).await;
    let cache = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(cache.path().join("hub"));
    options.endpoint = server.endpoint();
    options.retry_delay = Duration::from_millis(5);
    (server, cache, options)
}

async fn resolve(source: &str, options: &HubOptions) -> Result<ModelFiles, SourceError> {
    resolve_with(source, options, &()).await
}

async fn resolve_with(
    source: &str,
    options: &HubOptions,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    let source: Source = source.parse()?;
    source.resolve(&Wanted::model("text-to-text"), options, progress).await
}

async fn refusal(source: &str, options: &HubOptions) -> String {
    let error = resolve(source, options).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn blobs(options: &HubOptions) -> PathBuf {
    options.cache.join("models--owner--name/blobs")
}

fn incomplete(options: &HubOptions) -> PathBuf {
    blobs(options).join(format!("{}.incomplete", etag("model.safetensors", &weights())))
}

#[derive(Default)]
struct Heard {
    planned: Mutex<Vec<(usize, u64)>>,
    received: Mutex<BTreeMap<String, Vec<(u64, u64)>>>,
    finished: Mutex<Vec<String>>,
    waiting: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn planned(&self, files: usize, bytes: u64) {
        self.planned.lock().unwrap().push((files, bytes));
    }
    fn received(&self, file: &str, done: u64, total: u64) {
        self.received.lock().unwrap().entry(file.to_owned()).or_default().push((done, total));
    }
    fn finished(&self, file: &str) {
        self.finished.lock().unwrap().push(file.to_owned());
    }
    fn waiting(&self, file: &str) {
        self.waiting.lock().unwrap().push(file.to_owned());
    }
}
