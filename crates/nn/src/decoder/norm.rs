//! Root mean square normalisation (<https://arxiv.org/abs/1910.07467>).

use rayon::prelude::*;

use super::config::DecoderConfig;
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::{dot, wide};

/// Divides by the root of the mean square and multiplies by a weight.
#[derive(Clone, Debug)]
pub(super) struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

/// Rows that one task takes: a row is too little work for a task of its own.
const TASK_ROWS: usize = 8;

impl RmsNorm {
    /// Of `size` numbers; the 1 that Gemma adds to the weight is added here.
    pub(super) fn load(
        config: &DecoderConfig,
        store: &dyn TensorStore,
        name: &str,
        size: usize,
    ) -> Result<Self, NnError> {
        let mut weight = store.vector(name, size)?;
        if config.norm_plus_one {
            weight.iter_mut().for_each(|weight| *weight += 1.0);
        }
        Ok(Self { weight, eps: config.norm_eps })
    }

    /// The rows, normed.
    pub(super) fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut normed = rows.to_vec();
        self.apply_in_place(&mut normed);
        normed
    }

    /// Norms each stretch of as many numbers as the weight has: rows, or the heads of rows.
    pub(super) fn apply_in_place(&self, rows: &mut [f32]) {
        let size = self.weight.len();
        rows.par_chunks_mut(TASK_ROWS * size).for_each(|rows| {
            wide(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact_mut(size) {
                        self.row(row);
                    }
                },
            );
        });
    }

    #[inline(always)]
    fn row(&self, row: &mut [f32]) {
        let mean_square = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean_square + self.eps).sqrt();
        for (number, weight) in row.iter_mut().zip(&self.weight) {
            *number *= scale * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_normed_by_itself() {
        let norm = RmsNorm { weight: vec![1.0, 2.0], eps: 0.0 };
        let normed = norm.apply(&[3.0, 3.0, 0.0, -5.0]);
        let wanted = [1.0, 2.0, 0.0, -(2.0_f32.sqrt()) * 2.0];
        assert!(normed.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-6), "{normed:?}");
    }

    #[test]
    fn eps_keeps_zeros_zeros() {
        let norm = RmsNorm { weight: vec![1.0; 3], eps: 1e-6 };
        assert_eq!(norm.apply(&[0.0; 3]), [0.0; 3]);
    }
}
