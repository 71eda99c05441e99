//! The official Python client against `candlepool serve`: values, error classes, and the waits it is told to keep.

use serde_json::{Value, json};

use crate::binary::{apart, embeddings, finish, run, stderr, stdout, vectors};
use crate::models::{say, trained};
use crate::python::python;
use crate::server::Server;
use crate::turns::beside;

const TEXTS: [&str; 5] = [
    "A cat sat on the mat.",
    "",
    "二匹の猫 🐈‍⬛ and a naïve café",
    "tab\tand \"quotes\" \\ and a\nsecond line",
    "the quick brown fox jumps over the lazy dog",
];
const KEY: &str = "sk-e2e";
/// Two runs may batch differently, which moves the last bits.
const CLOSE: f32 = 1e-6;

/// Runs the script against a server, and gives what it printed.
async fn ask(server: &Server, model: &str, ids: Option<&Value>) -> Option<Value> {
    let mut client = python("openai_client.py")?;
    client.arg(format!("http://{}/v1", server.address)).args([KEY, model]).arg(json!(TEXTS).to_string());
    if let Some(ids) = ids {
        client.arg(ids.to_string());
    }
    let output = finish(client).await;
    assert!(output.status.success(), "{}", stderr(&output));
    Some(serde_json::from_str(stdout(&output)).unwrap())
}

/// What the command line gives for the same texts.
async fn at_the_shell(model: &str, more: &[&str]) -> Vec<Vec<f32>> {
    embeddings(&run([&["embed", "--model", model], more, &TEXTS[..]].concat()).await)
}

#[track_caller]
fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(apart(found, expected) < CLOSE, "{}", apart(found, expected));
    }
}

/// The vectors in every form are the command line's.
async fn check_numbers(numbers: &Value, model: &str) -> f32 {
    let shell = at_the_shell(model, &[]).await;
    let base64 = vectors(&numbers["base64"]);
    let float = vectors(&numbers["float"]);
    assert_close(&base64, &float);
    assert_close(&base64, &shell);
    assert_close(&vectors(&numbers["one"]), &shell[..1]);
    assert_close(&vectors(&numbers["concurrent"]), &shell);
    let cut = vectors(&numbers["cut"]);
    assert!(cut.iter().all(|vector| vector.len() == 64));
    assert_close(&cut, &at_the_shell(model, &["--dimensions", "64"]).await);
    let pairs = base64.iter().zip(&shell);
    pairs.map(|(a, b)| apart(a, b)).fold(0.0, f32::max)
}

fn check_errors(errors: &Value) {
    for (name, status, code, param) in [
        ("dimensions", 400, "invalid_value", json!("dimensions")),
        ("empty", 400, "invalid_value", json!("input")),
        ("ids", 400, "invalid_value", json!("input[0]")),
        ("unsupported", 400, "unknown_parameter", json!("best_of")),
        ("key", 401, "invalid_api_key", Value::Null),
        ("model", 404, "model_not_found", json!("model")),
    ] {
        let error = &errors[name];
        assert_eq!(
            (&error["status"], &error["code"], &error["param"]),
            (&json!(status), &json!(code), &param),
            "{name}"
        );
    }
    assert_eq!(errors["deadline"]["status"], 408);
    assert_eq!(errors["deadline"]["code"], "deadline_exceeded");
}

#[tokio::test]
async fn the_official_client_embeds_with_minilm() {
    let _turn = beside().await;
    let Some(minilm) = trained("all-MiniLM-L6-v2") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("candlepool.toml");
    let text = format!(
        "[models.minilm]\nmodality = \"text-embedding\"\nsource = {minilm:?}\nworkers = {{ min = 1 }}\n\
         [models.narrow]\nmodality = \"text-embedding\"\nsource = {minilm:?}\nworkers = {{ min = 1 }}\nqueue = {{ jobs = 1 }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start(&["--api-key", KEY, "--config", config.to_str().unwrap()]).await;
    // "hello world" with the special tokens around it.
    let ids = json!([101, 7592, 2088, 102]);
    let Some(result) = ask(&server, "minilm", Some(&ids)).await else {
        return;
    };
    let model = minilm.to_str().unwrap();
    let most = check_numbers(&result["numbers"], model).await;
    check_errors(&result["errors"]);
    assert_eq!(result["models"], json!(["minilm", "narrow"]));
    assert_eq!(result["hurried"], TEXTS.len());

    let hello = embeddings(&run(["embed", "--model", model, "hello world", ""]).await);
    assert_close(&vectors(&result["tokens"]["ids"]), &hello[..1]);
    assert_close(&vectors(&result["tokens"]["lists"]), &hello);

    let overload = &result["overload"];
    assert_eq!(overload["failures"], json!([]), "not all were served in the end");
    let waits = overload["waits"].as_array().unwrap();
    let refusals = overload["refusals"].as_array().unwrap();
    assert!(!waits.is_empty() && !refusals.is_empty(), "nobody was refused: {overload}");
    for wait in waits {
        let (told, waited) = (wait["told"].as_f64().unwrap(), wait["waited"].as_f64().unwrap());
        assert!(told >= 1.0 && waited >= told, "{wait}");
    }
    for refusal in refusals {
        assert_eq!(refusal["code"], "overloaded");
        assert!(refusal["retry_after"].as_f64().unwrap() >= 1.0);
    }
    say(&format!(
        "openai client: minilm apart from the command line by {most:e} at most; {} refusals came back after Retry-After, \
         {} ended as RateLimitError",
        waits.len(),
        refusals.len()
    ));
}

#[tokio::test]
async fn the_official_client_embeds_with_the_built_in_model() {
    let _turn = beside().await;
    let server = Server::start(&["--api-key", KEY]).await;
    let Some(result) = ask(&server, "builtin", None).await else {
        return;
    };
    let most = check_numbers(&result["numbers"], "builtin").await;
    check_errors(&result["errors"]);
    assert_eq!(result["models"], json!(["builtin"]));
    say(&format!("openai client: builtin apart from the command line by {most:e} at most"));
}
