//! `GET /v1/realtime?model=NAME`: a session with a model, in OpenAI's protocol.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chat_realtime::session::{SessionLimits, SessionOptions, session};

use super::query::{required, values};
use super::{PoolResponder, Upgrade};
use crate::http::App;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;

/// Opens a session.
pub(in crate::http) async fn open(
    State(app): State<App>,
    Extension(terms): Extension<Terms>,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let [model, deployment] = values(&uri, ["model", "deployment"])?;
    let model = required(model.or(deployment), "model", "/v1/realtime?model=NAME")?;
    let entry = app.registry.find(&model)?;
    let responder = PoolResponder::new(entry, app.image_limits).ok_or_else(|| {
        let modality = entry.settings().modality;
        ApiError::wrong_model(
            &model,
            &format!(
                "is of the modality {modality}, which writes no text; ask one of text-to-text or llava-vision"
            ),
        )
    })?;
    let talk = app.talk.as_ref().ok_or_else(|| ApiError::internal("there are no conversations here"))?;
    let (upgrade, admitted) = match app.sockets.admit(&terms, upgrade) {
        Ok(admitted) => admitted,
        Err(response) => return Ok(*response),
    };
    let options = SessionOptions {
        model,
        instructions: None,
        principal: terms.caller.principal(None),
        priority: terms.priority,
        limits: SessionLimits { message_bytes: app.sockets.longest_message(), ..SessionLimits::default() },
        context: talk.context(),
        lanes: app.engine.lanes().clone(),
        closing: app.sockets.closing(),
    };
    let (connection, owner) = session(options, Arc::new(responder));
    app.sockets.own(owner);
    Ok(app.sockets.carry(upgrade, Some(admitted), connection))
}
