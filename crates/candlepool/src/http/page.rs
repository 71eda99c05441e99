//! `GET /`: the web page, and `GET /page/NAME`: what it is made of, all of it from this binary.
//!
//! Whoever may reach the server may have the page, without a key: it is the same for everybody and says nothing of the
//! server. What it then asks is asked with the key that its reader types in. The check of host names stands before it
//! as before every route, so that a name that was made to lead here does not get a page of the server's own.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use sha2::{Digest as _, Sha256};

use super::errors::ApiError;

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Where the parts are, each by its file's name.
const PARTS: &str = "/page/";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($kind:ident $name:literal),+ $(,)?) => {
        [$(Asset { name: $name, kind: $kind, text: include_str!(concat!("../page/", $name)) }),+]
    };
}

/// Everything but the page itself.
static ASSETS: [Asset; 25] = assets![
    JAVASCRIPT "api.js",
    JAVASCRIPT "app.js",
    JAVASCRIPT "charts.js",
    JAVASCRIPT "chat.js",
    JAVASCRIPT "describe.js",
    JAVASCRIPT "dom.js",
    JAVASCRIPT "embed.js",
    JAVASCRIPT "format.js",
    JAVASCRIPT "geometry.js",
    JAVASCRIPT "imagine.js",
    JAVASCRIPT "key.js",
    JAVASCRIPT "messages.js",
    JAVASCRIPT "metrics.js",
    JAVASCRIPT "missing.js",
    JAVASCRIPT "picture.js",
    JAVASCRIPT "pools.js",
    JAVASCRIPT "room.js",
    JAVASCRIPT "roomlog.js",
    JAVASCRIPT "server.js",
    JAVASCRIPT "sse.js",
    JAVASCRIPT "tabs.js",
    CSS "chat.css",
    CSS "parts.css",
    CSS "style.css",
    SVG "candle.svg",
];

static INDEX: Asset = Asset { name: "", kind: HTML, text: include_str!("../page/index.html") };

/// What a browser keeps a copy by: the same for the same bytes, whichever process answers.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for asset in ASSETS.iter().chain([&INDEX]) {
        digest.update(asset.text.len().to_le_bytes());
        digest.update(asset.text);
    }
    let digest = digest.finalize();
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
});

/// Whether a path is the page's, and so answered to anybody.
pub(super) fn is_part(path: &str) -> bool {
    path == "/" || path.starts_with(PARTS)
}

/// The page.
pub(super) async fn index(headers: HeaderMap) -> Response {
    INDEX.answer(&headers)
}

/// A part of it.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset
        .ok_or_else(|| ApiError::not_found("unknown_route", "the web page has no such part".to_owned()))?;
    Ok(asset.answer(&headers))
}

impl Asset {
    /// The file, or only that it has not changed. One tag stands for all files, as their versions belong together.
    fn answer(&self, asked: &HeaderMap) -> Response {
        let tag = TAG.as_str();
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known = known
            .flat_map(|tags| tags.split(','))
            .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag);
        let mut response = Response::new(if known { Body::empty() } else { Body::from(self.text) });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(tag) {
            headers.insert(ETAG, tag);
        }
        for (name, value) in [
            (CONTENT_TYPE, self.kind),
            // Kept, and asked about each time: a newer binary's files never meet an older one's.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (RESOURCE_POLICY, "same-origin"),
            (OPENER_POLICY, "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
