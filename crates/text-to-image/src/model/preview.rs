//! What latents look like, without the decoder: each colour as a linear map of the channels.
//!
//! The map is the decoder's own, as far as it is one: how the mean colour of what it makes of even latents changes with each
//! channel, by as much as a channel usually varies.

use nn::{NnError, Vae};

/// Rows and columns of the latents that are decoded to find the map: enough for a middle that sees no edge, and few.
const SIDE: usize = 4;

/// The map from latents, scaled as the model has them, to colours from -1 to 1.
#[derive(Clone, Debug)]
pub(super) struct PreviewMap {
    /// For each channel, what it adds to red, green and blue.
    channels: Vec<[f32; 3]>,
    middle: [f32; 3],
}

impl PreviewMap {
    /// Finds the map, by decoding a few very small pictures.
    pub(super) fn of(vae: &Vae) -> Result<Self, NnError> {
        let count = vae.config().latent_channels;
        let even = |channel: Option<(usize, f32)>| {
            let mut latents = vec![0.0; count * SIDE * SIDE];
            if let Some((channel, number)) = channel {
                latents[channel * SIDE * SIDE..(channel + 1) * SIDE * SIDE].fill(number);
            }
            vae.config().unscale(&mut latents);
            colour(vae, &latents)
        };
        let middle = even(None)?;
        let channels = (0..count).map(|channel| {
            let (more, less) = (even(Some((channel, 1.0)))?, even(Some((channel, -1.0)))?);
            Ok([0, 1, 2].map(|colour| (more[colour] - less[colour]) / 2.0))
        });
        Ok(Self { channels: channels.collect::<Result<_, NnError>>()?, middle })
    }

    /// The colours of latents `[channels, positions]`, as `[3, positions]`.
    pub(super) fn colours(&self, latents: &[f32]) -> Vec<f32> {
        let positions = latents.len() / self.channels.len().max(1);
        let mut colours = Vec::with_capacity(3 * positions);
        for colour in 0..3 {
            colours.extend((0..positions).map(|place| {
                let channels = self.channels.iter().enumerate();
                let shares =
                    channels.map(|(channel, map)| map[colour] * latents[channel * positions + place]);
                self.middle[colour] + shares.sum::<f32>()
            }));
        }
        colours
    }
}

/// The mean colour of what the decoder makes of latents, at its middle.
fn colour(vae: &Vae, latents: &[f32]) -> Result<[f32; 3], NnError> {
    let mut pass = vae.begin_decode(latents, SIDE, SIDE)?;
    while !vae.advance(&mut pass, &mut || true) {}
    let side = SIDE * vae.config().factor();
    let middle = side / 4..side - side / 4;
    let pixels = pass.output();
    Ok([0, 1, 2].map(|colour| {
        let rows = pixels[colour * side * side..][..side * side].chunks_exact(side);
        let inner = rows.skip(middle.start).take(middle.len()).flat_map(|row| &row[middle.clone()]);
        inner.sum::<f32>() / (middle.len() * middle.len()) as f32
    }))
}
