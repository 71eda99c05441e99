//! The official Python and JavaScript clients against `candlepool serve`: chats and completions of a trained model.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::binary::{finish_within, stderr, stdout};
use crate::models::{say, trained};
use crate::node::node;
use crate::python::python;
use crate::server::Server;
use crate::turns::beside;

const KEY: &str = "sk-e2e";
/// A small model on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(600);

/// A template that knows tools, which the model's own does not.
const TOOL_TEMPLATE: &str = include_str!("../../../crates/text-to-text/tests/fixtures/tools.jinja");

/// A server with the model as `smollm`, and as `caller` with the template.
async fn server(model: &Path, folder: &Path) -> Server {
    std::fs::write(folder.join("tools.jinja"), TOOL_TEMPLATE).unwrap();
    let config = folder.join("candlepool.toml");
    let entry = |name: &str| {
        format!(
            "[models.{name}]\nmodality = \"text-to-text\"\nsource = {model:?}\nkv_cache = \"96MiB\"\n\
             queue = {{ max_wait = \"none\" }}\n"
        )
    };
    let text = format!("{}{}chat_template = \"tools.jinja\"\n", entry("smollm"), entry("caller"));
    std::fs::write(&config, text).unwrap();
    Server::start(&["--api-key", KEY, "--config", config.to_str().unwrap()]).await
}

async fn ask(mut client: Command, server: &Server) -> Value {
    client.arg(format!("http://{}/v1", server.address)).args([KEY, "smollm", "caller"]);
    let output = finish_within(client, PATIENCE).await;
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(stdout(&output)).unwrap()
}

#[tokio::test]
async fn the_official_python_client_chats() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let Some(client) = python("openai_chat.py") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = server(&model, folder.path()).await;
    let told = ask(client, &server).await;
    let refused =
        |status: u16, code: &str, param: Value| json!({"status": status, "code": code, "param": param});
    let errors = &told["errors"];
    for (name, expected) in [
        ("temperature", refused(400, "invalid_value", json!("temperature"))),
        ("max_tokens", refused(400, "invalid_value", json!("max_tokens"))),
        ("unsupported", refused(400, "unknown_parameter", json!("reasoning_effort"))),
        ("model", refused(404, "model_not_found", json!("model"))),
        ("schema", refused(400, "invalid_value", json!("response_format"))),
        ("context", refused(400, "context_length_exceeded", json!("messages"))),
        ("tools", refused(400, "invalid_value", json!("tools"))),
    ] {
        assert_eq!(errors[name], expected, "{name}");
    }
    assert_eq!(
        (&errors["deadline"]["status"], &errors["deadline"]["code"]),
        (&json!(408), &json!("deadline_exceeded"))
    );
    say(&format!("openai python client: {} / {} / {}", told["answer"], told["city"], told["arguments"]));
}

#[tokio::test]
async fn the_official_javascript_client_chats() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let Some(client) = node("openai_chat.mjs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = server(&model, folder.path()).await;
    let told = ask(client, &server).await;
    assert_eq!(told["refused"], json!({"status": 400, "code": "invalid_value", "param": "temperature"}));
    say(&format!("openai javascript client: {} / {} / {}", told["answer"], told["city"], told["called"]));
}
