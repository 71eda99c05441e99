//! Who asks: the key in `Authorization: Bearer`, and what it allows. A browser sets no headers of a WebSocket, so there the key
//! may also come as clients of OpenAI's send it: among the subprotocols, or in the query.

use axum::extract::Query;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderName, Uri};
use pool_core::{Principal, Priority};

use super::errors::ApiError;
use crate::config::Keys;

/// What a subprotocol begins with that is a key.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
/// What Azure's clients call it, as a header and in a query.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key's name; `None` where the server has no keys.
    key: Option<String>,
    highest: Priority,
}

impl Caller {
    /// Somebody whose key does not matter.
    pub(crate) const fn anyone() -> Self {
        Self { key: None, highest: Priority::Critical }
    }

    /// Finds out by the key.
    ///
    /// # Errors
    ///
    /// 401 where the server has keys and the request has none of them.
    pub(crate) fn of(keys: &Keys, headers: &HeaderMap) -> Result<Self, ApiError> {
        if keys.is_empty() {
            return Ok(Self::anyone());
        }
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Err(ApiError::unauthorized("no API key was sent; send Authorization: Bearer KEY"));
        };
        let Some(sent) = header.to_str().ok().and_then(bearer) else {
            return Err(ApiError::unauthorized("the Authorization header is not Bearer KEY"));
        };
        Self::with_key(keys, sent)
    }

    /// Finds out by the key of a WebSocket: in the headers, among the subprotocols, or in the query.
    ///
    /// # Errors
    ///
    /// 401 where the server has keys and the request has none of them.
    pub(crate) fn of_socket(keys: &Keys, uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        if keys.is_empty() || headers.contains_key(AUTHORIZATION) {
            return Self::of(keys, headers);
        }
        if let Some(sent) = headers.get(API_KEY).and_then(|key| key.to_str().ok()) {
            return Self::with_key(keys, sent);
        }
        let mut offered = protocols(headers);
        if let Some(sent) = offered.find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL)) {
            return Self::with_key(keys, sent);
        }
        let query =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default();
        let sent = query.iter().find_map(|(name, value)| match name.as_str() {
            "api-key" => Some(value.as_str()),
            "Authorization" => bearer(value),
            _ => None,
        });
        match sent {
            Some(sent) => Self::with_key(keys, sent),
            None => Err(ApiError::unauthorized(
                "no API key was sent; send Authorization: Bearer KEY, or from a web page the subprotocol openai-insecure-api-key.KEY beside realtime",
            )),
        }
    }

    fn with_key(keys: &Keys, sent: &str) -> Result<Self, ApiError> {
        match keys.find(sent) {
            Some(key) => Ok(Self { key: Some(key.name.clone()), highest: key.highest }),
            None => Err(ApiError::unauthorized("the API key is not one of this server's")),
        }
    }

    /// The key's name; `None` where the server has no keys.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The name that logs give it.
    pub(crate) fn name(&self) -> &str {
        self.key.as_deref().unwrap_or("anyone")
    }

    /// The class a request gets that asks for this one.
    pub(crate) fn cap(&self, asked: Priority) -> Priority {
        asked.min(self.highest)
    }

    /// The unit of fair sharing: the key. Without keys it is the end user a request names; with them a caller could
    /// otherwise take many shares by naming many users.
    pub(crate) fn principal(&self, user: Option<&str>) -> Principal {
        match (&self.key, user) {
            (Some(key), _) => Principal::new(key.as_str()),
            (None, Some(user)) => Principal::new(format!("user {user}")),
            (None, None) => Principal::default(),
        }
    }
}

/// The key in `Bearer KEY`.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The subprotocols that a WebSocket offers, in order.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}
