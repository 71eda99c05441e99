//! Running the binary, and speaking HTTP to it by hand: clients of libraries hide what a socket does.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A small checkpoint of random weights.
pub(crate) fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../text-embedding/tests/fixtures/checkpoints").join(name)
}

/// The command, without what this machine's environment would tell it.
pub(crate) fn candlepool() -> Command {
    isolated(Command::new(env!("CARGO_BIN_EXE_candlepool")))
}

/// The same, which an interrupt ends even if this process ignores them: what a shell starts in the background does, and
/// so does what it starts in turn.
#[cfg(unix)]
pub(crate) fn interruptible() -> Command {
    if !cfg!(target_os = "linux") {
        return candlepool();
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_candlepool")]);
    isolated(command)
}

fn isolated(mut command: Command) -> Command {
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CANDLEPOOL_") || name.starts_with("HF_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    let running = candlepool().args(arguments).output();
    tokio::time::timeout(PATIENCE, running).await.expect("it hangs").unwrap()
}

/// Runs a command with this on its standard input.
pub(crate) async fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = candlepool();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
    assert!(!told.contains("panicked"), "{told}");
    told.trim_end()
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) log: Lines<BufReader<ChildStderr>>,
}

impl Server {
    /// Starts one on a free port, with these arguments besides.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut command = candlepool();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(arguments);
        Self::of(command).await
    }

    /// One with the small embedding model `tiny` and the small cross-encoder `ranker`.
    pub(crate) async fn tiny() -> Self {
        let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
        let ranker = format!("ranker=text-embedding:{}", checkpoint("rerank-1").display());
        Self::start(&["--model", &tiny, "--model", &ranker]).await
    }

    pub(crate) async fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            while let Some(line) = log.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if let Some(address) = line["address"].as_str() {
                    return address.to_owned();
                }
            }
            panic!("it ended before it listened");
        };
        let address = tokio::time::timeout(PATIENCE, listening).await.expect("it does not listen");
        Self { child, address, log }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(get(path).as_bytes()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&post(path, &body.to_string())).await
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub(crate) async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it has ended").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &process]).status().await.unwrap();
        assert!(sent.success());
    }

    /// The next line of the log that is the drain's report.
    pub(crate) async fn report(&mut self) -> Value {
        let report = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if line["event"] == "drained" {
                    return line;
                }
            }
            panic!("it ended without a report");
        };
        tokio::time::timeout(PATIENCE, report).await.expect("it does not end")
    }

    /// A figure of the process in KiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        memory_of(self.child.id().expect("it has ended"), field).unwrap()
    }
}

/// A figure of a process in KiB, while it lives.
pub(crate) fn memory_of(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the server closes.
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no answer");
        // A reset after a whole answer is the end of it as well.
        assert!(read.is_ok() || !bytes.is_empty(), "{read:?}");
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
