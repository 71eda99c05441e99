//! What a job takes in memory, before anything is computed.

use nn::VaeConfig;

use crate::checkpoint::Checkpoint;

/// What decoding or encoding a picture may take at once: where a whole picture takes more, it goes in tiles.
pub(super) const VAE_BUDGET: u64 = 1 << 30;
/// Numbers of one picture's latents that a job holds: latents, their noise, the outputs of a pass, what schedulers keep of
/// earlier ones.
const HELD_LATENTS: u64 = 12;

/// What decides how much a job takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Pixels a row.
    pub(crate) width: u32,
    /// Rows.
    pub(crate) height: u32,
    pub(crate) pictures: usize,
    /// Rows of a pass for one picture: two with guidance.
    pub(crate) halves: usize,
    /// Whether it begins with a picture.
    pub(crate) edit: bool,
}

impl Shape {
    /// Rows and columns of the latents.
    pub(crate) fn latents(&self, multiple: u32) -> (usize, usize) {
        ((self.height / multiple.max(1)) as usize, (self.width / multiple.max(1)) as usize)
    }

    /// Latent positions that are computed in all.
    pub(super) fn tokens(&self, multiple: u32, evaluations: usize) -> u64 {
        let (height, width) = self.latents(multiple);
        ((height * width) as u64)
            .saturating_mul((self.pictures * self.halves) as u64)
            .saturating_mul(evaluations.max(1) as u64)
    }

    /// Bytes at the height of one picture's way through the model, besides weights.
    pub(crate) fn peak_bytes(&self, checkpoint: &Checkpoint) -> u64 {
        let (height, width) = self.latents(checkpoint.vae.factor() as u32);
        let pass = checkpoint.unet.pass_bytes(self.halves, height, width);
        let decoding = decoding(&checkpoint.vae, height, width).bytes;
        let encoding = if self.edit { encoding(&checkpoint.vae, height, width).bytes } else { 0 };
        pass.max(decoding).max(encoding)
    }

    /// The same beyond what a model's working set has room for.
    pub(super) fn excess_bytes(&self, checkpoint: &Checkpoint) -> u64 {
        self.peak_bytes(checkpoint).saturating_sub(Self::usual(checkpoint).peak_bytes(checkpoint))
    }

    /// Bytes that a job holds from its beginning to its end.
    pub(super) fn held_bytes(&self, checkpoint: &Checkpoint) -> u64 {
        let (height, width) = self.latents(checkpoint.vae.factor() as u32);
        let channels = checkpoint.unet.in_channels.max(checkpoint.vae.latent_channels);
        let latents = (height * width * channels) as u64 * 4 * HELD_LATENTS;
        let pixels = u64::from(self.width) * u64::from(self.height);
        // A picture as bytes and as a file; what it begins with as numbers, with its mask.
        let source = if self.edit { pixels * 4 * (2 * 3 + 1) } else { 0 };
        (latents + 2 * 3 * pixels).saturating_mul(self.pictures as u64).saturating_add(source)
    }

    /// One picture of the model's own size, with guidance.
    pub(crate) fn usual(checkpoint: &Checkpoint) -> Self {
        let (width, height) = checkpoint.usual_size();
        let halves = if checkpoint.unet.guidance_size.is_some() { 1 } else { 2 };
        Self { width, height, pictures: 1, halves, edit: false }
    }
}

/// How a picture passes the VAE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    pub(super) tiled: bool,
    pub(super) bytes: u64,
}

/// How latents become a picture.
pub(super) fn decoding(vae: &VaeConfig, height: usize, width: usize) -> Way {
    way(vae.decode_bytes(height, width), vae.decode_tiled_bytes(height, width))
}

/// How a picture with latents of this size becomes them.
pub(super) fn encoding(vae: &VaeConfig, height: usize, width: usize) -> Way {
    let (rows, columns) = (height * vae.factor(), width * vae.factor());
    way(vae.encode_bytes(rows, columns), vae.encode_tiled_bytes(rows, columns))
}

/// Whole where that is within the budget, or where tiles take no less.
fn way(whole: u64, tiled: u64) -> Way {
    match whole <= VAE_BUDGET || whole <= tiled {
        true => Way { tiled: false, bytes: whole },
        false => Way { tiled: true, bytes: tiled },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_goes_in_tiles_where_that_saves_what_is_too_much() {
        assert_eq!(way(5, 1), Way { tiled: false, bytes: 5 });
        assert_eq!(way(VAE_BUDGET + 1, 1), Way { tiled: true, bytes: 1 });
        assert_eq!(way(VAE_BUDGET + 1, VAE_BUDGET + 1), Way { tiled: false, bytes: VAE_BUDGET + 1 });
    }

    #[test]
    fn tokens_are_latent_positions_of_all_passes() {
        let shape = Shape { width: 64, height: 32, pictures: 3, halves: 2, edit: false };
        assert_eq!(shape.latents(8), (4, 8));
        assert_eq!(shape.tokens(8, 10), 3 * 2 * 32 * 10);
    }
}
