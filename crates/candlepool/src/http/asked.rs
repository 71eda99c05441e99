//! What a route that computes is asked: its body, whole and parsed, and on what terms.

use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::body::WholeBody;
use super::envelope::Terms;
use super::errors::ApiError;
use super::{App, json};

/// A request's body and terms.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) terms: Terms,
    pub(super) request: T,
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (Parts { headers, mut extensions, .. }, body) = request.into_parts();
        let terms = extensions
            .remove::<Terms>()
            .ok_or_else(|| ApiError::internal("the request came past the server's envelope"))?;
        let body = WholeBody::read(app, &headers, body).await?;
        Ok(Self { terms, request: json::parse(app, body).await? })
    }
}
