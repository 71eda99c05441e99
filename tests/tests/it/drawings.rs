//! The official Python client has pictures drawn; the command line draws the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::binary::{PATIENCE, candlepool, finish, finish_within, stderr, stdout, workspace};
use crate::models::say;
use crate::python::python;
use crate::server::Server;
use crate::turns::beside;

fn fixtures() -> PathBuf {
    workspace().join("crates/text-to-image/tests/fixtures")
}

/// The picture that the command line draws.
async fn at_the_shell(model: &Path, more: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picture.png");
    let mut command = candlepool();
    command.arg("imagine").arg("--model").arg(model).arg("--out").arg(&file);
    command.args([
        "--steps",
        "6",
        "--seed",
        "5",
        "--guidance",
        "7.5",
        "--scheduler",
        "ddim",
        "--size",
        "32x32",
    ]);
    command.args(more).arg("a photo of the dogs and a cat");
    let output = finish(command).await;
    assert!(output.status.success(), "{}", stderr(&output));
    std::fs::read(file).unwrap()
}

#[tokio::test]
async fn the_official_python_client_draws_and_edits() {
    let _turn = beside().await;
    let Some(mut client) = python("openai_images.py") else { return };
    let model = fixtures().join("pipelines/sd1");
    let (picture, mask) = (fixtures().join("pictures/waves.png"), fixtures().join("pictures/mask.png"));
    let served = format!("sd=text-to-image:{}", model.display());
    let server = Server::start(&["--model", &served]).await;
    client.arg(format!("http://{}/v1", server.address)).args(["unused", "sd"]).args([&picture, &mask]);
    let output = finish_within(client, Duration::from_secs(300)).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_str(stdout(&output)).unwrap();
    let drawn = |name: &str| STANDARD.decode(told[name].as_str().unwrap()).unwrap();
    assert!(drawn("picture") == at_the_shell(&model, &[]).await, "the command line draws another picture");
    let edit = ["--image", picture.to_str().unwrap(), "--strength", "0.6"];
    assert!(drawn("edited") == at_the_shell(&model, &edit).await, "the command line edits in another way");
    let refused = |code: &str, param: &str| json!({"status": 400, "code": code, "param": param});
    for (name, expected) in [
        ("size", refused("invalid_value", "size")),
        ("steps", refused("invalid_value", "steps")),
        ("guidance", refused("invalid_value", "guidance")),
        ("n", refused("invalid_value", "n")),
        ("url", refused("invalid_value", "response_format")),
        ("background", refused("invalid_value", "background")),
        ("style", refused("unknown_parameter", "style")),
        ("streamed", refused("invalid_value", "size")),
        ("image", refused("invalid_value", "image")),
        ("strength", refused("invalid_value", "strength")),
        ("fidelity", refused("unknown_parameter", "input_fidelity")),
        ("model", json!({"status": 404, "code": "model_not_found", "param": "model"})),
    ] {
        assert_eq!(told["errors"][name], expected, "{name}");
    }
    // The one that was given up is gone at once, though it had 500 steps to take.
    let gone = async {
        loop {
            let pool = server.pool().await;
            if pool["queue"]["leased"] == 0 && pool["queue"]["waiting"] == 0 {
                return pool;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let pool = tokio::time::timeout(PATIENCE, gone).await.expect("a job is left");
    assert_eq!((&pool["jobs"]["cancelled"], &pool["jobs"]["failed"]), (&json!(1), &json!(0)), "{pool}");
    say(&format!("openai python client: {} pictures drawn", pool["jobs"]["completed"]));
}
