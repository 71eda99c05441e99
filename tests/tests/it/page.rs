//! The web page, as a person uses it in a real browser.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::binary::{finish_within, stderr, stdout, workspace};
use crate::models::{say, trained};
use crate::node::{browser, node};
use crate::server::Server;
use crate::turns::beside;
use crate::vision_models::{Checkpoint, picture};

const KEY: &str = "sk-e2e";
/// A browser and models on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(600);

async fn seen(client: Command) -> Value {
    let output = finish_within(client, PATIENCE).await;
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    serde_json::from_str(stdout(&output)).unwrap()
}

#[tokio::test]
async fn the_parts_of_the_page_compute_what_they_should() {
    let Some(mut client) = node("page_parts.mjs") else { return };
    client.arg(workspace().join("crates/candlepool/src/page"));
    let output = finish_within(client, PATIENCE).await;
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("# fail 0"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_person_uses_the_page() {
    let _turn = beside().await;
    let Some(mut client) = browser("page.mjs") else { return };
    let llava = Checkpoint::llava();
    let llava = format!("eyes=llava-vision:{}", llava.path().display());
    let drawing = workspace().join("crates/text-to-image/tests/fixtures/pipelines/sd1");
    let drawing = format!("brush=text-to-image:{}", drawing.display());
    let models = ["--model", "words=text-embedding:builtin", "--model", &llava, "--model", &drawing];
    let server = Server::start(&[&["--api-key", KEY], &models[..]].concat()).await;
    let other = Server::start(&[]).await;
    client.args([&format!("http://{}", server.address), KEY]).arg(picture("square"));
    client.arg(format!("http://{}", other.address));
    let told = seen(client).await;
    say(&format!("the page: {}; {}; {}", told["heatMap"], told["map"], told["memory"]));
}

#[tokio::test]
async fn two_people_and_a_model_talk_on_the_page() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let Some(mut client) = browser("page_chat.mjs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    std::fs::create_dir(&notes).unwrap();
    let text = "A lighthouse is a tower with a bright light that warns ships of rocks.\n";
    std::fs::write(notes.join("lighthouse.md"), text).unwrap();
    let model = format!("smollm=text-to-text:{}", model.display());
    let models = ["--model", &model, "--model", "words=text-embedding:builtin"];
    let more = ["--api-key", KEY, "--context", notes.to_str().unwrap()];
    let server = Server::start(&[&models[..], &more[..]].concat()).await;
    client.args([&format!("http://{}", server.address), KEY]).arg(picture("square"));
    client.arg("notes/lighthouse.md");
    let told = seen(client).await;
    say(&format!("a room on the page: {} lines, and {}", told["messages"], told["answer"]));
}
