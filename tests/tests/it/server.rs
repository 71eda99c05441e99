//! A running `candlepool serve`.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::binary::{PATIENCE, candlepool};
use crate::connection::{Answer, Connection, get, post};

/// A server that listens; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    child: Child,
    /// What it has logged, read all the time: a full pipe would stop it.
    log: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl Server {
    /// Starts one on a free port, with these arguments besides.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut command = candlepool();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(arguments);
        Self::of(command).await
    }

    pub(crate) async fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let address = serde_json::from_str::<Value>(&line)
                    .ok()
                    .and_then(|line| line["address"].as_str().map(str::to_owned));
                log.lock().unwrap().push(line);
                if let Some(address) = address {
                    return address;
                }
            }
            panic!("it ended before it listened: {:?}", log.lock().unwrap());
        };
        let address = tokio::time::timeout(PATIENCE, listening).await.expect("it does not listen");
        let kept = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { address, child, log, reading }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(&self.address).await.unwrap()
    }

    async fn ask(&self, request: &[u8]) -> Answer {
        let mut connection = self.connect().await;
        connection.send(request).await.unwrap();
        tokio::time::timeout(PATIENCE, connection.answer()).await.expect("no answer").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&get(path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&post(path, body.to_string().as_bytes())).await
    }

    /// What `/pools` says of the only model.
    pub(crate) async fn pool(&self) -> Value {
        let mut pools = self.get("/pools").await.json();
        pools["models"][0].take()
    }

    /// The process's number, while it runs.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.process().to_string()])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; gives its status and everything it logged.
    pub(crate) async fn end(mut self) -> (ExitStatus, Vec<String>) {
        let ended = async {
            let status = self.child.wait().await.unwrap();
            (&mut self.reading).await.unwrap();
            status
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("it does not end");
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        (status, log)
    }
}
