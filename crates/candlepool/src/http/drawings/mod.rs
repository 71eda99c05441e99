//! Pictures of what a text says: `POST /v1/images/generations` and `POST /v1/images/edits`.

mod answer;
mod edit;
mod form;
mod pieces;
mod request;

use axum::extract::State;
use axum::response::Response;
use text_to_image::{Imagine, TextToImage};

use super::asked::Asked;
use super::envelope::Terms;
use super::errors::ApiError;
use super::{App, AppState, answer as http_answer};
use crate::registry::Served;
use answer::{DrawingAnswer, base64_bytes};
use edit::{AskedEdit, EditRequest};
use pieces::Pieces;
use request::DrawingRequest;

/// What the events of a stream are called after.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Generation,
    Edit,
}

/// Draws from nothing but a text.
pub(super) async fn generations(
    State(app): State<App>,
    Asked { terms, request }: Asked<DrawingRequest>,
) -> Result<Response, ApiError> {
    let request = request.checked()?;
    let pool = drawer(&app, request.model(), &terms).await?;
    let call = pool.imagine(request.prompt());
    answer(&app, Kind::Generation, call, request, terms).await
}

/// Draws from a text and a picture, or a part of it.
pub(super) async fn edits(
    State(app): State<App>,
    AskedEdit { terms, request }: AskedEdit,
) -> Result<Response, ApiError> {
    let EditRequest { drawing, image, mask, strength } = request;
    let request = drawing.checked()?;
    let pool = drawer(&app, request.model(), &terms).await?;
    let mut call = pool.edit(image, request.prompt());
    if let Some(mask) = mask {
        call = call.mask(mask);
    }
    if let Some(strength) = strength {
        call = call.strength(strength);
    }
    answer(&app, Kind::Edit, call, request, terms).await
}

/// The model of that name, if it draws.
async fn drawer(app: &AppState, model: &str, terms: &Terms) -> Result<TextToImage, ApiError> {
    match app.registry.served(model, terms.deadline).await? {
        Served::Drawing(pool) => Ok(pool),
        other => Err(ApiError::wrong_model(model, other.purpose())),
    }
}

async fn answer(
    app: &App,
    kind: Kind,
    call: Imagine,
    request: DrawingRequest,
    terms: Terms,
) -> Result<Response, ApiError> {
    let call = request.told(call, &terms)?;
    if request.is_streamed() {
        let stream = call.stream().await.map_err(|error| ApiError::of_drawing(&error))?;
        let pieces = Pieces::new(app.clone(), kind, stream, request.partial_images(), terms.held);
        return pieces.respond().await;
    }
    let drawing = call.await.map_err(|error| ApiError::of_drawing(&error))?;
    let bytes = drawing.pictures.iter().map(base64_bytes).sum();
    http_answer::json_of(app, move || DrawingAnswer::new(&drawing), bytes).await
}
