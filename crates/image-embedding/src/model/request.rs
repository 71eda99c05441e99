use std::sync::Arc;

use imaging::PixelValues;
use pool_core::{Fingerprint, Fingerprinter, Priority};

use crate::call::Input;
use crate::checkpoint::Checkpoint;
use crate::error::Error;

/// Inputs of more bytes are not compared with others: hashing them on a runtime thread would take too long.
const LONGEST_COMPARED: usize = 16 << 10;

/// One picture or text and what was asked of it.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    pub(crate) input: Input,
    pub(crate) normalize: bool,
    /// More urgent ones are computed first where several are under way.
    pub(crate) priority: Priority,
    /// Tokens it has, of a picture; what is guessed, of a text.
    pub(crate) tokens: u64,
    /// Memory it takes until it has ended, at most.
    pub(crate) bytes: u64,
    fingerprint: Option<Fingerprint>,
}

/// What the model computes on.
#[derive(Debug)]
pub enum Prepared {
    /// A picture, resized and normalised, and how many tokens it has.
    Image(Arc<PixelValues>, usize),
    /// A text's tokens.
    Text(Vec<u32>),
}

impl EmbedRequest {
    /// Looks at an input, as far as its first bytes say what it is.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        input: Input,
        normalize: bool,
        priority: Priority,
    ) -> Result<Self, Error> {
        let (tokens, more) = match &input {
            Input::Image(image) => {
                let (layout, tokens) = checkpoint.layout(image)?;
                let pixels = 3 * layout.tile_height as u64 * layout.tile_width as u64;
                (tokens as u64, image.charged_bytes() + pixels + checkpoint.excess_bytes(tokens))
            }
            Input::Text(text) => (checkpoint.reads_texts()?.estimate(text)?, 0),
        };
        let bytes = input.bytes() as u64 + more;
        let mut request = Self { input, normalize, priority, tokens, bytes, fingerprint: None };
        if request.input.bytes() <= LONGEST_COMPARED {
            request.fingerprint = Some(request.content());
        }
        Ok(request)
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    pub(crate) fn content(&self) -> Fingerprint {
        let mut fingerprint = Fingerprinter::new();
        match &self.input {
            Input::Image(image) => fingerprint.add(&(0_u8, image.bytes())),
            Input::Text(text) => fingerprint.add(&(1_u8, text)),
        };
        fingerprint.add(&self.normalize);
        fingerprint.finish()
    }
}
