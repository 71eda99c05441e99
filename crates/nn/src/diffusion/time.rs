//! Numbers as waves, and what a UNet makes of timesteps.
//!
//! The steps of the arithmetic are those of diffusers (`embeddings.py`), each rounded to f32: a timestep of 999 turns the
//! last bit of a frequency into an angle that can be seen.

use super::unet::{AddedConfig, UnetConfig, Waves};
use crate::elementary::sigmoid;
use crate::encoder::PackedLinear;
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

/// How much longer the longest wave is than the shortest, about.
const LONGEST: f64 = 10_000.0;

/// A guidance scale as waves, for a UNet with `time_cond_proj_dim` (`get_guidance_scale_embedding` of diffusers; its latent
/// consistency pipelines embed the scale less one).
///
/// Sines first, then cosines, and a zero where `size` is odd.
#[must_use]
pub fn guidance_embedding(scale: f32, size: usize) -> Vec<f32> {
    let half = size / 2;
    let step = (LONGEST.ln() as f32) / (half as f32 - 1.0);
    let frequency = |wave: usize| f64::from(wave as f32 * -step).exp() as f32;
    let angles: Vec<f32> = (0..half).map(|wave| scale * 1000.0 * frequency(wave)).collect();
    together(&angles, false, size)
}

impl Waves {
    /// A number as sines and cosines, and a zero where `size` is odd.
    pub(super) fn of(self, number: f32, size: usize) -> Vec<f32> {
        let half = size / 2;
        let steps = half as f32 - self.shift;
        let frequency = |wave: usize| f64::from(-LONGEST.ln() as f32 * wave as f32 / steps).exp() as f32;
        let angles: Vec<f32> = (0..half).map(|wave| number * frequency(wave)).collect();
        together(&angles, self.cosines_first, size)
    }
}

fn together(angles: &[f32], cosines_first: bool, size: usize) -> Vec<f32> {
    let sines = angles.iter().map(|angle| f64::from(*angle).sin() as f32);
    let cosines = angles.iter().map(|angle| f64::from(*angle).cos() as f32);
    let mut waves: Vec<f32> = match cosines_first {
        true => cosines.chain(sines).collect(),
        false => sines.chain(cosines).collect(),
    };
    waves.resize(size, 0.0);
    waves
}

/// `x · sigmoid(x)`.
fn silu(numbers: &mut [f32]) {
    numbers.iter_mut().for_each(|number| *number *= sigmoid(*number));
}

/// The conditions of a sample that are the same everywhere in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'a> {
    pub(super) timestep: f32,
    pub(super) guidance: Option<&'a [f32]>,
    /// A vector, and numbers that become waves.
    pub(super) added: Option<(&'a [f32], &'a [f32])>,
}

/// What turns those conditions into the vector that every residual block gets.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    waves: Waves,
    /// Waves of a timestep.
    size: usize,
    guidance: Option<PackedLinear>,
    time: TwoMaps,
    added: Option<(AddedConfig, TwoMaps)>,
}

impl TimeEmbedding {
    pub(super) fn load(config: &UnetConfig, store: &dyn TensorStore) -> Result<Self, NnError> {
        let size = config.levels[0].channels;
        let guidance = config
            .guidance_size
            .map(|inputs| PackedLinear::load(store, "time_embedding.cond_proj", (size, inputs), false));
        let added = config.added.map(|added| {
            TwoMaps::load(store, "add_embedding", added.size, config.time_size).map(|maps| (added, maps))
        });
        Ok(Self {
            waves: config.waves,
            size,
            guidance: guidance.transpose()?,
            time: TwoMaps::load(store, "time_embedding", size, config.time_size)?,
            added: added.transpose()?,
        })
    }

    /// Numbers of its weights.
    pub(super) fn parameters(config: &UnetConfig) -> u64 {
        let first = config.levels[0].channels;
        let guidance = config.guidance_size.unwrap_or(0) as u64 * first as u64;
        let added = config.added.map_or(0, |added| TwoMaps::parameters(added.size, config.time_size));
        TwoMaps::parameters(first, config.time_size) + guidance + added
    }

    /// The vector, passed through SiLU as every residual block has it.
    pub(super) fn apply(&self, conditions: &Conditions<'_>) -> Vec<f32> {
        let mut waves = self.waves.of(conditions.timestep, self.size);
        if let (Some(map), Some(guidance)) = (&self.guidance, conditions.guidance) {
            add(&mut waves, &map.apply(guidance));
        }
        let mut embedding = self.time.apply(&waves);
        if let (Some((config, maps)), Some((vector, numbers))) = (&self.added, conditions.added) {
            let waves = numbers.iter().flat_map(|number| self.waves.of(*number, config.wave_size));
            add(&mut embedding, &maps.apply(&vector.iter().copied().chain(waves).collect::<Vec<f32>>()));
        }
        silu(&mut embedding);
        embedding
    }
}

/// Two linear maps with SiLU between them.
#[derive(Debug)]
struct TwoMaps {
    first: PackedLinear,
    second: PackedLinear,
}

impl TwoMaps {
    fn load(store: &dyn TensorStore, name: &str, inputs: usize, outputs: usize) -> Result<Self, NnError> {
        Ok(Self {
            first: PackedLinear::load(store, &format!("{name}.linear_1"), (outputs, inputs), true)?,
            second: PackedLinear::load(store, &format!("{name}.linear_2"), (outputs, outputs), true)?,
        })
    }

    fn parameters(inputs: usize, outputs: usize) -> u64 {
        (inputs as u64 + 1 + outputs as u64 + 1) * outputs as u64
    }

    fn apply(&self, inputs: &[f32]) -> Vec<f32> {
        let mut inner = self.first.apply(inputs);
        silu(&mut inner);
        self.second.apply(&inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f32], wanted: &[f32]) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            // An angle in the thousands has lost four digits.
            assert!((got - wanted).abs() < 3e-5, "{got}, not {wanted}");
        }
    }

    #[test]
    fn timesteps_are_the_waves_that_diffusers_makes_of_them() {
        // get_timestep_embedding of diffusers 0.42.1, in f32.
        let cosines = Waves { cosines_first: true, shift: 0.0 };
        near(
            &cosines.of(999.0, 8),
            &[
                0.999_649_8,
                0.807_455_06,
                -0.844_469_8,
                0.541_143_54,
                -0.026_460_752,
                -0.589_929_1,
                -0.535_603_17,
                0.840_930_2,
            ],
        );
        let waves = cosines.of(999.0, 320);
        let some: Vec<f32> = [5, 20, 159, 165, 200, 319].into_iter().map(|place| waves[place]).collect();
        near(&some, &[0.125_231_12, -0.180_473_52, 0.994_406_34, 0.992_127_6, -0.589_929_1, 0.105_622_06]);
        let sines = Waves { cosines_first: false, shift: 1.0 };
        near(
            &sines.of(37.25, 7),
            &[-0.434_165_63, 0.363_945_13, 0.003_724_991, 0.900_833_1, 0.931_420_4, 0.999_993_1, 0.0],
        );
    }

    #[test]
    fn a_guidance_scale_is_embedded_as_diffusers_does() {
        // get_guidance_scale_embedding of diffusers 0.42.1, in f32.
        near(
            &guidance_embedding(7.5, 9),
            &[
                -0.851_235_87,
                0.562_671_1,
                -0.435_233_03,
                0.681_638_7,
                -0.524_783_25,
                -0.826_680_84,
                -0.900_317_85,
                0.731_688_9,
                0.0,
            ],
        );
        let waves = guidance_embedding(7.5, 256);
        let some: Vec<f32> = [1, 5, 60, 127, 130, 150, 255].into_iter().map(|place| waves[place]).collect();
        near(
            &some,
            &[0.842_131_2, -0.673_128_07, 0.657_932_04, 0.681_638_7, -0.999_929_5, 0.860_479_95, 0.731_688_9],
        );
    }
}
