//! The server that is measured: a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: String,
}

/// As many connections as asked for, all of one client. No ping and no blocked write ends a connection before the outbox does:
/// a reader must be found slow by what waits for it.
pub(super) fn config(connections: usize, history: Option<&Path>) -> String {
    let most = connections * 2;
    let file = history.map_or_else(String::new, |file| {
        format!("history = {{ file = {} }}\n", Value::from(file.to_string_lossy()))
    });
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[realtime]\nmax_connections = {most}\nmax_connections_per_client = {most}\n\
         joins_per_second = {most}\nping_interval = \"10m\"\nwrite_timeout = \"10m\"\n{file}"
    )
}

impl Server {
    /// Starts it in a folder of its own.
    pub(super) async fn start(binary: &Path, folder: &Path, config: &str) -> Result<Self> {
        let file = folder.join("candlepool.toml");
        std::fs::write(&file, config)?;
        let log: PathBuf = folder.join("log");
        let child = Command::new(binary)
            .args(["serve", "--log-format", "json", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, address: String::new() };
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some(address) = text.lines().find_map(listens) {
                server.address = address;
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status} before it listened: {text}");
            }
            ensure!(begun.elapsed() < PATIENCE, "the server does not listen after {PATIENCE:?}: {text}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it has in memory, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        resident(&status).with_context(|| format!("{file} says nothing of VmRSS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it was measured for has been measured.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that a line of the log names.
fn listens(line: &str) -> Option<String> {
    serde_json::from_str::<Value>(line).ok()?["address"].as_str().map(str::to_owned)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_and_the_memory_are_read() {
        assert_eq!(
            listens("{\"message\":\"listening\",\"address\":\"127.0.0.1:4\"}").as_deref(),
            Some("127.0.0.1:4")
        );
        assert_eq!(listens("no JSON"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        let config = config(2000, Some(Path::new("/tmp/a \"b\"")));
        let config: toml::Table = config.parse().unwrap();
        assert_eq!(config["realtime"]["history"]["file"].as_str(), Some("/tmp/a \"b\""));
    }
}
