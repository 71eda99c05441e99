//! The official Python client sends pictures: to a model that writes about them, and to one that makes vectors of them.

use std::time::Duration;

use serde_json::Value;

use crate::binary::{finish_within, stderr, stdout};
use crate::models::say;
use crate::python::python;
use crate::server::Server;
use crate::turns::beside;
use crate::vision_models::{Checkpoint, picture};

const KEY: &str = "sk-e2e";
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_official_python_client_sends_pictures() {
    let _turn = beside().await;
    let Some(mut client) = python("openai_pictures.py") else { return };
    let (llava, clip) = (Checkpoint::llava(), Checkpoint::clip());
    let llava = format!("llava=llava-vision:{}", llava.path().display());
    let clip = format!("clip=image-embedding:{}", clip.path().display());
    let server = Server::start(&["--api-key", KEY, "--model", &llava, "--model", &clip]).await;
    client.arg(format!("http://{}/v1", server.address)).args([KEY, "llava", "clip"]);
    client.args([picture("square"), picture("other-square")]);
    let output = finish_within(client, PATIENCE).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_str(stdout(&output)).unwrap();
    say(&format!(
        "openai python client: {} pieces about a picture of {} tokens, {} of them cached the second time",
        told["pieces"], told["prompt"], told["cached"]
    ));
}
