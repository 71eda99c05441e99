//! The `candlepool` binary: found, built where it is absent or older than its sources, and run.

use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// No command and no request takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap()
}

/// Where cargo puts what this test was built with: `target/debug`.
fn artifacts() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Where cargo puts everything: `target`.
pub(crate) fn target() -> PathBuf {
    artifacts().parent().unwrap().to_owned()
}

/// The binary. `CARGO_BIN_EXE_candlepool` is for the tests of its own package alone.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let name = format!("candlepool{}", std::env::consts::EXE_SUFFIX);
        let built = artifacts().join(name);
        // `cargo test --workspace` has just built it, for that package's own tests.
        if is_fresh(&built) { built } else { build() }
    })
}

/// Whether the binary is newer than everything it can be made of: the crates' sources and data, the manifests, the lock.
/// (Cargo's own list of what went into it is written by `cargo build` only.)
fn is_fresh(binary: &Path) -> bool {
    let Ok(built) = changed(binary) else { return false };
    let older = |input: &Path| changed(input).is_ok_and(|at| at <= built);
    let manifests = ["Cargo.toml", "Cargo.lock"].map(|name| workspace().join(name));
    manifests.iter().all(|manifest| older(manifest)) && all_files(&workspace().join("crates"), &older)
}

fn changed(path: &Path) -> std::io::Result<SystemTime> {
    path.metadata()?.modified()
}

/// Whether this holds for every file below a folder, tests and benches left out.
fn all_files(folder: &Path, holds: &impl Fn(&Path) -> bool) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().all(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                path.ends_with("tests") || path.ends_with("benches") || all_files(&path, holds)
            }
            Ok(_) => holds(&path),
            Err(_) => false,
        }
    })
}

/// Has cargo build the binary as this test was built. Cargo's lock is free while tests run.
fn build() -> PathBuf {
    let profile = artifacts().file_name().unwrap().to_str().unwrap().to_owned();
    let profile = if profile == "debug" { "dev".to_owned() } else { profile };
    let mut cargo = Blocking::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this test of its package would look to dependencies' build scripts as if something had changed.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|of_package| told.starts_with(of_package))
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .args(["build", "--package", "candlepool", "--profile", &profile])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace())
        .stdin(Stdio::null())
        // So that a build of minutes is seen.
        .stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo cannot be started");
    assert!(output.status.success(), "cargo could not build candlepool: {}", output.status);
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == "candlepool"
        })
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.expect("cargo named no executable")
}

/// The command, without what this machine's environment would tell it.
pub(crate) fn candlepool() -> Command {
    let mut command = Command::new(binary());
    isolate(&mut command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Takes away the variables by which a machine is set up, and keeps proxies from what is local.
pub(crate) fn isolate(command: &mut Command) {
    const BEGINNINGS: [&str; 5] = ["CANDLEPOOL_", "HF_", "HUGGING", "OPENAI_", "TRANSFORMERS_"];
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if BEGINNINGS.iter().any(|beginning| told.starts_with(beginning)) {
            command.env_remove(name);
        }
    }
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
}

/// Runs a command to its end.
pub(crate) async fn finish(command: Command) -> Output {
    finish_within(command, PATIENCE).await
}

/// Runs a command that may take longer than others to its end.
pub(crate) async fn finish_within(mut command: Command, patience: Duration) -> Output {
    tokio::time::timeout(patience, command.output()).await.expect("it hangs").unwrap()
}

/// Runs the binary to its end.
pub(crate) async fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    let mut command = candlepool();
    command.args(arguments);
    finish(command).await
}

/// Runs the binary with this on its standard input.
pub(crate) async fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = candlepool();
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // A command that fails at once does not read.
        let _ = stdin.write_all(input).await;
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::time::timeout(PATIENCE, both).await.expect("it hangs").unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Checks that a command failed with this status and told it in one line; gives the line.
#[track_caller]
pub(crate) fn failed(output: &Output, status: i32) -> &str {
    let told = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{told}");
    assert!(told.starts_with("error: ") && told.ends_with('\n') && told.lines().count() == 1, "{told:?}");
    told.trim_end()
}

/// The vectors of `candlepool embed --format json`.
#[track_caller]
pub(crate) fn embeddings(output: &Output) -> Vec<Vec<f32>> {
    assert!(output.status.success(), "{}", stderr(output));
    let document: Value = serde_json::from_str(stdout(output)).unwrap();
    vectors(&document["embeddings"])
}

/// A JSON list of lists of numbers.
pub(crate) fn vectors(value: &Value) -> Vec<Vec<f32>> {
    let numbers = |row: &Value| -> Vec<f32> {
        let row = row.as_array().unwrap().iter();
        row.map(|number| number.as_f64().unwrap() as f32).collect()
    };
    value.as_array().unwrap().iter().map(numbers).collect()
}

/// The largest difference between two vectors' components.
#[track_caller]
pub(crate) fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
