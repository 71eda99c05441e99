//! Normal numbers as torch's CPU generator draws them, so that a seed means the same picture as in diffusers.
//!
//! Owns the generator and its three ways of drawing, as of torch 2.15 (`torch.randn` with a CPU generator):
//!
//! - fewer than 16 numbers: pairs by Box and Muller from uniforms of 53 bits, in f64; the second of a pair is kept for the next
//!   such draw;
//! - 16 and more in f32: all uniforms of 24 bits first, then pairs of them that stand 8 apart; where the count is no multiple of
//!   16, the last 16 numbers are drawn again;
//! - 16 and more in f16 and bf16: the same in blocks of 16, rounded at the end, but for the uniforms of an incomplete last block,
//!   which are not drawn before its 16 numbers are. So these draws are those of f32, rounded, where the count is a multiple of 16,
//!   and differ at the end and in what comes after where it is not.
//!
//! torch computes logarithms, sines and cosines of f32 by vector instructions that are not quite exact, and by others where a
//! processor has none; here they are rounded correctly. Numbers of f32 are within 3 units in the last place of torch's (for those
//! near 0, of 0.25's). Numbers of f16 and bf16 are torch's, but where the middle between two of them falls into that difference
//! (measured: 4 and less than 1 in a hundred thousand), which makes them neighbours.
//!
//! Older versions of torch drew f16 and bf16 from uniforms of 11 and of 8 bits; those streams are not offered.

mod mersenne_twister;
#[cfg(test)]
mod tests;

use std::f32::consts::TAU as TAU_F32;
use std::f64::consts::TAU;

use half::{bf16, f16};
use mersenne_twister::MersenneTwister;

/// The number type that noise is drawn in. Draws of different types are alike but for rounding, unless one is long and no
/// multiple of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseDtype {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them for the digits.
    F16,
    /// 16 bits, 8 of them for the digits.
    Bf16,
}

/// A stream of normal numbers. What it draws depends on the counts of all draws before.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    engine: MersenneTwister,
    /// The second number of the last pair of a short draw.
    kept: Option<f64>,
}

/// From this many numbers on they are drawn in blocks of as many.
const BLOCK: usize = 16;

impl Generator {
    /// torch takes the lower 32 bits of a seed; a negative one is that of its two's complement.
    pub(crate) fn new(seed: u64) -> Self {
        Self { engine: MersenneTwister::new(seed as u32), kept: None }
    }

    /// As many numbers, which are on the grid of `dtype`.
    pub(crate) fn normal(&mut self, count: usize, dtype: NoiseDtype) -> Vec<f32> {
        let mut numbers = if count < BLOCK {
            (0..count).map(|_| self.one() as f32).collect()
        } else if dtype == NoiseDtype::F32 {
            self.after_all_uniforms(count)
        } else {
            self.block_by_block(count)
        };
        match dtype {
            NoiseDtype::F32 => {}
            NoiseDtype::F16 => {
                numbers.iter_mut().for_each(|number| *number = f16::from_f32(*number).to_f32())
            }
            NoiseDtype::Bf16 => {
                numbers.iter_mut().for_each(|number| *number = bf16::from_f32(*number).to_f32())
            }
        }
        numbers
    }

    fn one(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let angle = TAU * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.kept = Some(radius * angle.sin());
        radius * angle.cos()
    }

    fn after_all_uniforms(&mut self, count: usize) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        let (blocks, tail) = numbers.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        if !tail.is_empty() {
            numbers.truncate(count - BLOCK);
            numbers.extend(self.block());
        }
        numbers
    }

    fn block_by_block(&mut self, count: usize) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..count / BLOCK).flat_map(|_| self.block()).collect();
        if numbers.len() < count {
            numbers.truncate(count - BLOCK);
            numbers.extend(self.block());
        }
        numbers
    }

    fn block(&mut self) -> [f32; BLOCK] {
        let mut block = std::array::from_fn(|_| self.uniform_f32());
        box_muller(&mut block);
        block
    }

    /// 0 to 1, without 1, in steps of 2 to the -24th.
    fn uniform_f32(&mut self) -> f32 {
        const DIGITS: u32 = 24;
        let number = self.engine.next_u32() & ((1 << DIGITS) - 1);
        number as f32 / (1u32 << DIGITS) as f32
    }

    /// 0 to 1, without 1, in steps of 2 to the -53rd.
    fn uniform_f64(&mut self) -> f64 {
        const DIGITS: u32 = 53;
        let (high, low) = (u64::from(self.engine.next_u32()), u64::from(self.engine.next_u32()));
        let number = ((high << 32) | low) & ((1 << DIGITS) - 1);
        number as f64 / (1u64 << DIGITS) as f64
    }
}

/// Uniform numbers become normal ones (Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958), each of the
/// first half with the one 8 places on. Every value is rounded to f32 where torch has one, which shows near 0.
fn box_muller(block: &mut [f32; BLOCK]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (first, second) in first.iter_mut().zip(second) {
        let logarithm = f64::from(1.0 - *first).ln() as f32;
        let radius = (-2.0 * logarithm).sqrt();
        let (sine, cosine) = f64::from(TAU_F32 * *second).sin_cos();
        *first = radius * cosine as f32;
        *second = radius * sine as f32;
    }
}
