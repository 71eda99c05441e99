//! `hf:` sources at the command line: the first download, the cache that Python shares, and all that can go wrong.
//!
//! How each answer of a hub is taken is tested in `model-source`; here, that a user is told, and served, right.

#[cfg(target_os = "linux")]
mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::binary::{PATIENCE, apart, candlepool, embeddings, failed, finish, run, stderr, stdout};
use crate::hub_server::{Access, COMMIT, Fault, HubServer, Repo, Seen, etag};
use crate::models::{checkpoint, files};
use crate::python::python;
use crate::turns::beside;

const SOURCE: &str = "hf:owner/tiny";
const WEIGHTS: &str = "model.safetensors";

/// A hub with `owner/tiny`, and an empty cache.
struct Hub {
    server: HubServer,
    home: TempDir,
}

fn tiny() -> Repo {
    Repo::new(files(&checkpoint("pool-mean")))
}

impl Hub {
    async fn start() -> Self {
        Self { server: HubServer::start([("owner/tiny", tiny())]).await, home: tempfile::tempdir().unwrap() }
    }

    /// The command, with this hub and this cache.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = candlepool();
        command.args(arguments);
        self.point(&mut command);
        command
    }

    fn point(&self, command: &mut Command) {
        command.env("HF_ENDPOINT", self.server.endpoint()).env("HF_HOME", self.home.path());
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments)).await
    }

    /// Runs offline.
    async fn offline(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.env("HF_HUB_OFFLINE", "1");
        finish(command).await
    }

    /// Runs with a token.
    async fn with_token(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.env("HF_TOKEN", token);
        finish(command).await
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--owner--tiny")
    }

    /// The blob of the weights, whole or not.
    fn blob(&self, suffix: &str) -> PathBuf {
        let weights = std::fs::read(checkpoint("pool-mean").join(WEIGHTS)).unwrap();
        let name = format!("{}{suffix}", etag(WEIGHTS, &weights));
        self.repository().join("blobs").join(name)
    }

    /// Whether the weights have their name in the snapshot, so that they would be loaded.
    fn has_weights(&self) -> bool {
        let snapshot = self.repository().join("snapshots").join(COMMIT);
        snapshot.join(WEIGHTS).symlink_metadata().is_ok()
    }
}

/// What the checkpoint gives without any hub.
async fn expected() -> Vec<Vec<f32>> {
    let folder = checkpoint("pool-mean");
    embeddings(&run([Path::new("embed"), Path::new("--model"), &folder, Path::new("text")]).await)
}

#[track_caller]
fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(apart(found, expected) < 1e-6);
    }
}

#[tokio::test]
async fn a_model_is_downloaded_once_and_then_asks_nobody() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    let first = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_eq!(stderr(&first), "", "bars are for terminals");
    assert_same(&embeddings(&first), &expected().await);
    assert!(!hub.server.take_seen().is_empty());

    let second = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&second), &expected().await);
    let offline = hub.offline(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&offline), &expected().await);
    assert!(hub.server.take_seen().is_empty(), "the cache was not enough");

    // `pull` looks for news, and brings no file again.
    let pulled = hub.run(&["pull", SOURCE]).await;
    let place = PathBuf::from(stdout(&pulled).trim_end());
    assert_eq!(place, hub.repository().join("snapshots").join(COMMIT));
    let seen = hub.server.take_seen();
    assert!(!seen.is_empty() && !seen.iter().any(|request| request.at_store), "{seen:?}");
    // What it prints is a model too.
    let place = place.to_str().unwrap();
    let from_folder = hub.run(&["embed", "--model", place, "text"]).await;
    assert_same(&embeddings(&from_folder), &expected().await);
    let listed = hub.run(&["list"]).await;
    assert!(stdout(&listed).contains(SOURCE), "{}", stdout(&listed));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_first_download_shows_its_progress_on_a_terminal() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    hub.server.fail(WEIGHTS, [Fault::Slow(Duration::from_millis(800))]);
    let (status, shown, out) = terminal::run(hub.command(&["pull", SOURCE])).await;
    assert!(status.success(), "{shown}");
    assert!(out.trim_end().ends_with(COMMIT), "{out}");
    assert!(!out.contains("KiB"), "progress on standard output: {out}");
    // The repository has some 70 kB, 60,800 bytes of them weights.
    assert!(shown.contains("KiB/") && shown.contains(".json"), "{shown:?}");
    let (status, shown, _) = terminal::run(hub.command(&["embed", "--model", SOURCE, "text"])).await;
    assert!(status.success() && !shown.contains("KiB/"), "{shown:?}");
}

#[tokio::test]
async fn a_download_that_is_killed_goes_on_where_it_was_and_is_never_loaded_half() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    const CAME: usize = 40_000;
    // The connection breaks, and while the command waits for the next one it is killed.
    hub.server.fail(WEIGHTS, [Fault::Cut(CAME), Fault::Slow(Duration::from_secs(600))]);
    let mut child =
        hub.command(&["pull", SOURCE]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let waiting = async {
        let resumes = |request: &Seen| request.at_store && request.range.is_some();
        while !hub.server.take_seen().iter().any(resumes) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it does not try again");
    child.kill().await.unwrap();
    assert_eq!(hub.blob(".incomplete").metadata().unwrap().len(), CAME as u64);
    assert!(!hub.has_weights() && !hub.blob("").exists());

    let output = hub.offline(&["embed", "--model", SOURCE, "text"]).await;
    let told = failed(&output, 1);
    assert!(told.contains("HF_HUB_OFFLINE is set"), "{told}");
    if let Some(mut python) = python("hub_cache.py") {
        hub.point(&mut python);
        python.args(["lacks", "owner/tiny", WEIGHTS]);
        let output = finish(python).await;
        assert!(output.status.success(), "{}", stderr(&output));
    }

    let pulled = hub.run(&["pull", SOURCE]).await;
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    let seen = hub.server.take_seen();
    let ranges: Vec<_> = seen.iter().filter(|r| r.at_store).map(|r| r.range.as_deref()).collect();
    assert_eq!(ranges, [Some(format!("bytes={CAME}-").as_str())]);
    assert!(!hub.blob(".incomplete").exists());
    let output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&output), &expected().await);
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_within_one_run() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    hub.server.fail(WEIGHTS, [Fault::Cut(10_000), Fault::Status(503), Fault::Cut(20_000)]);
    let output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&output), &expected().await);
    let seen = hub.server.take_seen();
    let ranges: Vec<_> = seen.iter().filter(|r| r.at_store).map(|r| r.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=10000-"), Some("bytes=10000-"), Some("bytes=30000-")]);
}

#[tokio::test]
async fn a_file_that_stays_truncated_fails_and_is_never_loaded() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    // As often as it tries; some 16 s.
    let cuts = std::iter::once(Fault::Cut(5_000)).chain(std::iter::repeat_n(Fault::Cut(0), 20));
    hub.server.fail(WEIGHTS, cuts);
    let mut output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    // Each new attempt is logged; the failure itself is one line after them.
    let told = stderr(&output).to_owned();
    let (attempts, failure) = told.split_at(told.trim_end().rfind('\n').unwrap() + 1);
    assert!(attempts.lines().all(|line| line.contains(" WARN ")), "{attempts}");
    output.stderr = failure.into();
    let told = failed(&output, 1);
    assert!(
        told.contains("model.safetensors")
            && told.contains("5000 of 60800 bytes")
            && told.contains("to resume"),
        "{told}"
    );
    assert!(!hub.has_weights());
}

#[tokio::test]
async fn a_damaged_file_fails_and_is_never_loaded() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    hub.server.fail(WEIGHTS, [Fault::Damage]);
    let output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    let told = failed(&output, 1);
    assert!(told.contains(WEIGHTS) && told.contains("SHA-256"), "{told}");
    assert!(!hub.has_weights() && !hub.blob("").exists());
    // The hub is well again.
    let output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&output), &expected().await);
}

#[tokio::test]
async fn a_blob_that_was_cut_short_in_the_cache_is_never_loaded() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    assert!(hub.run(&["pull", SOURCE]).await.status.success());
    let whole = std::fs::read(hub.blob("")).unwrap();
    std::fs::write(hub.blob(""), &whole[..whole.len() / 2]).unwrap();
    let output = hub.offline(&["embed", "--model", SOURCE, "text"]).await;
    let told = failed(&output, 1);
    assert!(told.contains(WEIGHTS), "{told}");
    let output = hub.run(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&output), &expected().await);
    assert_eq!(std::fs::read(hub.blob("")).unwrap(), whole);
}

#[tokio::test]
async fn what_the_hub_refuses_is_told_with_what_to_do() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    let good = || "hf_good".to_owned();
    hub.server.put("owner/private", tiny().access(Access::Private(good())));
    hub.server.put("owner/gated", tiny().access(Access::Gated(good())));
    let output = hub.run(&["pull", "hf:owner/private"]).await;
    let told = failed(&output, 1);
    assert!(told.contains("(401)") && told.contains("set HF_TOKEN"), "{told}");
    let output = hub.with_token("hf_other", &["embed", "--model", "hf:owner/absent", "a"]).await;
    let told = failed(&output, 1);
    assert!(told.contains("has no model owner/absent; check the name"), "{told}");
    let gated = ["embed", "--model", "hf:owner/gated", "text"];
    for output in [hub.run(&gated).await, hub.with_token("hf_other", &gated).await] {
        let told = failed(&output, 1);
        assert!(told.contains("is gated: accept its terms at"), "{told}");
        assert!(!told.contains("hf_other"), "a token is told: {told}");
    }
    let output = hub.run(&["pull", "hf:owner/tiny@v9"]).await;
    assert!(failed(&output, 1).contains("has no revision \"v9\""));
    let output = hub.run(&["pull", "hf:owner/tiny:other.safetensors"]).await;
    assert!(failed(&output, 1).contains("has no other.safetensors"));
    let output = hub.offline(&["embed", "--model", SOURCE, "text"]).await;
    assert!(failed(&output, 1).contains("HF_HUB_OFFLINE is set and owner/tiny"));
    let output = hub.with_token("not a token", &["pull", SOURCE]).await;
    let told = failed(&output, 1);
    assert!(told.contains("HF_TOKEN") && !told.contains("not a token"), "{told}");
    let mut nowhere = hub.command(&["pull", SOURCE]);
    nowhere.env("HF_ENDPOINT", "not an address");
    let output = finish(nowhere).await;
    assert!(failed(&output, 1).contains("HF_ENDPOINT"));

    let output = hub.with_token("hf_good", &gated).await;
    assert_same(&embeddings(&output), &expected().await);
}

#[tokio::test]
async fn a_server_downloads_behind_its_back_and_says_so_meanwhile() {
    use crate::server::Server;
    use serde_json::json;
    let _turn = beside().await;
    let hub = Hub::start().await;
    hub.server.fail(WEIGHTS, [Fault::Slow(Duration::from_secs(3))]);
    let model = format!("tiny=text-embedding:{SOURCE}");
    let server = Server::of(hub.command(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--model",
        &model,
    ]))
    .await;
    assert_eq!(server.get("/ready").await.status, 503);
    assert_eq!(server.pool().await["state"], "resolving");
    // A request waits for a short download rather than be refused.
    let answer = server.post("/v1/embeddings", &json!({"model": "tiny", "input": "text"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let vector = crate::binary::vectors(&json!([answer.json()["data"][0]["embedding"]]));
    assert_same(&vector, &expected().await);
    assert_eq!(server.get("/ready").await.status, 200);
}

#[tokio::test]
async fn python_reads_the_cache_and_its_own_downloads_are_read() {
    let _turn = beside().await;
    let hub = Hub::start().await;
    let Some(mut reads) = python("hub_cache.py") else {
        return;
    };
    assert!(hub.run(&["pull", SOURCE]).await.status.success());
    hub.server.take_seen();
    hub.point(&mut reads);
    reads.args(["reads", "owner/tiny"]).arg(checkpoint("pool-mean"));
    let output = finish(reads).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("model.safetensors"), "{}", stdout(&output));
    // It asks for news of its own; of the repository it must ask nothing.
    let seen = format!("{:?}", hub.server.take_seen());
    assert!(!seen.contains("owner/tiny"), "Python had to ask the hub: {seen}");

    // The other way about, with a cache of its own.
    let hub = Hub::start().await;
    let mut downloads = python("hub_cache.py").unwrap();
    hub.point(&mut downloads);
    downloads.args(["downloads", "owner/tiny"]);
    let output = finish(downloads).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!hub.server.take_seen().is_empty());
    let output = hub.offline(&["embed", "--model", SOURCE, "text"]).await;
    assert_same(&embeddings(&output), &expected().await);
    assert!(hub.server.take_seen().is_empty());
}
