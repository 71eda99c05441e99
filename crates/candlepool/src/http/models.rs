//! `GET /v1/models` and `GET /v1/models/NAME`.

use std::time::UNIX_EPOCH;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::errors::ApiError;
use super::{App, AppState, answer};

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

#[derive(Serialize)]
struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    /// When this server began to offer it, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
}

/// Every model.
pub(super) async fn list(State(app): State<App>) -> Result<Response, ApiError> {
    let data = app.registry.entries().map(|entry| object(&app, entry.name())).collect();
    answer::short(&ModelList { object: "list", data })
}

/// One model.
pub(super) async fn one(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| {
        ApiError::invalid("invalid_value", "the model's name in the path is not UTF-8").param("model")
    })?;
    let entry = app.registry.find(&name)?;
    answer::short(&object(&app, entry.name()))
}

fn object<'a>(app: &AppState, name: &'a str) -> ModelObject<'a> {
    let created = app.started_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ModelObject { id: name, object: "model", created, owned_by: "candlepool" }
}
