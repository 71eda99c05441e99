//! What a request to edit a picture says: a form, read in a lane where it is long.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use imaging::EncodedImage;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::form::Form;
use super::request::DrawingRequest;
use crate::http::App;
use crate::http::body::WholeBody;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;
use crate::http::json::{HEAVY, claim, of_form};
use crate::number::Double;

/// A request's form and terms.
#[derive(Debug)]
pub(in crate::http) struct AskedEdit {
    pub(super) terms: Terms,
    pub(super) request: EditRequest,
}

/// The form, read.
#[derive(Debug)]
pub(super) struct EditRequest {
    pub(super) drawing: DrawingRequest,
    pub(super) image: EncodedImage,
    /// Where the picture is to be drawn anew.
    pub(super) mask: Option<EncodedImage>,
    pub(super) strength: Option<f64>,
}

/// What a form says besides the files and what all requests do.
#[derive(Deserialize)]
struct More {
    strength: Option<Double>,
}

impl FromRequest<App> for AskedEdit {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (Parts { headers, mut extensions, .. }, body) = request.into_parts();
        let terms = extensions
            .remove::<Terms>()
            .ok_or_else(|| ApiError::internal("the request came past the server's envelope"))?;
        let (body, boundary) = WholeBody::read_form(app, &headers, body).await?;
        let (limits, heavy) = (app.image_limits, body.len() > HEAVY);
        let read = move || body.read_with(|body| EditRequest::read(Form::read(body, boundary)?, limits));
        let request = if heavy { app.engine.lanes().prepare(&claim(), read).await?? } else { read()? };
        Ok(Self { terms, request })
    }
}

impl EditRequest {
    fn read(form: Form, limits: imaging::Limits) -> Result<Self, ApiError> {
        let Form { mut said, image, mask } = form;
        let strength = said.remove_entry("strength");
        let More { strength } = of_form(strength.into_iter().collect::<Map<String, Value>>())?;
        let drawing = of_form(said)?;
        let encoded = |file: Bytes| EncodedImage::with_limits(Arc::<[u8]>::from(&*file), limits);
        let Some(image) = image.map(encoded) else {
            return Err(ApiError::invalid("missing_parameter", "parameter image is missing").param("image"));
        };
        let mask = mask.map(encoded);
        Ok(Self { drawing, image, mask, strength: strength.map(|Double(strength)| strength) })
    }
}
