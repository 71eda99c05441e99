//! From latents to pictures.

use imaging::Image;
use nn::{NnError, VaePass};

use super::memory;
use crate::checkpoint::Loaded;
use crate::drawing::Parameters;
use crate::picture::{Picture, PictureFormat};

/// A job's pictures on their way through the decoder, one after the other.
#[derive(Debug)]
pub(super) struct DecodingRun {
    /// Of all pictures, as the VAE has them.
    latents: Vec<f32>,
    /// Of one.
    numbers: usize,
    height: usize,
    width: usize,
    pass: Option<VaePass>,
    pub(super) pictures: Vec<Picture>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodingError {
    #[error(transparent)]
    Model(#[from] NnError),
    #[error(transparent)]
    Image(#[from] imaging::ImagingError),
    #[error("the picture has numbers that are none; the weights may be damaged")]
    NotFinite,
}

impl DecodingRun {
    /// Latents as the model leaves them, of so many rows and columns.
    pub(super) fn new(
        mut latents: Vec<f32>,
        pictures: usize,
        (height, width): (usize, usize),
        loaded: &Loaded,
    ) -> Self {
        loaded.vae.config().unscale(&mut latents);
        let numbers = latents.len() / pictures.max(1);
        Self { latents, numbers, height, width, pass: None, pictures: Vec::with_capacity(pictures) }
    }

    /// Frees what a picture on its way takes; it is begun again.
    pub(super) fn give_up(&mut self) {
        self.pass = None;
    }

    /// Computes until all pictures are there (true) or `go_on` says to stop (false).
    pub(super) fn advance(
        &mut self,
        loaded: &Loaded,
        format: PictureFormat,
        parameters: &Parameters,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, DecodingError> {
        while let Some(latents) = self.latents.chunks_exact(self.numbers).nth(self.pictures.len()) {
            let pass = match &mut self.pass {
                Some(pass) => pass,
                None => {
                    let tiled = memory::decoding(loaded.vae.config(), self.height, self.width).tiled;
                    self.pass.insert(match tiled {
                        true => loaded.vae.begin_decode_tiled(latents, self.height, self.width)?,
                        false => loaded.vae.begin_decode(latents, self.height, self.width)?,
                    })
                }
            };
            if !loaded.vae.advance(pass, go_on) {
                return Ok(false);
            }
            let factor = loaded.vae.config().factor();
            let image = image(pass.output(), self.height * factor, self.width * factor)?;
            self.pass = None;
            self.pictures.push(picture(&image, format, Some(parameters))?);
            if self.pictures.len() * self.numbers < self.latents.len() && !go_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Pixels from -1 to 1, `[3, height, width]`, as a picture.
pub(super) fn image(pixels: &[f32], height: usize, width: usize) -> Result<Image, DecodingError> {
    if !pixels.iter().all(|number| number.is_finite()) {
        return Err(DecodingError::NotFinite);
    }
    Ok(Image::from_planes(width as u32, height as u32, pixels)?)
}

/// A picture as a file.
pub(super) fn picture(
    image: &Image,
    format: PictureFormat,
    parameters: Option<&Parameters>,
) -> Result<Picture, DecodingError> {
    let encoding = format.encoding(parameters);
    let bytes = imaging::encode(image, &encoding)?;
    Ok(Picture { format, width: image.width(), height: image.height(), bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_no_picture() {
        assert!(matches!(image(&[f32::NAN, 0.0, 0.0], 1, 1), Err(DecodingError::NotFinite)));
    }
}
