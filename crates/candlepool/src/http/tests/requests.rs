use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::{NO_KEYS, Server, post};

fn body() -> Body {
    Body::from(json!({"model": "tiny", "input": "a"}).to_string())
}

#[tokio::test]
async fn headers_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    for (name, value) in [
        ("x-request-timeout", "soon"),
        ("x-request-timeout", "-1"),
        ("x-request-timeout", "0"),
        ("x-request-timeout", "NaN"),
        ("x-request-timeout", "inf"),
        ("x-request-timeout", "1e3"),
        ("x-request-timeout", ""),
        ("x-request-timeout", "86401"),
        ("x-priority", "urgent"),
        ("x-priority", ""),
    ] {
        let request = post("/v1/embeddings").header(name, value).body(body()).unwrap();
        let answer = server.send(request).await;
        answer.refused(400, "invalid_header");
        assert!(answer.json()["error"]["param"].as_str().unwrap().eq_ignore_ascii_case(name));
    }
    for (name, value) in [("x-request-timeout", "30"), ("x-request-timeout", "2.5"), ("x-priority", "High")] {
        let request = post("/v1/embeddings").header(name, value).body(body()).unwrap();
        assert_eq!(server.send(request).await.status, 200);
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_408_and_not_to_be_sent_again() {
    let server = Server::start().await;
    // The model has to be loaded first, which takes longer than a microsecond.
    let request = post("/v1/embeddings").header("x-request-timeout", "0.000001").body(body()).unwrap();
    let answer = server.send(request).await;
    answer.refused(408, "deadline_exceeded");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn every_answer_has_a_request_id_that_may_be_the_clients() {
    let server = Server::start().await;
    let send = |id: &'static str| {
        let request = Request::get("/health").header("x-request-id", id).body(Body::empty()).unwrap();
        server.send(request)
    };
    assert_eq!(send("abc-123_./:=@+").await.header("x-request-id"), Some("abc-123_./:=@+"));
    let made = server.get("/nowhere").await.header("x-request-id").unwrap().to_owned();
    assert!(made.starts_with("req-") && made.len() == 36, "{made}");
    for odd in ["a b", "\"x\"", "<script>", "a\tb", ""] {
        assert!(send(odd).await.header("x-request-id").unwrap().starts_with("req-"), "{odd:?}");
    }
    let long = "a".repeat(129);
    let request = Request::get("/health").header("x-request-id", long).body(Body::empty()).unwrap();
    assert_ne!(server.send(request).await.header("x-request-id"), Some(made.as_str()));
}

#[tokio::test]
async fn keys_are_asked_for_where_there_are_any() {
    let server = Server::with("sk-one\nsk-two name=two priority=low\n", 1 << 20, "").await;
    let send = |key: Option<&'static str>| {
        let request = post("/v1/embeddings");
        let request = key.into_iter().fold(request, |request, key| request.header("authorization", key));
        server.send(request.body(body()).unwrap())
    };
    for wrong in [
        None,
        Some("Bearer sk-on"),
        Some("Bearer "),
        Some("Basic sk-one"),
        Some("sk-one"),
        Some("Bearer sk-one x"),
    ] {
        let answer = send(wrong).await;
        answer.refused(401, "invalid_api_key");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text.contains("sk-"), "{}", answer.text);
    }
    for right in ["Bearer sk-one", "bearer sk-two", "Bearer  sk-two"] {
        assert_eq!(send(Some(right)).await.status, 200);
    }
    for open in ["/health", "/ready", "/metrics"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    for closed in ["/pools", "/v1/models", "/v1/models/tiny", "/nowhere"] {
        server.get(closed).await.refused(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn a_keys_highest_priority_caps_what_is_asked_for() {
    use crate::config::Keys;
    use crate::http::auth::Caller;
    use pool_core::Priority;
    let keys = Keys::parse(Some(("k".as_ref(), "sk-a name=a priority=normal\n")), &[]).unwrap();
    let request = Request::get("/").header("authorization", "Bearer sk-a").body(()).unwrap();
    let caller = Caller::of(&keys, request.headers()).unwrap();
    assert_eq!(caller.cap(Priority::Critical), Priority::Normal);
    assert_eq!(caller.cap(Priority::Low), Priority::Low);
    assert_eq!(caller.principal(Some("user")).as_str(), "a");
    let anyone = Caller::of(&Keys::default(), request.headers()).unwrap();
    assert_eq!(anyone.cap(Priority::Critical), Priority::Critical);
    assert_ne!(anyone.principal(Some("u")), anyone.principal(None));
}

#[tokio::test]
async fn unknown_models_routes_and_methods_are_told_apart() {
    let server = Server::start().await;
    let answer = server.embed(json!({"model": "gpt-4", "input": "a"})).await;
    let message = answer.refused(404, "model_not_found");
    assert!(message.contains("gpt-4") && message.contains("ranker, tiny"), "{message}");
    server.get("/v1/models/gpt-4").await.refused(404, "model_not_found");
    server.post("/v1/images/variations", "{}").await.refused(404, "unknown_route");
    server.get("/nowhere").await.refused(404, "unknown_route");
    let answer = server.get("/v1/embeddings").await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_model_whose_source_is_wrong_is_503_and_the_others_serve() {
    let more = "[models.gone]\nmodality = \"text-embedding\"\nsource = \"no/such/folder\"\n";
    let server = Server::with(NO_KEYS, 1 << 20, more).await;
    let answer = server.embed(json!({"model": "gone", "input": "a"})).await;
    let message = answer.refused(503, "model_not_ready");
    assert!(message.contains("no/such/folder does not exist"), "{message}");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let ready = server.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.json()["reasons"][0].as_str().unwrap().starts_with("gone: "), "{}", ready.text);
    assert_eq!(server.embed(json!({"model": "tiny", "input": "a"})).await.status, 200);
}

#[tokio::test]
async fn a_name_in_the_path_that_is_no_text_is_an_error_like_any_other() {
    let server = Server::start().await;
    server.get("/v1/models/%ff").await.refused(400, "invalid_value");
    assert_eq!(server.get("/v1/models/%74iny").await.json()["id"], "tiny");
}

#[tokio::test]
async fn optional_parameters_may_be_null() {
    let server = Server::start().await;
    let nulls =
        json!({"model": "tiny", "input": "a", "encoding_format": null, "dimensions": null, "user": null});
    let answer = server.embed(nulls).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let nulls = json!({
        "model": "tiny", "query": "q", "documents": ["a"], "top_n": null, "return_documents": null, "user": null
    });
    let answer = server.post("/v1/rerank", nulls.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["results"][0].get("document").is_none());
    for (key, value) in [("encoding_format", json!(5)), ("dimensions", json!(0)), ("dimensions", json!(-1))] {
        let mut body = json!({"model": "tiny", "input": "a"});
        body[key] = value;
        let answer = server.embed(body).await;
        let message = answer.refused(400, "invalid_value");
        assert_eq!(answer.json()["error"]["param"], key);
        assert!(!message.contains("u32") && !message.contains("enum"), "{message}");
    }
    let message = server.post("/v1/embeddings", "5").await.refused(400, "invalid_value");
    assert!(message.contains("expected an object with model and input"), "{message}");
}

#[tokio::test]
async fn web_pages_may_ask_only_where_they_are_allowed() {
    let more = "[server]\nallowed_origins = [\"https://app.example\"]\n";
    let server = Server::with("sk-one\n", 1 << 20, more).await;
    let ask = |headers: &[(&'static str, &'static str)]| {
        let request = Request::post("/v1/embeddings").header("authorization", "Bearer sk-one");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        server.send(request.body(body()).unwrap())
    };
    // Without a type, as a page sends it anywhere without asking.
    for foreign in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:3000")],
    ] {
        let answer = ask(foreign).await;
        let message = answer.refused(403, "origin_not_allowed");
        assert!(message.contains("server.allowed_origins"), "{message}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for (client, told) in [
        (&[][..], None),
        (&[("host", "h:1"), ("origin", "http://h:1")], None),
        (&[("sec-fetch-site", "same-origin"), ("origin", "http://h:1")], None),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")], Some("https://app.example")),
    ] {
        let answer = ask(client).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), told);
        assert_eq!(answer.header("vary"), told.map(|_| "origin"));
    }
    let preflight = |origin: &'static str| {
        let request = Request::options("/v1/embeddings").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,x-stainless-os");
        server.send(request.body(Body::empty()).unwrap())
    };
    // Browsers send no key with their question.
    let answer = preflight("https://app.example").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,x-stainless-os"));
    let answer = preflight("https://evil.example").await;
    answer.refused(403, "origin_not_allowed");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // An error of the server's is the page's to read too.
    let request = Request::post("/nowhere").header("origin", "https://app.example").body(Body::empty());
    let answer = server.send(request.unwrap()).await;
    answer.refused(401, "invalid_api_key");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused_where_there_are_no_keys() {
    let more =
        "[server]\nallowed_hosts = [\"models.example\"]\nallowed_origins = [\"https://app.example\"]\n";
    let open = Server::with(NO_KEYS, 1 << 20, more).await;
    let locked = Server::with("sk-one\n", 1 << 20, more).await;
    // As a browser asks for the page of a name that was resolved anew: it takes the server for the page's own.
    let rebound = |request: axum::http::request::Builder, host: &str| {
        let origin = format!("http://{host}");
        request.header("host", host).header("origin", origin).header("authorization", "Bearer sk-one")
    };
    for host in ["evil.example", "evil.example:8080"] {
        let answer = open.send(rebound(post("/v1/embeddings"), host).body(body()).unwrap()).await;
        let message = answer.refused(403, "host_not_allowed");
        assert!(
            message.contains("\"evil.example\"") && message.contains("server.allowed_hosts"),
            "{message}"
        );
        assert_eq!(answer.json()["error"]["type"], "permission_error");
        for path in ["/pools", "/v1/models", "/metrics", "/ready", "/health", "/nowhere"] {
            let request = rebound(Request::get(path), host).header("sec-fetch-site", "same-origin");
            open.send(request.body(Body::empty()).unwrap()).await.refused(403, "host_not_allowed");
        }
        let answer = locked.send(rebound(post("/v1/embeddings"), host).body(body()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "models.example", "app.example:8080"] {
        let request = post("/v1/embeddings").header("host", host);
        assert_eq!(open.send(request.body(body()).unwrap()).await.status, 200, "{host}");
    }
}
