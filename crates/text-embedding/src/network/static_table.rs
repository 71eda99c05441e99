//! A static model: one vector a token, read from the mapped file as it is stored.
//!
//! The layouts are those of sentence-transformers' `StaticEmbedding` (`embedding.weight`) and of model2vec (`embeddings`,
//! and if there are any, `mapping` from token to row and `weights`, one factor a token).

use candle_core::{DType, Device};
use model_source::{SourceError, StoredDtype, Weights};

/// The table's names and sizes.
#[derive(Clone, Debug)]
pub(crate) struct StaticTable {
    weights: Weights,
    name: &'static str,
    stored: StoredDtype,
    dimensions: usize,
    /// Which row a token has, where it is not the token's own.
    mapping: Option<Vec<u32>>,
    /// What each token's row is multiplied by.
    factors: Option<Vec<f32>>,
    tokens: usize,
}

/// The table's name in model2vec's layout, and in sentence-transformers'.
const MODEL2VEC: &str = "embeddings";
const SENTENCE_TRANSFORMERS: &str = "embedding.weight";

impl StaticTable {
    /// Finds the table. `label` names the file in messages.
    pub(crate) fn open(weights: Weights, label: &str) -> Result<Self, SourceError> {
        let name = if weights.contains(SENTENCE_TRANSFORMERS) { SENTENCE_TRANSFORMERS } else { MODEL2VEC };
        let invalid = |reason: String| SourceError::InvalidFile { file: label.to_owned(), reason };
        let table = weights.tensor(name)?;
        let &[rows, dimensions] = table.shape else {
            return Err(invalid(format!("has {name:?} of shape {:?}, not one vector a token", table.shape)));
        };
        if rows == 0 || dimensions == 0 {
            return Err(invalid(format!("has {name:?} of shape {:?}, which is empty", table.shape)));
        }
        let stored = table.dtype;
        if !matches!(stored, StoredDtype::F32 | StoredDtype::F16 | StoredDtype::BF16 | StoredDtype::I8) {
            let found = format!("{stored:?}");
            return Err(SourceError::DtypeMismatch {
                file: label.to_owned(),
                tensor: name.to_owned(),
                found,
            });
        }
        let extras = name == MODEL2VEC;
        let mapping =
            if extras && weights.contains("mapping") { Some(rows_of(&weights, rows, label)?) } else { None };
        let tokens = mapping.as_ref().map_or(rows, Vec::len);
        let factors = if extras && weights.contains("weights") {
            Some(factors(&weights, tokens, label)?)
        } else {
            None
        };
        Ok(Self { name, stored, dimensions, mapping, factors, tokens, weights })
    }

    /// Whether unknown tokens are left out, as model2vec does and sentence-transformers does not.
    pub(crate) fn is_model2vec(&self) -> bool {
        self.name == MODEL2VEC
    }

    /// Whether its vectors are stored as 8-bit integers.
    pub(crate) fn is_int8(&self) -> bool {
        self.stored == StoredDtype::I8
    }

    /// Components of a vector.
    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many tokens have a vector.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The mean of the tokens' vectors; zeros without any. Ids out of range must not occur.
    pub(crate) fn mean(&self, ids: &[u32]) -> Result<Vec<f32>, SourceError> {
        let table = self.weights.tensor(self.name)?;
        let width = self.dimensions * table.bytes.len() / (self.dimensions * table.shape[0]);
        let mut total = vec![0.0_f64; self.dimensions];
        for id in ids {
            let token = *id as usize;
            let row = self.mapping.as_ref().map_or(token, |mapping| mapping[token] as usize);
            let factor = self.factors.as_ref().map_or(1.0, |factors| f64::from(factors[token]));
            add(&mut total, &table.bytes[row * width..][..width], self.stored, factor);
        }
        let count = ids.len().max(1) as f64;
        Ok(total.into_iter().map(|total| (total / count) as f32).collect())
    }
}

/// Adds a stored row, times a factor.
fn add(total: &mut [f64], row: &[u8], stored: StoredDtype, factor: f64) {
    fn each<const N: usize>(total: &mut [f64], row: &[u8], factor: f64, read: impl Fn([u8; N]) -> f32) {
        let (values, _) = row.as_chunks::<N>();
        for (total, value) in total.iter_mut().zip(values) {
            *total += factor * f64::from(read(*value));
        }
    }
    match stored {
        StoredDtype::I8 => each(total, row, factor, |[byte]| f32::from(byte.cast_signed())),
        StoredDtype::F16 => each(total, row, factor, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        StoredDtype::BF16 => each(total, row, factor, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        // The only other type that is let in.
        _ => each(total, row, factor, f32::from_le_bytes),
    }
}

/// Which row each token has.
fn rows_of(weights: &Weights, rows: usize, label: &str) -> Result<Vec<u32>, SourceError> {
    let stored = weights.tensor("mapping")?;
    let mismatch = || SourceError::DtypeMismatch {
        file: label.to_owned(),
        tensor: "mapping".to_owned(),
        found: format!("{:?}", stored.dtype),
    };
    let numbers: Vec<i64> = match stored.dtype {
        StoredDtype::I64 => {
            stored.bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
        }
        StoredDtype::I32 => {
            stored.bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect()
        }
        _ => return Err(mismatch()),
    };
    let in_range = |row: i64| u32::try_from(row).ok().filter(|row| (*row as usize) < rows);
    let mapped: Option<Vec<u32>> = numbers.iter().map(|row| in_range(*row)).collect();
    mapped.ok_or_else(|| SourceError::InvalidFile {
        file: label.to_owned(),
        reason: format!("has a mapping to rows that its table of {rows} rows does not have"),
    })
}

/// What each token's row is multiplied by.
fn factors(weights: &Weights, tokens: usize, label: &str) -> Result<Vec<f32>, SourceError> {
    weights.check_shape("weights", &[tokens])?;
    let tensor = weights.load("weights", DType::F32, &Device::Cpu)?;
    tensor.to_vec1().map_err(|error| SourceError::InvalidFile {
        file: label.to_owned(),
        reason: format!("has weights of no use: {error}"),
    })
}
