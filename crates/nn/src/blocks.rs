//! GGML's plain quantisations, widened to f32: blocks of 32 weights with one scale each.
//!
//! The tensor library multiplies these with rounded activations number by number. Widening a stretch of rows that fits a
//! core's cache, for all rows of activations at once, is as fast for one of them and several times as fast for a prompt, and
//! rounds nothing. The layouts are ggml's; numbers are the very ones that the tensor library widens to.

use std::ops::Range;

use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;

use crate::error::NnError;
use crate::vector::wide;

/// Weights of a block.
const BLOCK: usize = 32;

/// A matrix of such blocks.
pub(crate) struct Blocks {
    kind: BlockKind,
    bytes: Vec<u8>,
    /// Of a row of the matrix.
    row_bytes: usize,
    columns: usize,
}

/// How a block is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlockKind {
    /// A scale, a least value, and four bits a weight.
    Q4_1,
    /// A scale, and five bits a weight, the fifth bits apart.
    Q5_0,
    /// A scale, a least value, and five bits a weight.
    Q5_1,
}

impl BlockKind {
    /// `None`: the tensor library has fast products for it.
    pub(crate) fn of(dtype: GgmlDType) -> Option<Self> {
        match dtype {
            GgmlDType::Q4_1 => Some(Self::Q4_1),
            GgmlDType::Q5_0 => Some(Self::Q5_0),
            GgmlDType::Q5_1 => Some(Self::Q5_1),
            _ => None,
        }
    }

    /// Bytes of a block.
    const fn bytes(self) -> usize {
        match self {
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
        }
    }
}

impl Blocks {
    /// A copy of a matrix of that kind.
    pub(crate) fn new(kind: BlockKind, tensor: &QTensor) -> Result<Self, NnError> {
        let (rows, columns) = tensor.shape().dims2()?;
        let bytes = tensor.data()?.into_owned();
        let row_bytes = columns / BLOCK * kind.bytes();
        if !columns.is_multiple_of(BLOCK) || bytes.len() != rows * row_bytes {
            let bytes = bytes.len();
            return Err(NnError::Weights(format!(
                "{rows} x {columns} weights of {kind:?} have {bytes} bytes"
            )));
        }
        Ok(Self { kind, bytes, row_bytes, columns })
    }

    pub(crate) fn kind(&self) -> BlockKind {
        self.kind
    }

    /// Rows of the matrix, one after another.
    pub(crate) fn widened(&self, rows: Range<usize>) -> Vec<f32> {
        let bytes = &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes];
        let mut numbers = vec![0.0; rows.len() * self.columns];
        let (blocks, _) = numbers.as_chunks_mut::<BLOCK>();
        wide(
            #[inline(always)]
            || match self.kind {
                BlockKind::Q4_1 => each(bytes, blocks, q4_1),
                BlockKind::Q5_0 => each(bytes, blocks, q5_0),
                BlockKind::Q5_1 => each(bytes, blocks, q5_1),
            },
        );
        numbers
    }
}

#[inline(always)]
fn each<const BYTES: usize>(
    bytes: &[u8],
    numbers: &mut [[f32; BLOCK]],
    widen: impl Fn(&[u8; BYTES], &mut [f32; BLOCK]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    for (block, numbers) in blocks.iter().zip(numbers) {
        widen(block, numbers);
    }
}

#[inline(always)]
fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[inline(always)]
fn q4_1(block: &[u8; 20], numbers: &mut [f32; BLOCK]) {
    let (d, least) = (scale(block, 0), scale(block, 2));
    for at in 0..BLOCK / 2 {
        let pair = block[4 + at];
        numbers[at] = f32::from(pair & 15) * d + least;
        numbers[at + BLOCK / 2] = f32::from(pair >> 4) * d + least;
    }
}

/// The fifth bit of a weight, where it belongs.
#[inline(always)]
fn fifth(bits: u32, at: usize) -> u8 {
    ((bits >> at & 1) << 4) as u8
}

#[inline(always)]
fn q5_0(block: &[u8; 22], numbers: &mut [f32; BLOCK]) {
    let d = scale(block, 0);
    let fifths = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for at in 0..BLOCK / 2 {
        let pair = block[6 + at];
        let low = (pair & 15 | fifth(fifths, at)).cast_signed() - 16;
        let high = (pair >> 4 | fifth(fifths, at + BLOCK / 2)).cast_signed() - 16;
        numbers[at] = f32::from(low) * d;
        numbers[at + BLOCK / 2] = f32::from(high) * d;
    }
}

#[inline(always)]
fn q5_1(block: &[u8; 24], numbers: &mut [f32; BLOCK]) {
    let (d, least) = (scale(block, 0), scale(block, 2));
    let fifths = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for at in 0..BLOCK / 2 {
        let pair = block[8 + at];
        numbers[at] = f32::from(pair & 15 | fifth(fifths, at)) * d + least;
        numbers[at + BLOCK / 2] = f32::from(pair >> 4 | fifth(fifths, at + BLOCK / 2)) * d + least;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn numbers_are_those_that_the_library_widens_to() {
        let weights: Vec<f32> = (0..7 * 96).map(|n| ((n * 7919) % 1013) as f32 / 300.0 - 1.7).collect();
        let dense = Tensor::from_vec(weights, (7, 96), &Device::Cpu).unwrap();
        for dtype in [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1] {
            let tensor = QTensor::quantize(&dense, dtype).unwrap();
            let blocks = Blocks::new(BlockKind::of(dtype).unwrap(), &tensor).unwrap();
            let wanted =
                tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(blocks.widened(0..7), wanted, "{dtype:?}");
            assert_eq!(blocks.widened(2..5), wanted[2 * 96..5 * 96], "{dtype:?}");
        }
        assert_eq!(BlockKind::of(GgmlDType::Q8_0), None);
    }
}
