use std::path::Path;

use axum::body::Body;
use axum::http::Request;

use super::{NO_KEYS, Server};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");

/// Every file of the page: its path on the server and what is in it.
fn files() -> Vec<(String, String)> {
    let entries = Path::new(FOLDER).read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let at = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
            (at, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_file_of_the_page_is_served_as_it_is() {
    let server = Server::start().await;
    let files = files();
    assert!(files.len() > 20, "{}", files.len());
    for (at, text) in files {
        let answer = server.get(&at).await;
        assert_eq!(answer.status, 200, "{at}");
        assert!(answer.text == text, "{at}");
        let kind = match at.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{at}");
        assert_eq!(
            answer.header("content-security-policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "{at}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{at}");
        }
    }
    server.get("/page/nothing.js").await.refused(404, "unknown_route");
    server.get("/page/../Cargo.toml").await.refused(404, "unknown_route");
    server.get("/page/%2e%2e%2fmain.rs").await.refused(404, "unknown_route");
    server.get("/page/").await.refused(404, "unknown_route");
    server.post("/", "").await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let server = Server::start().await;
    let ask = async |at: &str, tag: &str| {
        server.send(Request::get(at).header("if-none-match", tag).body(Body::empty()).unwrap()).await
    };
    for at in ["/", "/page/app.js"] {
        let first = server.get(at).await;
        let tag = first.header("etag").unwrap();
        assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(at, &known).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), Some(tag));
            assert!(again.header("content-security-policy").is_some());
        }
        let changed = ask(at, "\"other\"").await;
        assert_eq!((changed.status.as_u16(), changed.text), (200, first.text.clone()));
    }
}

#[tokio::test]
async fn the_page_needs_no_key_and_keeps_to_known_names() {
    let keyed = Server::with("sk-secret", 1 << 20, "").await;
    assert_eq!(keyed.get("/").await.status, 200);
    assert_eq!(keyed.get("/page/app.js").await.status, 200);
    keyed.get("/pools").await.refused(401, "invalid_api_key");
    keyed.get("/pagex").await.refused(401, "invalid_api_key");

    let open = Server::with(NO_KEYS, 1 << 20, "").await;
    for at in ["/", "/page/app.js"] {
        let request = Request::get(at).header("host", "rebound.example").body(Body::empty()).unwrap();
        open.send(request).await.refused(403, "host_not_allowed");
    }
}

/// Whatever the policy allows: no file names another host, and none makes HTML of texts.
#[test]
fn the_page_asks_no_other_host_and_writes_no_html() {
    // Names of formats and sources in comments, which no browser asks.
    const NAMES: [&str; 3] = [
        "http://www.w3.org/2000/svg",
        "https://www.w3.org/WAI/ARIA/apg/patterns/tabs/",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html",
    ];
    for (at, text) in files() {
        let plain = NAMES.iter().fold(text, |text, name| text.replace(name, ""));
        for wrong in [
            "http:",
            "https:",
            "=\"//",
            "'//",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=\"",
            " onclick=",
            "<style",
            "createContextualFragment",
        ] {
            assert!(!plain.contains(wrong), "{at} has {wrong}");
        }
        if at.ends_with(".css") {
            assert!(!plain.contains("url(") && !plain.contains("@import"), "{at} fetches something");
        }
    }
}
