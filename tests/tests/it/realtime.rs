//! Conversations over WebSockets: the official clients' realtime connections, the clients of `docs/realtime.md`, and a server
//! that is killed.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::binary::{PATIENCE, candlepool, finish_within, stderr, stdout, workspace};
use crate::models::{say, trained};
use crate::node::node;
use crate::python::python;
use crate::server::Server;
use crate::turns::beside;

const KEY: &str = "sk-e2e";

fn configure(folder: &Path, model: &Path) -> String {
    let config = folder.join("candlepool.toml");
    let text = format!(
        "[realtime]\nhistory = {{ file = \"rooms.sqlite\" }}\n\
         [models.smollm]\nmodality = \"text-to-text\"\nsource = {model:?}\nkv_cache = \"96MiB\"\n\
         queue = {{ max_wait = \"none\" }}\n"
    );
    std::fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

async fn converse(mut client: Command, model: &Path) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), model);
    let server = Server::start(&["--api-key", KEY, "--config", &config]).await;
    client.arg(format!("http://{}/v1", server.address)).args([KEY, "smollm"]);
    let output = finish_within(client, 2 * PATIENCE).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_str(stdout(&output)).unwrap();
    let answer = &told["answer"];
    assert_eq!(answer["pieces"], answer["text"]);
    assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
    assert_eq!(told["session"], "smollm");
    assert_eq!(told["cancelled"], "cancelled");
    assert_eq!(told["deleted"], true);
    told
}

#[tokio::test]
async fn the_official_python_client_holds_a_conversation() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let Some(client) = python("openai_realtime.py") else { return };
    let told = converse(client, &model).await;
    assert_eq!(told["missing"], "error", "an item that was deleted is retrieved");
    assert_eq!(told["added"], told["done"]);
    assert!(told["refused"].as_str().unwrap().contains("input_audio_buffer.append"), "{told}");
    say(&format!("openai python client, realtime: {}", told["answer"]["text"]));
}

#[tokio::test]
async fn the_official_javascript_client_holds_a_conversation() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let Some(client) = node("openai_realtime.mjs") else { return };
    let told = converse(client, &model).await;
    assert_eq!(told["errors"], json!([]));
    say(&format!("openai javascript client, realtime: {}", told["answer"]["text"]));
}

/// What is in the documentation between a fence of this language.
fn documented(language: &str) -> String {
    let text = std::fs::read_to_string(workspace().join("docs/realtime.md")).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// A client that prints the events of a room.
struct Member {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Member {
    fn start(mut command: Command, room: &str, client: &str, text: &str) -> Self {
        command.args([room, client, text]).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _child: child }
    }

    /// The next event of this kind.
    async fn event(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it ended");
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["type"] == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {kind} came"))
    }
}

/// The documented client in Python, which the official client's environment can run.
fn documented_in_python(folder: &Path) -> Option<Command> {
    let official = python("openai_realtime.py")?;
    let script = folder.join("client.py");
    std::fs::write(&script, documented("python")).unwrap();
    let mut command = Command::new(official.as_std().get_program());
    command.arg(script).env("NO_PROXY", "127.0.0.1").stdin(Stdio::null());
    Some(command)
}

#[tokio::test]
async fn the_documented_clients_talk_and_go_on_after_the_server_was_killed() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(python) = documented_in_python(folder.path()) else { return };
    let config = configure(folder.path(), &model);
    let server = Server::start(&["--config", &config]).await;
    let room = format!("ws://{}/rooms/lobby", server.address);
    let mut ada = Member::start(python, &room, "ada", "hello, everybody");
    let first = ada.event("room.joined").await;
    let acknowledged = ada.event("ack").await;
    let script = folder.path().join("client.mjs");
    std::fs::write(&script, documented("js")).unwrap();
    let mut javascript = Command::new("node");
    javascript.arg("--experimental-websocket").arg(script).stdin(Stdio::null());
    let mut bob = Member::start(javascript, &room, "bob", "tell me a long story, @assistant");
    assert_eq!(bob.event("message.created").await["message"]["text"], "hello, everybody");
    let asked = bob.event("ack").await;
    // In the middle of an answer.
    ada.event("answer.delta").await;
    let address = server.address.clone();
    server.signal("KILL").await;
    server.end().await;
    let mut again = candlepool();
    again.args(["serve", "--listen", &address, "--log-format", "json", "--config", &config]);
    let server = Server::of(again).await;
    let joined = ada.event("room.joined").await;
    assert_eq!((&joined["resumed"], &joined["epoch"]), (&json!(true), &first["epoch"]));
    assert!(joined["last"].as_u64() >= asked["at_seq"].as_u64(), "{joined}");
    // What was acknowledged is there, for one who has seen nothing of it.
    let Some(python) = documented_in_python(folder.path()) else { return };
    let mut eve = Member::start(python, &room, "eve", "what did I miss?");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = eve.event("message.created").await;
        seen.push((event["seq"].clone(), event["message"]["text"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen[0], (acknowledged["at_seq"].clone(), "hello, everybody".to_owned()));
    assert_eq!(seen[1], (asked["at_seq"].clone(), "tell me a long story, @assistant".to_owned()));
    assert_eq!(seen[2].1, "what did I miss?");
    drop(server);
}
