//! Layer normalisation (<https://arxiv.org/abs/1607.06450>).

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::dot;

/// Takes the mean from a row, divides by the standard deviation, multiplies by a weight and adds a bias.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    ones: Vec<f32>,
    eps: f32,
}

/// Rows that one task takes: a row is too little work for a task of its own.
const TASK_ROWS: usize = 16;

impl LayerNorm {
    /// `{name}.weight` and `{name}.bias` of `size` numbers.
    pub(crate) fn load(store: &dyn TensorStore, name: &str, size: usize, eps: f32) -> Result<Self, NnError> {
        let weight = store.vector(&format!("{name}.weight"), size)?;
        let bias = store.vector(&format!("{name}.bias"), size)?;
        Ok(Self { weight, bias, ones: vec![1.0; size], eps })
    }

    /// The rows, normed.
    pub(crate) fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut normed = rows.to_vec();
        self.apply_in_place(&mut normed);
        normed
    }

    pub(crate) fn apply_in_place(&self, rows: &mut [f32]) {
        let size = self.weight.len();
        rows.par_chunks_mut(TASK_ROWS * size).for_each(|rows| {
            Arch::new().dispatch(Rows { norm: self, rows });
        });
    }

    #[inline(always)]
    fn row(&self, row: &mut [f32]) {
        let size = row.len() as f32;
        let mean = dot(row, &self.ones) / size;
        row.iter_mut().for_each(|number| *number -= mean);
        let scale = 1.0 / (dot(row, row) / size + self.eps).sqrt();
        for ((number, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *number = *number * scale * weight + bias;
        }
    }
}

struct Rows<'a> {
    norm: &'a LayerNorm,
    rows: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.rows.chunks_exact_mut(self.norm.weight.len()) {
            self.norm.row(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(weight: Vec<f32>, bias: Vec<f32>, eps: f32) -> LayerNorm {
        LayerNorm { ones: vec![1.0; weight.len()], weight, bias, eps }
    }

    #[test]
    fn each_row_is_normed_by_itself() {
        let norm = norm(vec![1.0, 2.0], vec![0.0, 10.0], 0.0);
        assert_eq!(norm.apply(&[3.0, 5.0, 1.0, -7.0]), [-1.0, 12.0, 1.0, 8.0]);
    }

    #[test]
    fn eps_keeps_equal_numbers_at_the_bias() {
        assert_eq!(norm(vec![1.0; 3], vec![0.5; 3], 1e-6).apply(&[4.0; 3]), [0.5; 3]);
    }
}
