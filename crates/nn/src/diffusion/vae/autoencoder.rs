//! An autoencoder's weights, and how pictures and latents pass it.

use super::config::VaeConfig;
use super::memory::MOST_PIXELS;
use super::pass::{Half, VaePass};
use super::plan::PlannedLayer;
use super::stack::{Stack, output_size};
use super::tiles::{Tiles, Tiling, channels_last};
use crate::diffusion::maps::MapSize;
use crate::error::NnError;
use crate::store::{Recorder, TensorStore};

/// An autoencoder, or a half of it. Its weights never change and are shared; the state of a picture is in a [`VaePass`].
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    encoder: Option<Stack>,
    decoder: Option<Stack>,
}

/// Which halves are loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VaeParts {
    /// What makes pictures of latents.
    Decoder,
    /// What makes latents of pictures.
    Encoder,
    /// Both.
    Both,
}

impl VaeParts {
    fn encoder(self) -> bool {
        self != Self::Decoder
    }

    fn decoder(self) -> bool {
        self != Self::Encoder
    }
}

impl VaeConfig {
    /// How many numbers the weights are.
    #[must_use]
    pub fn parameters(&self, parts: VaeParts) -> u64 {
        let encoder = parts.encoder().then(|| self.encoder_layers());
        let decoder = parts.decoder().then(|| self.decoder_layers());
        encoder.into_iter().chain(decoder).flatten().map(|layer| layer.shape.parameters()).sum()
    }
}

impl Vae {
    /// Checks the configuration and loads the weights of the halves that are wanted. Blocks.
    ///
    /// Tensors are asked for by diffusers' names: `encoder.conv_in.weight`, `decoder.mid_block.attentions.0.to_q.weight` (or
    /// `query`, as older checkpoints have it), `post_quant_conv.weight`.
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`], [`NnError::Weights`] if a tensor is missing or has another shape than the configuration
    /// says, [`NnError::Unsupported`] if there are tensors that are not computed with.
    pub fn load(config: VaeConfig, store: &dyn TensorStore, parts: VaeParts) -> Result<Self, NnError> {
        config.check()?;
        let recorder = Recorder::new(store);
        let half = |wanted: bool, layers: Vec<PlannedLayer>| {
            if wanted {
                return Stack::load(&recorder, &layers).map(Some);
            }
            layers.iter().flat_map(PlannedLayer::tensors).for_each(|name| recorder.leave(&name));
            Ok(None)
        };
        let encoder = half(parts.encoder(), config.encoder_layers())?;
        let decoder = half(parts.decoder(), config.decoder_layers())?;
        recorder.refuse_unread(usize::MAX)?;
        Ok(Self { config, encoder, decoder })
    }

    /// What it computes.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Latents at the beginning of their way to a picture: `[latent_channels, height, width]`, as the autoencoder has them
    /// ([`VaeConfig::unscale`]).
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] for another count of numbers, no or too many positions, or if the decoder is not loaded.
    pub fn begin_decode(&self, latents: &[f32], height: usize, width: usize) -> Result<VaePass, NnError> {
        self.begin(Half::Decoding, latents, (height, width), Tiling::none())
    }

    /// The same in tiles, as diffusers decodes with `enable_tiling`: of `sample_size` pixels, blended where they overlap, a
    /// quarter. It takes less memory and is another picture, a little, since each tile is normed by itself.
    ///
    /// # Errors
    /// Like [`begin_decode`](Self::begin_decode), and if `sample_size` cannot be divided so.
    pub fn begin_decode_tiled(
        &self,
        latents: &[f32],
        height: usize,
        width: usize,
    ) -> Result<VaePass, NnError> {
        self.begin(Half::Decoding, latents, (height, width), Tiling::decoding(&self.config)?)
    }

    /// A picture at the beginning of its way to latents: `[in_channels, height, width]`, from -1 to 1.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] for another count of numbers, a picture smaller than a latent or too large, or if the encoder
    /// is not loaded.
    pub fn begin_encode(&self, pixels: &[f32], height: usize, width: usize) -> Result<VaePass, NnError> {
        self.begin(Half::Encoding, pixels, (height, width), Tiling::none())
    }

    /// The same in tiles. Edges must be multiples of [`VaeConfig::factor`].
    ///
    /// # Errors
    /// Like [`begin_encode`](Self::begin_encode), and for edges or a `sample_size` that cannot be divided so.
    pub fn begin_encode_tiled(
        &self,
        pixels: &[f32],
        height: usize,
        width: usize,
    ) -> Result<VaePass, NnError> {
        let factor = self.config.factor();
        if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return Err(NnError::InvalidCall(format!(
                "a picture of {width} x {height} pixels cannot be taken in tiles: its edges must be multiples of {factor}"
            )));
        }
        self.begin(Half::Encoding, pixels, (height, width), Tiling::encoding(&self.config)?)
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on`, which is asked between pieces, says to
    /// stop (false). The result is the same to the last bit wherever it paused. Blocks.
    ///
    /// A pass belongs to the autoencoder that began it; with another one's it may panic.
    pub fn advance(&self, pass: &mut VaePass, go_on: &mut dyn FnMut() -> bool) -> bool {
        let stack = match pass.half {
            Half::Encoding => self.encoder.as_ref(),
            Half::Decoding => self.decoder.as_ref(),
        };
        let Some(stack) = stack.filter(|_| !pass.done) else {
            return pass.done;
        };
        loop {
            let mut run = pass.run.take().unwrap_or_else(|| {
                let (numbers, size) = pass.tiles.next();
                Stack::begin(numbers, size)
            });
            if stack.advance(&mut run) {
                let (numbers, size) = run.into_output();
                pass.done = pass.tiles.take(numbers, size);
            } else {
                pass.run = Some(run);
            }
            if pass.done || !go_on() {
                return pass.done;
            }
        }
    }

    fn begin(
        &self,
        half: Half,
        numbers: &[f32],
        (height, width): (usize, usize),
        tiling: Tiling,
    ) -> Result<VaePass, NnError> {
        let factor = self.config.factor();
        let (stack, name, channels, least, most) = match half {
            Half::Encoding => (&self.encoder, "encoder", self.config.in_channels, factor, MOST_PIXELS),
            Half::Decoding => {
                (&self.decoder, "decoder", self.config.latent_channels, 1, MOST_PIXELS / factor)
            }
        };
        if stack.is_none() {
            return Err(NnError::InvalidCall(format!("the autoencoder was loaded without its {name}")));
        }
        let edges = least..=most;
        if !edges.contains(&height) || !edges.contains(&width) {
            return Err(NnError::InvalidCall(format!(
                "the {name} is given {width} x {height} positions, there must be {least} to {most} along an edge"
            )));
        }
        if numbers.len() != channels * height * width {
            return Err(NnError::InvalidCall(format!(
                "the {name} is given {} numbers, {channels} channels of {width} x {height} positions are {}",
                numbers.len(),
                channels * height * width
            )));
        }
        let layers = match half {
            Half::Encoding => self.config.encoder_layers(),
            Half::Decoding => self.config.decoder_layers(),
        };
        let size = MapSize { maps: 1, height, width };
        let tiling = tiling.for_size((height, width));
        let tiles =
            Tiles::new(tiling, channels_last(numbers, channels), size, |size| output_size(&layers, size));
        Ok(VaePass { half, tiles, run: None, done: false })
    }
}
