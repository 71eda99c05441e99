//! Which path is answered by what.

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{get, post};

use super::App;
use super::errors::ApiError;
use super::{drawings, embeddings, envelope, health, metrics, models, page, pools, realtime, rerank, text};

/// Every route, each within the [`envelope`].
pub(crate) fn router(app: App) -> Router {
    let enveloped = middleware::from_fn_with_state(app.clone(), envelope::envelope);
    let mut router = Router::new();
    if app.talk.is_some() {
        router =
            router.route("/v1/realtime", get(realtime::open)).route("/rooms/{name}", get(realtime::join));
    }
    router
        .route("/v1/chat/completions", post(text::chat_completions))
        .route("/v1/completions", post(text::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/images/generations", post(drawings::generations))
        .route("/v1/images/edits", post(drawings::edits))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/", get(page::index))
        .route("/page/{name}", get(page::asset))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/pools", get(pools::pools))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(enveloped)
        .with_state(app)
}

async fn nowhere(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found("unknown_route", format!("there is no {method} {path} on this server"))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::method(format!("{path} does not answer {method}"))
}
