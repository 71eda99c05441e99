//! A vision tower's weights, and how pictures pass it.

use super::config::VisionConfig;
use super::embeddings::Embeddings;
use super::pass::{Picture, Pixels, VisionPass};
use super::pooling::Pooling;
use crate::encoder::{Encoder, TowerOutputs};
use crate::error::NnError;
use crate::store::{Recorder, TensorStore};

/// A vision tower. Its weights never change and are shared; the state of pictures is in a [`VisionPass`].
#[derive(Debug)]
pub struct VisionTransformer {
    config: VisionConfig,
    outputs: TowerOutputs,
    layers: usize,
    embeddings: Embeddings,
    encoder: Encoder,
    pooling: Option<Pooling>,
}

/// What names of the tower's tensors begin with when a store is asked for them.
const TOWER: &str = "vision_model.";

impl VisionTransformer {
    /// Checks the configuration and loads the weights that are needed for what is wanted: no layer behind the last one that
    /// is asked for. Blocks.
    ///
    /// Tensors are asked for by transformers' names, `vision_model.` before those of the tower whatever the architecture
    /// (`vision_model.encoder.layers.0.self_attn.q_proj.weight`, `vision_model.embeddings.cls_token`), and
    /// `visual_projection.weight`. A convolution's weight is asked for as a matrix with a row for each output, a token as a
    /// vector, whatever axes of length one it is stored with. [`TowerStore`](crate::TowerStore) gives them like that.
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`], [`NnError::Weights`] if a tensor is missing or has another shape than the configuration
    /// says, [`NnError::Unsupported`] if the tower has tensors that are not computed with, or is asked for a vector that it
    /// does not have.
    pub fn load(
        config: VisionConfig,
        store: &dyn TensorStore,
        outputs: TowerOutputs,
    ) -> Result<Self, NnError> {
        config.check()?;
        let layers = outputs.layers_of(config.layers)?;
        let recorder = Recorder::new(store);
        let embeddings = Embeddings::load(&config, &recorder, TOWER)?;
        let norm = if config.architecture.is_dinov2() { "layernorm" } else { "post_layernorm" };
        let encoder = Encoder::load(&config.encoder(), &outputs, config.layers, &recorder, TOWER, norm)?;
        let pooling = match outputs.embedding {
            true => Some(Pooling::load(&config, &recorder, TOWER)?),
            false => None,
        };
        recorder.refuse_unread(layers)?;
        Ok(Self { config, outputs, layers, embeddings, encoder, pooling })
    }

    /// What it computes.
    #[must_use]
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// What it was loaded for.
    #[must_use]
    pub fn outputs(&self) -> &TowerOutputs {
        &self.outputs
    }

    /// Layers that are loaded and computed.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Pictures at the beginning of their way, each of its own size. Their rows share the matrix products, which is faster
    /// for small pictures; more than some hundred rows together gain nothing.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] if a picture has another size than the tower sees or another number of values than its size
    /// says.
    pub fn begin(&self, pictures: &[Pixels<'_>]) -> Result<VisionPass, NnError> {
        let picture = |picture: &Pixels<'_>| {
            let (height, width) = (picture.height, picture.width);
            let (rows, columns) = self.config.patches(height, width)?;
            let wanted = self.config.channels.checked_mul(height).and_then(|lines| lines.checked_mul(width));
            if wanted != Some(picture.values.len()) {
                return Err(NnError::InvalidCall(format!(
                    "{} values for a picture of {width}x{height} pixels in {} channels",
                    picture.values.len(),
                    self.config.channels
                )));
            }
            let numbers = self.embeddings.cut(*picture);
            let square = height == width;
            Ok(Picture { rows, columns, square, numbers, embedded: false, embedding: Vec::new() })
        };
        Ok(VisionPass { pictures: pictures.iter().map(picture).collect::<Result<_, _>>()?, run: None })
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on`, which is asked between pieces, says to
    /// stop (false). A piece is half a layer of about 256 rows. The results are the same to the last bit wherever it
    /// paused, and whatever other pictures are in the pass. Blocks.
    ///
    /// A pass belongs to the tower that began it; with another one's it may panic.
    pub fn advance(&self, pass: &mut VisionPass, go_on: &mut dyn FnMut() -> bool) -> bool {
        while let Some(picture) = pass.pictures.iter_mut().find(|picture| !picture.embedded) {
            let Picture { rows, columns, square, numbers, .. } = picture;
            *numbers = self.embeddings.rows(numbers, *rows, *columns, *square);
            picture.embedded = true;
            if !go_on() {
                return false;
            }
        }
        let run = pass.run.get_or_insert_with(|| {
            let lengths = pass.pictures.iter().map(|picture| picture.numbers.len() / self.config.hidden_size);
            let lengths = lengths.collect();
            let rows = pass.pictures.iter_mut().flat_map(|picture| std::mem::take(&mut picture.numbers));
            self.encoder.start(rows.collect(), lengths)
        });
        if !self.encoder.advance(run, go_on) {
            return false;
        }
        let Some(pooling) = &self.pooling else {
            return true;
        };
        let width = self.config.hidden_size;
        let mut start = 0;
        for (picture, length) in pass.pictures.iter_mut().zip(run.lengths()) {
            let rows = &run.rows()[start * width..(start + length) * width];
            start += length;
            if picture.embedding.is_empty() {
                picture.embedding = pooling.apply(rows, |rows| self.encoder.normed(rows), width);
                if start < run.rows().len() / width && !go_on() {
                    return false;
                }
            }
        }
        true
    }
}
