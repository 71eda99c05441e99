//! The picture that a job begins with: made ready, encoded, and mixed in.
//!
//! What is drawn from the job's generator, and in which order, is as diffusers has it in its pipelines for image-to-image
//! and inpainting: one sample of the picture's latents, the noise, one sample of the latents of what the mask leaves.

use imaging::{Filter, Mask};
use nn::{NnError, VaePass};

use super::memory;
use super::request::Edit;
use crate::checkpoint::Loaded;
use crate::error::Error;

/// A picture to begin with, ready to be encoded.
#[derive(Debug)]
pub(super) struct Source {
    /// `[3, height, width]`, from -1 to 1.
    pixels: Vec<f32>,
    mask: Option<Mask>,
    height: usize,
    width: usize,
}

/// What the encoder made of a picture to begin with.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Means, then logarithms of variances.
    pub(super) moments: Vec<f32>,
    pub(super) masked: Option<EncodedRest>,
}

/// What the encoder made of the rest that a mask leaves.
#[derive(Debug)]
pub(super) struct EncodedRest {
    pub(super) moments: Vec<f32>,
    /// 1 for each latent position that is drawn anew.
    pub(super) mask: Vec<f32>,
}

/// What a mask leaves, as latents.
#[derive(Debug)]
pub(super) struct MaskedLatents {
    /// `[height, width]`: 1 where it is drawn anew.
    pub(super) mask: Vec<f32>,
    /// Those of the picture with nothing in the mask's place.
    pub(super) rest: Vec<f32>,
}

/// Pictures on their way through the encoder: the source, then what a mask leaves of it.
#[derive(Debug, Default)]
pub(super) struct EncodingRun {
    pass: Option<VaePass>,
    /// The moments of what is done.
    moments: Vec<Vec<f32>>,
}

impl Source {
    /// Decodes and resizes. Belongs on a compute lane.
    pub(super) fn prepare(edit: &Edit, width: u32, height: u32) -> Result<Self, Error> {
        let of_picture = |error| Error::invalid(format!("image: {error}"));
        let of_mask = |error| Error::invalid(format!("mask: {error}"));
        let image = edit.image.decode().map_err(of_picture)?;
        let image = imaging::resize(&image, width, height, Filter::Lanczos3).map_err(of_picture)?;
        let mask = edit
            .mask
            .as_ref()
            .map(|mask| mask.decode_mask().and_then(|mask| Mask::new(&mask, width, height)));
        let (pixels, mask) = (image.planes(), mask.transpose().map_err(of_mask)?);
        Ok(Self { pixels, mask, height: height as usize, width: width as usize })
    }

    pub(super) fn is_masked(&self) -> bool {
        self.mask.is_some()
    }

    /// The mask for each latent position: 1 where it is drawn anew.
    fn latent_mask(&self, factor: usize) -> Option<Vec<f32>> {
        Some(self.mask.as_ref()?.squares(factor))
    }

    /// What the mask leaves; what it does not is grey.
    fn rest(&self) -> Option<Vec<f32>> {
        let drawn = self.mask.as_ref()?.drawn();
        let channels = self.pixels.chunks_exact(drawn.len());
        let left = |(pixel, drawn): (&f32, &bool)| if *drawn { 0.0 } else { *pixel };
        Some(channels.flat_map(|pixels| pixels.iter().zip(drawn).map(left)).collect())
    }
}

impl EncodingRun {
    /// Computes until the moments of the source, and of what a mask leaves of it, are there (true), or `go_on` says to stop
    /// (false).
    pub(super) fn advance(
        &mut self,
        source: &Source,
        loaded: &Loaded,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, NnError> {
        let wanted = 1 + usize::from(source.is_masked());
        while self.moments.len() < wanted {
            let pass = match &mut self.pass {
                Some(pass) => pass,
                None => {
                    let rest = if self.moments.is_empty() { None } else { source.rest() };
                    let pixels = rest.as_ref().unwrap_or(&source.pixels);
                    let (height, width) = (source.height, source.width);
                    let factor = loaded.vae.config().factor();
                    let way = memory::encoding(loaded.vae.config(), height / factor, width / factor);
                    self.pass.insert(match way.tiled {
                        true => loaded.vae.begin_encode_tiled(pixels, height, width)?,
                        false => loaded.vae.begin_encode(pixels, height, width)?,
                    })
                }
            };
            if !loaded.vae.advance(pass, go_on) {
                return Ok(false);
            }
            self.moments.push(pass.output().to_vec());
            self.pass = None;
            if self.moments.len() < wanted && !go_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Frees what a picture on its way takes; it is begun again.
    pub(super) fn give_up(&mut self) {
        self.pass = None;
    }

    /// What has become of it.
    pub(super) fn finish(self, source: &Source, factor: usize) -> Encoded {
        let mut all = self.moments.into_iter();
        let moments = all.next().unwrap_or_default();
        let masked = all.next().zip(source.latent_mask(factor));
        Encoded { moments, masked: masked.map(|(moments, mask)| EncodedRest { moments, mask }) }
    }
}

/// A sample of the distribution that the encoder's output describes: means, then logarithms of variances.
pub(super) fn sample(moments: &[f32], noise: &[f32]) -> Vec<f32> {
    let (means, logarithms) = moments.split_at(moments.len() / 2);
    let deviation = |logarithm: f32| (0.5 * logarithm.clamp(-30.0, 20.0)).exp();
    let drawn = means.iter().zip(logarithms).zip(noise);
    drawn.map(|((mean, logarithm), noise)| mean + deviation(*logarithm) * noise).collect()
}

/// The first where the mask is 1, the second where it is 0; `mask` is that of one channel of one picture.
pub(super) fn mix(drawn: &mut [f32], kept: &[f32], mask: &[f32]) {
    for (drawn, kept) in drawn.chunks_exact_mut(mask.len()).zip(kept.chunks_exact(mask.len())) {
        for ((drawn, kept), mask) in drawn.iter_mut().zip(kept).zip(mask) {
            *drawn = (1.0 - mask) * kept + mask * *drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_mean_and_a_deviation_of_noise() {
        let moments = [1.0, 2.0, 0.0, 100.0];
        let drawn = sample(&moments, &[1.0, 0.0]);
        assert_eq!(drawn, [2.0, 2.0]);
        assert_eq!(sample(&moments, &[0.0, 1.0])[1], 2.0 + 10.0_f32.exp(), "the logarithm is at most 20");
    }

    #[test]
    fn what_is_masked_is_drawn_and_the_rest_kept() {
        let mut drawn = [1.0, 2.0, 3.0, 4.0];
        mix(&mut drawn, &[9.0, 8.0, 7.0, 6.0], &[1.0, 0.0]);
        assert_eq!(drawn, [1.0, 8.0, 3.0, 6.0]);
    }
}
