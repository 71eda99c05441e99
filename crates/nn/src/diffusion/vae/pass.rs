//! A picture on its way through a half of an autoencoder.

use super::stack::StackRun;
use super::tiles::Tiles;

/// A picture on its way to latents, or latents to a picture; all state is here. [`Vae::begin_decode`] and its like make one,
/// [`Vae::advance`] brings it on.
///
/// [`Vae::begin_decode`]: crate::Vae::begin_decode
/// [`Vae::advance`]: crate::Vae::advance
#[derive(Debug)]
pub struct VaePass {
    pub(super) half: Half,
    pub(super) tiles: Tiles,
    /// The tile at hand.
    pub(super) run: Option<StackRun>,
    pub(super) done: bool,
}

/// Which way it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Half {
    Encoding,
    Decoding,
}

impl VaePass {
    /// Whether all is computed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Height and width of the output.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let (_, size) = self.tiles.output();
        (size.height, size.width)
    }

    /// What has been decoded, `[out_channels, height, width]`, about -1 to 1; or the moments of latents,
    /// `[2 · latent_channels, height, width]`: the means, then the logarithms of the variances. Nothing before the pass is
    /// done.
    #[must_use]
    pub fn output(&self) -> &[f32] {
        if self.done { self.tiles.output().0 } else { &[] }
    }
}
