//! What the hub refuses, and hubs that are not what they should be.

use super::*;

#[tokio::test]
async fn private_gated_and_absent_models_are_told_apart() {
    let (server, _cache, mut options) = hub(repo()).await;
    server.put("owner/private", repo().access(Access::Private("hf_good".to_owned())));
    server.put("owner/gated", repo().access(Access::Gated("hf_good".to_owned())));
    let endpoint = server.endpoint();
    assert_eq!(
        refusal("hf:owner/private", &options).await,
        format!(
            "{endpoint} refused owner/private (401): it is private or does not exist; check the name, or set HF_TOKEN to \
             a token that may read it"
        )
    );
    let gated = format!(
        "owner/gated is gated: accept its terms at {endpoint}/owner/gated and set HF_TOKEN to a token of that account"
    );
    assert_eq!(refusal("hf:owner/gated", &options).await, gated);
    options.token = Some(Token::new("hf_other").unwrap());
    assert_eq!(refusal("hf:owner/gated", &options).await, gated);
    assert_eq!(
        refusal("hf:owner/absent", &options).await,
        format!("{endpoint} has no model owner/absent; check the name")
    );
    options.token = Some(Token::new("bad").unwrap());
    let error = refusal("hf:owner/private", &options).await;
    assert!(error.contains("the token of HF_TOKEN is not accepted for it"), "{error}");
    options.token = Some(Token::new("hf_good").unwrap());
    resolve("hf:owner/private", &options).await.unwrap();
    resolve("hf:owner/gated", &options).await.unwrap();
    // The token is for the hub alone, not for where its large files lie.
    let seen = server.take_seen();
    assert!(seen.iter().any(|request| request.at_store));
    assert!(seen.iter().filter(|r| r.at_store).all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn a_token_may_lie_in_its_file() {
    let (server, cache, mut options) = hub(repo().access(Access::Private("hf_good".to_owned()))).await;
    let file = cache.path().join("token");
    std::fs::write(&file, "hf_good\n").unwrap();
    options.token_file = Some(file);
    resolve("hf:owner/name", &options).await.unwrap();
    assert!(server.take_seen().iter().any(|r| r.authorization.as_deref() == Some("Bearer hf_good")));
}

#[tokio::test]
async fn revisions_and_files_that_are_not_there_are_named() {
    let (server, _cache, options) = hub(repo()).await;
    assert_eq!(
        refusal("hf:owner/name@v9", &options).await,
        "owner/name has no revision \"v9\"; name a branch, a tag or a commit of it"
    );
    assert_eq!(
        refusal("hf:owner/name:other.gguf", &options).await,
        "hf:owner/name has no other.gguf; it has model.safetensors"
    );
    resolve(&format!("hf:owner/name@{COMMIT}"), &options).await.unwrap();
    server.take_seen();
    resolve(&format!("hf:owner/name@{COMMIT}"), &options).await.unwrap();
    assert!(server.take_seen().is_empty());
    let quantised = Repo::new([("a.Q4_0.gguf", b"GGUF4".to_vec()), ("a.Q8_0.gguf", b"GGUF8".to_vec())]);
    server.put("owner/gguf", quantised);
    assert_eq!(
        refusal("hf:owner/gguf", &options).await,
        "hf:owner/gguf has several weights files: a.Q4_0.gguf, a.Q8_0.gguf; name one: hf:owner/gguf:a.Q4_0.gguf"
    );
    let files = resolve("hf:owner/gguf:a.Q8_0.gguf", &options).await.unwrap();
    assert_eq!(std::fs::read(files.gguf().unwrap()).unwrap(), b"GGUF8");
    assert_eq!(files.names().collect::<Vec<_>>(), ["a.Q8_0.gguf"]);
    server.put("owner/pickle", Repo::new([("pytorch_model.bin", b"p".to_vec())]));
    let error = refusal("hf:owner/pickle", &options).await;
    assert!(error.contains("never read; convert them to safetensors"), "{error}");
}

#[tokio::test]
async fn without_a_network_the_hub_is_named() {
    let (server, _cache, options) = hub(repo()).await;
    let endpoint = server.endpoint();
    drop(server);
    tokio::task::yield_now().await;
    let error = resolve("hf:owner/name", &options).await.unwrap_err();
    assert!(error.is_transient());
    let error = error.to_string();
    assert!(error.starts_with(&format!("cannot reach {endpoint}: ")), "{error}");
    assert!(error.ends_with("; check the network and HF_ENDPOINT, or name a local folder"), "{error}");
    let mut options = options;
    options.endpoint = "http://no-such-host.invalid".to_owned();
    let error = refusal("hf:owner/name", &options).await;
    assert!(error.starts_with("cannot reach http://no-such-host.invalid: "), "{error}");
}

#[tokio::test]
async fn a_hub_that_fails_for_a_moment_is_asked_again_and_one_that_fails_on_is_quoted() {
    let (server, _cache, mut options) = hub(repo()).await;
    server.fail("config.json", [Fault::Status(503), Fault::Status(500)]);
    server.fail("model.safetensors", [Fault::Status(429)]);
    resolve("hf:owner/name", &options).await.unwrap();
    server.put("owner/other", repo());
    server.fail("config.json", std::iter::repeat_n(Fault::Status(503), 9));
    options.retries = 1;
    let error = refusal("hf:owner/other", &options).await;
    assert!(
        error.contains("/config.json answered 503 Service Unavailable: planted; try again later"),
        "{error}"
    );
}

#[tokio::test]
async fn a_plain_file_server_with_a_list_will_do() {
    // No HEAD, no entity tags, the list under `tree` and the commit under the repository's own address.
    async fn answer(method: Method, uri: axum::http::Uri) -> axum::response::Response {
        use axum::http::StatusCode;
        use axum::response::IntoResponse;
        match (method, uri.path()) {
            (Method::HEAD, _) => StatusCode::NOT_IMPLEMENTED.into_response(),
            (_, "/api/models/owner/name") => r#"{"sha":"abc"}"#.into_response(),
            (_, "/api/models/owner/name/tree/abc") => {
                r#"[{"type":"directory","path":"x"},{"type":"file","path":"config.json"},
                    {"type":"file","path":"model.safetensors"}]"#
                    .into_response()
            }
            (_, "/owner/name/resolve/abc/config.json") => r#"{"hidden_size":8}"#.into_response(),
            (_, "/owner/name/resolve/abc/model.safetensors") => weights().into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(cache.path());
    options.endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    assert_eq!(files.revision(), "abc");
    server.abort();
    assert_eq!(resolve("hf:owner/name", &options).await.unwrap().revision(), "abc");
}

#[tokio::test]
async fn what_is_no_hub_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(|| async { "<html>hello</html>" });
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let cache = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(cache.path());
    options.endpoint = endpoint;
    options.retry_delay = Duration::from_millis(1);
    let error = refusal("hf:owner/name", &options).await;
    assert!(error.contains("answered something that is no list of files"), "{error}");
    server.abort();
}
