use serde_json::Value;

use crate::process::{Server, candlepool, checkpoint, failed, run, run_with, stderr, stdout};

#[tokio::test]
async fn help_and_version_go_to_standard_output() {
    for arguments in
        [&["--help"][..], &["--version"], &["embed", "--help"], &["serve", "--version"], &["help"]]
    {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
        assert!(!stdout(&output).contains('\u{1b}'), "escape codes for no terminal: {}", stdout(&output));
    }
}

#[tokio::test]
async fn wrong_usage_is_one_line_and_status_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["embed"],
        &["embed", "--format", "xml", "a"],
        &["embed", "--input", "x", "a"],
        &["embed", "--input-format", "jsonl", "a"],
        &["embed", "--model", "model.onnx", "a"],
        &["embed", "--dtype", "fp8", "a"],
        &["embed", "--dimensions", "many", "a"],
        &["rerank", "a"],
        &["rerank", "--query", "q", "--top-n", "0", "a"],
        &["generate"],
        &["generate", ""],
        &["generate", "--temperature", "-0.5", "a"],
        &["generate", "--temperature", "2.1", "a"],
        &["generate", "--temperature", "NaN", "a"],
        &["generate", "--max-tokens", "0", "a"],
        &["generate", "--max-tokens", "-1", "a"],
        &["generate", "--seed", "-1", "a"],
        &["generate", "--format", "jsonl", "a"],
        &["generate", "--dtype", "fp8", "a"],
        &["generate", "--model", "model.onnx", "a"],
        &["generate", "two", "prompts"],
        &["chat"],
        &["chat", ""],
        &["chat", "--temperature", "hot", "a"],
        &["chat", "--max-tokens", "0", "a"],
        &["chat", "--raw", "a"],
        &["serve", "--memory", "6 gigs"],
        &["serve", "--model", "minilm"],
        &["serve", "--model", "a=poetry:builtin"],
        &["serve", "--model", "a=text-embedding:builtin", "--model", "a=text-embedding:x"],
        &["pull"],
        &["pull", "ftp://host/model"],
        &["ps", "extra"],
    ] {
        failed(&run(arguments).await, 2);
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let mut command = candlepool();
    let model = checkpoint("pool-mean");
    command.args(["embed", "--format", "jsonl", "--input", "-", "--model"]).arg(model);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        use tokio::io::AsyncWriteExt as _;
        // Fails once the command has ended.
        while stdin.write_all(b"a line of text\n").await.is_ok() {}
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let output = output.unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[tokio::test]
async fn rerank_puts_the_most_relevant_first() {
    let model = checkpoint("rerank-1");
    let model = model.to_str().unwrap();
    let texts = ["one text", "another\ttext\n", ""];
    let output =
        run(&[&["rerank", "--model", model, "--query", "what", "--format", "json"], &texts[..]].concat())
            .await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["model"], model);
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        assert_eq!(result["document"], texts[result["index"].as_u64().unwrap() as usize]);
    }
    let output =
        run(&[&["rerank", "--model", model, "--query", "what", "--top-n", "2"], &texts[..]].concat()).await;
    let lines: Vec<Vec<&str>> = stdout(&output).lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2);
    for (line, result) in lines.iter().zip(results) {
        assert_eq!(line.len(), 3, "{line:?}");
        assert_eq!(line[1], result["index"].to_string());
        let score: f64 = line[0].parse().unwrap();
        assert!((score - result["relevance_score"].as_f64().unwrap()).abs() < 1e-5);
    }
    let jsonl = b"{\"id\": \"x\", \"text\": \"one\"}\n\"two\"\n";
    let arguments = [
        "rerank",
        "--model",
        model,
        "--query",
        "q",
        "--format",
        "json",
        "--input",
        "-",
        "--input-format",
        "jsonl",
    ];
    let output = run_with(&arguments, jsonl).await;
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    let named = document["results"].as_array().unwrap().iter().find(|result| result["index"] == 0).unwrap();
    assert_eq!(named["id"], "x");
    failed(&run_with(&arguments, b"nope\n").await, 1);
}

#[tokio::test]
async fn list_shows_the_cache_and_what_is_compiled_in() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--owner--name/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join("aaaa"), vec![0; 2048]).unwrap();
    let list = |format: &'static str| {
        let mut command = candlepool();
        command.args(["list", "--format", format]).env("HF_HUB_CACHE", cache.path());
        async move { command.output().await.unwrap() }
    };
    let output = list("json").await;
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["cache"], cache.path().to_str().unwrap());
    assert_eq!(document["models"][0]["source"], "hf:owner/name");
    assert_eq!(document["models"][0]["bytes"], 2048);
    assert!(document["builtin"].is_array());
    let output = list("text").await;
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert!(lines[0].starts_with("SOURCE"), "{lines:?}");
    let cells: Vec<&str> = lines[lines.len() - 1].split_whitespace().collect();
    assert_eq!(cells, ["hf:owner/name", "2.0", "KiB"]);
}

#[tokio::test]
async fn pull_tells_where_a_model_is() {
    let model = checkpoint("pool-mean");
    let output = run(&["pull", model.to_str().unwrap()]).await;
    assert_eq!(stdout(&output).trim_end(), model.to_str().unwrap(), "{}", stderr(&output));
    let pipeline = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../text-to-image/tests/fixtures/pipelines/sd1");
    let output = run(&["pull", pipeline.to_str().unwrap()]).await;
    assert_eq!(stdout(&output).trim_end(), pipeline.to_str().unwrap(), "{}", stderr(&output));
    let gguf = crate::vision_models::Tiny::gguf("llava-llama");
    let folder = gguf.folder.path().to_str().unwrap();
    for source in [folder.to_owned(), format!("{folder}/model.gguf")] {
        let output = run(&["pull", &source]).await;
        assert_eq!(stdout(&output).trim_end(), folder, "{}", stderr(&output));
    }
    let told = failed(&run(&["pull", "no/such/folder"]).await, 1).to_owned();
    assert!(told.contains("no/such/folder does not exist"), "{told}");
}

#[tokio::test]
async fn ps_shows_what_a_server_does() {
    let server = Server::tiny().await;
    let url = format!("http://{}", server.address);
    server.post("/v1/embeddings", &serde_json::json!({"model": "tiny", "input": ["a", "b"]})).await;
    let output = run(&["ps", "--server", &url]).await;
    let line = stdout(&output).lines().find(|line| line.starts_with("tiny")).unwrap();
    assert!(line.contains("resident"), "{line}");
    let output = run(&["ps", "--server", &server.address, "--format", "json"]).await;
    let pools: Value = serde_json::from_str(stdout(&output)).unwrap();
    let tiny = pools["models"].as_array().unwrap().iter().find(|model| model["name"] == "tiny").unwrap();
    assert_eq!(tiny["jobs"]["completed"], 2);
    drop(server);
    let told = failed(&run(&["ps", "--server", "http://127.0.0.1:1"]).await, 1).to_owned();
    assert!(told.contains("is the server running there?"), "{told}");
    failed(&run(&["ps", "--server", "ftp://x"]).await, 1);
    let locked = Server::start(&[
        "--api-key",
        "sk-1",
        "--model",
        &format!("t=text-embedding:{}", checkpoint("pool-mean").display()),
    ])
    .await;
    let told = failed(&run(&["ps", "--server", &locked.address]).await, 1).to_owned();
    assert!(told.contains("wants an API key"), "{told}");
    let output = run(&["ps", "--server", &locked.address, "--api-key", "sk-1"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
}
