//! Pictures on their way through a tower.

use crate::encoder::Run;

/// A picture as a tower takes it.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// Channel by channel, each row by row: `channels · height · width` numbers, resized and normalised.
    pub values: &'a [f32],
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

/// Pictures on their way through a tower; all state is here. [`VisionTransformer::begin`] makes one,
/// [`VisionTransformer::advance`] brings it on.
///
/// [`VisionTransformer::begin`]: crate::VisionTransformer::begin
/// [`VisionTransformer::advance`]: crate::VisionTransformer::advance
#[derive(Debug)]
pub struct VisionPass {
    pub(super) pictures: Vec<Picture>,
    /// The layers' part, once all patches are embedded.
    pub(super) run: Option<Run>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Picture {
    /// Of patches.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// In pixels.
    pub(super) square: bool,
    /// The patches before they are embedded, then the rows that the first layer sees.
    pub(super) numbers: Vec<f32>,
    pub(super) embedded: bool,
    pub(super) embedding: Vec<f32>,
}

impl VisionPass {
    /// How many pictures there are.
    #[must_use]
    pub fn pictures(&self) -> usize {
        self.pictures.len()
    }

    /// Rows and columns of patches of a picture.
    #[must_use]
    pub fn patches(&self, picture: usize) -> (usize, usize) {
        (self.pictures[picture].rows, self.pictures[picture].columns)
    }

    /// The rows of a picture of the hidden state that [`TowerOutputs::hidden`](crate::TowerOutputs) names at this place: the
    /// class token and the registers, if there are any, then the patches row by row. Nothing before all layers are computed.
    #[must_use]
    pub fn hidden(&self, picture: usize, place: usize) -> &[f32] {
        self.run.as_ref().filter(|run| run.is_done()).map_or(&[], |run| run.hidden(picture, place))
    }

    /// The vector of a picture, not normalised. Nothing before the pass is done, or if it is not wanted.
    #[must_use]
    pub fn embedding(&self, picture: usize) -> &[f32] {
        &self.pictures[picture].embedding
    }

    /// Takes a picture out, done or not; those behind it move up. The others' results are the same as with it.
    pub fn remove(&mut self, picture: usize) {
        self.pictures.remove(picture);
        if let Some(run) = &mut self.run {
            run.remove(picture);
        }
    }
}
