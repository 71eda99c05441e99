//! What is wrong is told in one line, or with a 4xx, and nothing else happens.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::process::{Server, candlepool, checkpoint, failed, post, run, stderr};

/// A copy of a checkpoint that a test may spoil.
fn copy(name: &str) -> (tempfile::TempDir, PathBuf) {
    fn copy_folder(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_folder(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model");
    copy_folder(&checkpoint(name), &to);
    (folder, to)
}

#[tokio::test]
async fn models_that_cannot_be_used_are_told_in_one_line() {
    let embed =
        |model: PathBuf| async move { run(&["embed", "--model", model.to_str().unwrap(), "text"]).await };

    let (_kept, folder) = copy("pool-mean");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let told = failed(&embed(folder).await, 1).to_owned();
    assert!(told.contains("weights"), "{told}");

    let (_kept, folder) = copy("pool-mean");
    let weights = folder.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let told = failed(&embed(folder).await, 1).to_owned();
    assert!(told.contains("model.safetensors"), "{told}");

    let (_kept, folder) = copy("pool-mean");
    let config = folder.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"hidden_size\": 24", "\"hidden_size\": 48")).unwrap();
    let told = failed(&embed(folder).await, 1).to_owned();
    assert!(told.contains("24") && told.contains("48"), "{told}");

    let (_kept, folder) = copy("pool-mean");
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    let told = failed(&embed(folder).await, 1).to_owned();
    assert!(told.contains("tokenizer.json"), "{told}");

    let told = failed(&embed("no/such/folder".into()).await, 1).to_owned();
    assert!(told.contains("no/such/folder does not exist"), "{told}");
    failed(&embed(checkpoint("rerank-1")).await, 1);
    failed(&run(&["embed", "--model", "builtin:nothing", "text"]).await, 1);
}

#[tokio::test]
async fn the_chain_of_causes_is_told_where_it_is_asked_for() {
    let output = run(&["--verbose", "serve", "--config", "no/such/file.toml"]).await;
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with("error: no/such/file.toml does not exist; check --config\n  caused by: "),
        "{told}"
    );
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candlepool.toml");
    for (text, wanted) in [
        ("[server]\nlistn = \"127.0.0.1:0\"\n", "line 2: unknown key \"listn\" in [server]"),
        ("[memory]\nlimit = \"much\"\n", "line 2: memory.limit: \"much\" is no size"),
        ("[memory]\nlimit = \"0B\"\n", "memory.limit is 0 B"),
        ("[server]\nrequest_timeout = \"0s\"\n", "server.request_timeout is 0"),
        ("[server]\nallowed_origins = [\"example.org\"]\n", "server.allowed_origins has \"example.org\""),
        (
            "[models.a]\nsource = \"builtin\"\nmodality = \"text-embedding\"\nqueue = { max_wait = \"0s\" }\n",
            "models.a.queue.max_wait is 0",
        ),
        (
            "[models.a]\nsource = \"builtin\"\nmodality = \"text-embedding\"\nidle_evict_after = \"0s\"\n",
            "models.a.idle_evict_after is 0",
        ),
        ("[models.a]\nmodality = \"text-embedding\"\n", "models.a has no source"),
        (
            "[models.a]\nsource = \"builtin\"\nmodality = \"text-to-image\"\n",
            "models.a.source is built in, and no text-to-image model is",
        ),
        ("[models.\"a b\"]\nsource = \"builtin\"\nmodality = \"text-embedding\"\n", "cannot name a model"),
        ("[server]\napi_keys_file = \"keys.txt\"\n", "keys.txt does not exist; check server.api_keys_file"),
        ("[log]\nlevel = \"shout=very\"\n", "log.level is \"shout=very\""),
        ("[log]\nlevel = \"loud\"\n", "log.level is \"loud\": \"loud\" is no level"),
        ("[log]\nlevel = \"\"\n", "log.level is \"\": it is empty"),
        ("[log]\nformat = \"xml\"\n", "line 2: log.format: unknown variant `xml`"),
        ("nonsense", "line 1"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]).await;
        let told = failed(&output, 1).to_owned();
        assert!(told.contains(wanted), "{text:?} gave {told:?}");
    }
    let missing = "gone=text-embedding:no/such/folder";
    let output = run(&["serve", "--log-format", "json", "--listen", "127.0.0.1:0", "--model", missing]).await;
    let told = failed(&output, 1);
    assert!(told.starts_with("error: no model can be served: gone: no/such/folder does not exist"), "{told}");
    let mut command = candlepool();
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("CANDLEPOOL__SERVER__BODY_LIMIT", "big");
    let told = failed(&command.output().await.unwrap(), 1).to_owned();
    assert!(told.contains("CANDLEPOOL__SERVER__BODY_LIMIT"), "{told}");
    let mut command = candlepool();
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("CANDLEPOOL_LOG", "loud");
    let told = failed(&command.output().await.unwrap(), 1).to_owned();
    assert!(told.starts_with("error: CANDLEPOOL_LOG is \"loud\""), "{told}");
}

#[tokio::test]
async fn arguments_of_serve_that_make_no_sense_are_told_in_one_line() {
    for (arguments, wanted) in [
        (["--listen", "nowhere.invalid:80"], "cannot listen on nowhere.invalid:80"),
        (["--listen", "127.0.0.1:99999"], "cannot listen on 127.0.0.1:99999"),
        (["--listen", "127.0.0.1"], "write HOST:PORT"),
        (["--listen", ""], "server.listen is empty"),
        (["--memory", "1B"], "memory.limit is 1 B"),
    ] {
        let output = run(&[&["serve"], arguments.as_slice()].concat()).await;
        let told = failed(&output, 1).to_owned();
        assert!(told.contains(wanted), "{arguments:?} gave {told:?}");
    }
    let long = "x".repeat(100_000);
    let told = failed(&run(&["embed", "--model", &format!("{long}:y"), "text"]).await, 2).to_owned();
    assert!(told.len() < 2000 && told.contains("a source is hf:"), "{told}");
}

#[tokio::test]
async fn a_truncated_model_is_503_and_the_others_serve() {
    let (_kept, folder) = copy("pool-mean");
    let weights = folder.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
    let cut = format!("cut=text-embedding:{}", folder.display());
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    let server = Server::start(&["--model", &cut, "--model", &tiny]).await;
    let answer = server.post("/v1/embeddings", &json!({"model": "cut", "input": "a"})).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let answer = server.post("/v1/embeddings", &json!({"model": "tiny", "input": "a"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_the_server_still_serves() {
    let server = Server::tiny().await;
    let route = "/v1/embeddings";
    for (body, status, wanted) in [
        (&b"{\"model\": \"tiny\", \"input\": "[..], 400, "line 1 column 27"),
        (b"{\"model\": \"tiny\", \"input\": \"\xc3\x28\"}", 400, "not UTF-8"),
        (b"{\"model\": \"nobody\", \"input\": \"a\"}", 404, "there is no model"),
        (b"{\"model\": \"tiny\", \"input\": [1, 99999]}", 400, "99999"),
        (b"{\"model\": \"tiny\", \"input\": \"a\", \"best_of\": 2}", 400, "best_of"),
        (b"\x00\x01\x02", 400, "not JSON"),
    ] {
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = server.send(&[head.as_bytes(), body].concat()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(wanted) && !message.contains('\n'), "{message}");
    }
    // Not even HTTP.
    let answer = server.send(b"\x16\x03\x01 no HTTP at all\r\n\r\n").await;
    assert_eq!(answer.status, 400);
    let answer = server.send(&post(route, &json!({"model": "tiny", "input": "a"}).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(server.get("/ready").await.status, 200);
}
