//! The answer, whole.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use text_to_image::{Drawing, Picture};

#[derive(Serialize)]
pub(super) struct DrawingAnswer {
    created: u64,
    background: &'static str,
    data: Vec<Datum>,
    output_format: Option<&'static str>,
    size: String,
    /// What the noise was drawn from: sent back, it gives the same pictures.
    seed: u64,
    usage: Usage,
}

#[derive(Serialize)]
struct Datum {
    b64_json: String,
}

impl DrawingAnswer {
    /// Takes the time that base64 takes.
    pub(super) fn new(drawing: &Drawing) -> Self {
        Self {
            created: now(),
            background: OPAQUE,
            data: drawing.pictures.iter().map(|picture| Datum { b64_json: base64(picture) }).collect(),
            output_format: drawing.pictures.first().map(|picture| picture.format.as_str()),
            size: format!("{}x{}", drawing.parameters.width, drawing.parameters.height),
            seed: drawing.parameters.seed,
            usage: Usage::of(drawing),
        }
    }
}

/// No picture that is drawn has an alpha channel.
pub(super) const OPAQUE: &str = "opaque";

/// What it took, in the words of OpenAI's protocol.
#[derive(Clone, Copy, Serialize, Debug)]
pub(super) struct Usage {
    input_tokens: usize,
    input_tokens_details: InputTokens,
    /// Pictures are not drawn in tokens.
    output_tokens: usize,
    total_tokens: usize,
}

#[derive(Clone, Copy, Serialize, Debug)]
struct InputTokens {
    text_tokens: usize,
    image_tokens: usize,
}

impl Usage {
    pub(super) fn of(drawing: &Drawing) -> Self {
        let text_tokens = drawing.prompt_tokens;
        Self {
            input_tokens: text_tokens,
            input_tokens_details: InputTokens { text_tokens, image_tokens: 0 },
            output_tokens: 0,
            total_tokens: text_tokens,
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn base64(picture: &Picture) -> String {
    STANDARD.encode(&picture.bytes)
}

/// How long that is.
pub(super) fn base64_bytes(picture: &Picture) -> usize {
    picture.bytes.len().div_ceil(3) * 4
}
