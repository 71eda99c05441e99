//! The handshake: from a request to a WebSocket (RFC 6455, section 4.2).

use std::error::Error;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::pump::SocketLimits;
use crate::http::auth::protocols;
use crate::http::connections::Peer;
use crate::http::errors::ApiError;
use crate::http::stall::StallGuard;

/// The subprotocol that is spoken.
const PROTOCOL: &str = "realtime";

/// A request that asks for a WebSocket, and may have one.
#[derive(Debug)]
pub(in crate::http) struct Upgrade {
    accept: String,
    /// Whether the answer names a subprotocol.
    with_protocol: bool,
    upgrade: OnUpgrade,
    peer: Option<IpAddr>,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>().map(|Peer(address)| address.ip());
        let accept = accepted(&parts.headers)?;
        let with_protocol = chosen(&parts.headers)?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| {
            ApiError::upgrade_required("this connection cannot become a WebSocket; use HTTP/1.1")
        })?;
        Ok(Self { accept, with_protocol, upgrade, peer })
    }
}

impl Upgrade {
    /// The address that it comes from, where that is known.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The answer after which the connection is a WebSocket.
    pub(super) fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.with_protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        response
    }

    /// The WebSocket, once the answer has been sent. It has limits of its own: the guard over answers is taken off the
    /// connection, which would cut a slow reader off without a close.
    pub(super) async fn socket(
        self,
        limits: &SocketLimits,
    ) -> Result<WebSocketStream<TcpStream>, Box<dyn Error + Send + Sync>> {
        let parts = self.upgrade.await?.downcast::<TokioIo<StallGuard<TcpStream>>>();
        let parts = parts.map_err(|_| "the connection is not one that this server accepted")?;
        let stream = parts.io.into_inner().into_inner();
        let read = parts.read_buf.to_vec();
        Ok(WebSocketStream::from_partially_read(stream, read, Role::Server, Some(limits.socket())).await)
    }
}

/// What a client's key is answered with.
fn accepted(headers: &HeaderMap) -> Result<String, ApiError> {
    let has = |name: HeaderName, wanted: &str| {
        let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return Err(ApiError::upgrade_required(
            "this route is a WebSocket; connect to it with ws:// or, behind a proxy with TLS, wss://",
        ));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        return Err(ApiError::upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Ok(derive_accept_key(key));
    }
    Err(ApiError::invalid("invalid_header", "Sec-WebSocket-Key must be 16 bytes in base64")
        .param("Sec-WebSocket-Key"))
}

/// Whether the subprotocol is named in the answer: where any is offered, and then it must be among them.
fn chosen(headers: &HeaderMap) -> Result<bool, ApiError> {
    if protocols(headers).any(|offered| offered == PROTOCOL) {
        return Ok(true);
    }
    if protocols(headers).next().is_none() {
        return Ok(false);
    }
    // Without telling what was offered, which may be a key.
    let message = "none of the subprotocols offered is spoken here; offer realtime, or none";
    Err(ApiError::invalid("invalid_header", message).param("Sec-WebSocket-Protocol"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_standards_own_example_is_accepted() {
        assert_eq!(accepted(&headers(&GOOD)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for (wrong, status) in [
            (("connection", "keep-alive"), 426),
            (("upgrade", "h2c"), 426),
            (("sec-websocket-version", "8"), 426),
            (("sec-websocket-key", "c2hvcnQ="), 400),
            (("sec-websocket-key", "not base64"), 400),
        ] {
            let mut headers = headers(&GOOD);
            headers.insert(wrong.0, HeaderValue::from_static(wrong.1));
            let error = accepted(&headers).unwrap_err();
            let status_of = axum::response::IntoResponse::into_response(error).status();
            assert_eq!(status_of.as_u16(), status, "{wrong:?}");
        }
    }

    #[test]
    fn a_subprotocol_is_chosen_where_any_is_offered() {
        let offer = |offer| chosen(&headers(&[("sec-websocket-protocol", offer)]));
        assert!(!chosen(&HeaderMap::new()).unwrap());
        assert!(offer("realtime").unwrap());
        assert!(offer("openai-insecure-api-key.sk-1, realtime").unwrap());
        let error = offer("openai-insecure-api-key.sk-1").unwrap_err();
        assert!(!error.body().contains("sk-1"), "{}", error.body());
    }
}
