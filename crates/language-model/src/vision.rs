use std::fmt;

use candle_core::Tensor;
use model_source::{LanguageTokenizer, ModelFiles};
use pool_core::{Footprint, ModelError};
use serde_json::Value;

use crate::error::Error;

/// A picture as a caller hands it in: encoded (JPEG, PNG, ...), its header looked at. Cheap to clone.
pub trait Picture: Clone + fmt::Debug + Send + Sync + 'static {
    /// The bytes it came as. Pictures of equal bytes are computed once, and share what is cached of them.
    fn encoded(&self) -> &[u8];
}

/// How a model reads pictures, as its files say: what is known without its weights.
///
/// A chat template writes the [image token](Self::image_token) once for each picture. As many positions stand in its place
/// as the picture has [tokens](Self::tokens), and the rows that the [tower](Self::Tower) computes from its pixels stand at
/// them.
pub trait Vision: fmt::Debug + Send + Sync + Sized + 'static {
    /// A picture as callers hand it in.
    type Picture: Picture;
    /// A picture as the tower computes on it: decoded, resized, cut into tiles.
    type Pixels: Send + Sync + 'static;
    /// The weights that turn pixels into rows.
    type Tower: VisionTower<Pixels = Self::Pixels>;

    /// The language model's part of `config.json`, as a configuration of its own. Default: the whole. `place`: what to call
    /// the file in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] and [`Error::Checkpoint`] for what cannot be computed.
    fn language_config(config: Value, place: &str) -> Result<Value, Error> {
        let _ = place;
        Ok(config)
    }

    /// Reads what a model's files say. `None`: they have nothing for pictures. Blocks; runs in the io lane.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] and [`Error::Checkpoint`] for what cannot be computed, [`Error::Source`] for files that
    /// cannot be had.
    fn read(files: &VisionFiles<'_>) -> Result<Option<Self>, Error>;

    /// What the whole model is called: `llava`, `llava_next`.
    fn architecture(&self) -> &str;

    /// How the prompt spells a picture's place: `<image>`.
    fn image_token(&self) -> &str;

    /// Whether the tokenizer puts its own tokens around what the chat template wrote.
    fn rendered_special(&self) -> RenderedSpecial;

    /// How many positions a picture takes, by its header. Cheap: called on a runtime thread.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] for one that the model cannot read.
    fn tokens(&self, picture: &Self::Picture) -> Result<usize, ModelError>;

    /// The most positions a picture takes.
    fn most_tokens(&self) -> usize;

    /// What [preparing](Self::prepare) a picture takes in memory at most, by its header, beyond what the
    /// [footprint](Self::footprint) has for it and the bytes it came as. Cheap: called on a runtime thread.
    fn preparing_bytes(&self, picture: &Self::Picture) -> u64;

    /// Decodes a picture and resizes it. Runs in the prepare lane, one of a request's pictures after the other.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] for one that is damaged.
    fn prepare(&self, picture: &Self::Picture) -> Result<Self::Pixels, ModelError>;

    /// What pixels take in memory.
    fn pixel_bytes(&self, pixels: &Self::Pixels) -> usize;

    /// What the tower takes: its weights, a pass over the largest picture, and what preparing most pictures takes.
    fn footprint(&self) -> Footprint;

    /// Loads the tower. Blocks; runs in the io lane, once for all workers.
    ///
    /// # Errors
    ///
    /// As [`Vision::read`].
    fn load(&self) -> Result<Self::Tower, Error>;
}

/// What a [`Vision`] is read from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct VisionFiles<'a> {
    /// The files of the language model.
    pub language: &'a ModelFiles,
    /// The files that the rest comes from, where they are not the same: see [`Load::vision`](crate::Load::vision).
    pub vision: Option<&'a ModelFiles>,
    /// The language model's tokenizer.
    pub tokenizer: &'a LanguageTokenizer,
    /// Numbers in a row: what the language model's embeddings have.
    pub hidden_size: usize,
}

/// Whether the tokenizer puts its own tokens (the beginning of text) around what a chat template wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenderedSpecial {
    /// It does not: templates write them where they belong.
    Never,
    /// It does, unless the template wrote the beginning of text itself.
    UnlessWritten,
}

/// Why a tower cannot compute a picture.
pub type TowerError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Weights that turn pixels into rows in the place of tokens, a piece at a time. Shared by all workers.
pub trait VisionTower: Send + Sync + 'static {
    /// What it computes on.
    type Pixels;
    /// A picture on its way through.
    type Pass: Send + 'static;

    /// Begins with a picture.
    ///
    /// # Errors
    ///
    /// When the picture cannot be computed.
    fn begin(&self, pixels: &Self::Pixels) -> Result<Self::Pass, TowerError>;

    /// Goes on, piece by piece: at least one, and another each time `go_on` says so. Gives the rows when they are done, f32
    /// on the CPU, one for each of the picture's [tokens](Vision::tokens). They do not depend on where it paused. Pieces
    /// are short: what waits for one to end are sequences that could write another token.
    ///
    /// # Errors
    ///
    /// When the picture cannot be computed.
    fn advance(
        &self,
        pass: &mut Self::Pass,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Tensor>, TowerError>;
}
