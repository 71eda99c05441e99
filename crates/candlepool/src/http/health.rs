//! `GET /health`: the process lives. `GET /ready`: it can do its work.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use pool_core::worker_state::GroupState;
use serde::Serialize;

use super::{App, answer};
use crate::registry::Standing;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// What keeps it from being so.
    reasons: Vec<String>,
}

/// Answers as long as the process answers anything.
pub(super) async fn health() -> Response {
    answer::short(&Health { status: "ok" }).unwrap_or_else(|error| error.into_response())
}

/// 200 while every resident model steps; with none resident, while every source resolves. 503 with the reasons otherwise.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let reasons = reasons(&app).await;
    let ready = reasons.is_empty();
    let mut response =
        answer::short(&Readiness { ready, reasons }).unwrap_or_else(|error| error.into_response());
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn reasons(app: &App) -> Vec<String> {
    if app.drain.has_begun() {
        return vec!["the server is shutting down".to_owned()];
    }
    let Ok(stats) = app.engine.stats().await else {
        return vec!["the engine has stopped".to_owned()];
    };
    let mut reasons = Vec::new();
    for model in stats.models.iter().filter(|model| !model.healthy) {
        let why = model.last_error.as_deref().unwrap_or("a step is overdue");
        reasons.push(format!("{}: {why}", model.model));
    }
    let resident = stats.models.iter().any(|model| model.state == GroupState::Resident);
    if !resident {
        for entry in app.registry.entries() {
            match entry.standing() {
                Standing::Ready(_) => {}
                Standing::Resolving => {
                    reasons.push(format!("{}: its source is being resolved", entry.name()))
                }
                Standing::Failed { why, .. } => reasons.push(format!("{}: {why}", entry.name())),
            }
        }
    }
    reasons
}
