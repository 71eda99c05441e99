//! Who asks: the key in `Authorization: Bearer`, and what it allows.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use pool_core::{Principal, Priority};

use super::errors::ApiError;
use crate::config::Keys;

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
        let sent = header.to_str().ok().and_then(|header| header.split_once(' '));
        let sent =
            sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        let Some(sent) = sent else {
            return Err(ApiError::unauthorized("the Authorization header is not Bearer KEY"));
        };
        match keys.find(sent) {
            Some(key) => Ok(Self { key: Some(key.name.clone()), highest: key.highest }),
            None => Err(ApiError::unauthorized("the API key is not one of this server's")),
        }
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
