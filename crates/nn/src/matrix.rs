//! A weight matrix, dense or quantised, and the product of activations with it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor, QuantizedType};
use candle_core::{Device, Module, Storage, Tensor};
use rayon::prelude::*;

use crate::blocks::{BlockKind, Blocks};
use crate::error::NnError;
use crate::store::{StoredMatrix, TensorStore};
use crate::tile::products;
use crate::vector::add;

/// How a decoder computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Precision {
    /// What a quantised matrix is multiplied with. Of no effect on matrices that are not quantised.
    pub activations: Activations,
    /// Whether a row's result may not depend on how many rows are computed beside it: the same sequence then has the same
    /// logits to the last bit, alone, in a batch, and however its prompt is cut into chunks. Slower.
    pub deterministic: bool,
}

/// What a quantised matrix is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// Activations rounded to eight bits, block by block, where the tensor library has fast products for that. A matrix of
    /// another kind (Q4_1, Q5_0, Q5_1) is widened stretch by stretch on its way to the processor, and meets
    /// f32 activations. Fast, and small in memory.
    #[default]
    Quantised,
    /// The matrix is widened to f32 when it is loaded and meets f32 activations: exact, and large in memory.
    F32,
}

/// A matrix of `outputs` rows and `inputs` columns.
pub(crate) struct Matrix {
    outputs: usize,
    inputs: usize,
    kind: Kind,
}

enum Kind {
    /// From `library_from` rows on through the tensor library's matrix product, whose order of summation depends on the
    /// number of rows; fewer dot product by dot product, in a fixed order.
    Dense { weight: Tensor, library_from: usize },
    /// Through the tensor library's quantised product, which has other kernels for one row than for many.
    Quantised(QMatMul),
    /// Dot product by dot product: below the tensor library's choice of kernels.
    QuantisedFixed(Box<dyn QuantizedType>),
    /// Stretches of it are widened to f32 when they are met, in a fixed order.
    Widened(Blocks),
}

/// Rows from which on the tensor library's matrix product is worth its preparations. Fewer are bound by reading the weights
/// once (two cores, SmolLM2 135M: 8 rows took it 350 ms, dot products 200 ms; 128 rows 730 ms and 1,900 ms).
const LIBRARY_ROWS: usize = 32;

/// Weights that one task reads, if rows are not longer: few enough to stay in a core's cache.
const TASK_WEIGHTS: usize = 1 << 14;
/// Rows of weights that one task reads at least and at most, a multiple of what the products take at once.
const TASK_OUTPUTS: (usize, usize) = (6, 24);

impl Matrix {
    /// The matrix of that name, of `shape` outputs and inputs.
    pub(crate) fn load(
        store: &dyn TensorStore,
        name: &str,
        shape: (usize, usize),
        precision: Precision,
    ) -> Result<Self, NnError> {
        let stored = store.matrix(name, shape)?;
        match stored.dims()? == shape {
            true => Self::new(stored, precision),
            false => {
                Err(NnError::Weights(format!("the store gave {name:?} in another shape than {shape:?}")))
            }
        }
    }

    fn new(stored: StoredMatrix, precision: Precision) -> Result<Self, NnError> {
        let (outputs, inputs) = stored.dims()?;
        let kind = match stored {
            StoredMatrix::Dense(tensor) => Kind::dense(tensor, precision)?,
            StoredMatrix::Quantised(tensor) => match precision.activations {
                Activations::F32 => Kind::dense(tensor.dequantize(&Device::Cpu)?, precision)?,
                Activations::Quantised => Kind::quantised(&tensor, precision)?,
            },
        };
        Ok(Self { outputs, inputs, kind })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `inputs` times the transposed matrix: one row of `outputs` numbers for each row of `inputs` numbers.
    pub(crate) fn product(&self, inputs: &[f32]) -> Result<Vec<f32>, NnError> {
        let rows = inputs.len() / self.inputs;
        if rows == 0 {
            return Ok(Vec::new());
        }
        match &self.kind {
            Kind::Dense { weight, library_from } if rows >= *library_from => {
                let inputs = Tensor::from_slice(inputs, (rows, self.inputs), &Device::Cpu)?;
                Ok(inputs.matmul(&weight.t()?)?.flatten_all()?.to_vec1()?)
            }
            Kind::Dense { weight, .. } => with_numbers(weight, |weight| {
                self.by_stretches(rows, |outputs, columns| {
                    let stretch = &weight[outputs.start * self.inputs..outputs.end * self.inputs];
                    products(stretch, inputs, self.inputs, columns);
                    Ok(())
                })
            })?,
            Kind::Widened(weight) => self.by_stretches(rows, |outputs, columns| {
                products(&weight.widened(outputs), inputs, self.inputs, columns);
                Ok(())
            }),
            Kind::Quantised(weight) => {
                let inputs = Tensor::from_slice(inputs, (rows, self.inputs), &Device::Cpu)?;
                Ok(weight.forward(&inputs)?.flatten_all()?.to_vec1()?)
            }
            Kind::QuantisedFixed(weight) => {
                let mut outputs = vec![0.0; rows * self.outputs];
                weight.matmul_t((rows, self.inputs, self.outputs), inputs, &mut outputs)?;
                Ok(outputs)
            }
        }
    }

    /// Like [`product`](Self::product), but what rounding takes from the activations is multiplied too, as rows of their own:
    /// what is lost then is the rounding of a rounding. A few rows are bound by reading the weights, and twice as many by
    /// hardly more.
    pub(crate) fn compensated_product(&self, inputs: &[f32]) -> Result<Vec<f32>, NnError> {
        let Some(grid) = self.grid().filter(|_| !inputs.is_empty()) else {
            return self.product(inputs);
        };
        let dense = Tensor::from_slice(inputs, (inputs.len() / self.inputs, self.inputs), &Device::Cpu)?;
        let rounded = QTensor::quantize(&dense, grid)?.dequantize(&Device::Cpu)?;
        let mut rows: Vec<f32> = rounded.flatten_all()?.to_vec1()?;
        let rests: Vec<f32> = inputs.iter().zip(&rows).map(|(input, rounded)| input - rounded).collect();
        rows.extend(rests);
        let mut outputs = self.product(&rows)?;
        let rests = outputs.split_off(outputs.len() / 2);
        add(&mut outputs, &rests);
        Ok(outputs)
    }

    /// What the tensor library rounds activations to before they meet this matrix. `None`: to nothing.
    fn grid(&self) -> Option<GgmlDType> {
        use GgmlDType::{Q2K, Q3K, Q4_0, Q4K, Q5K, Q6K, Q8_0, Q8K};
        let dtype = match &self.kind {
            Kind::Quantised(QMatMul::QTensor(tensor)) => tensor.dtype(),
            Kind::QuantisedFixed(weight) => weight.dtype(),
            _ => return None,
        };
        match dtype {
            Q4_0 | Q8_0 => Some(Q8_0),
            Q2K | Q3K | Q4K | Q5K | Q6K | Q8K => Some(Q8K),
            _ => None,
        }
    }

    /// The rows of the matrix that have these numbers, one after another.
    pub(crate) fn rows(&self, numbers: &[u32]) -> Result<Vec<f32>, NnError> {
        match &self.kind {
            Kind::Dense { weight, .. } => {
                let numbers = Tensor::from_slice(numbers, numbers.len(), &Device::Cpu)?;
                Ok(weight.index_select(&numbers, 0)?.flatten_all()?.to_vec1()?)
            }
            Kind::Quantised(weight) => {
                let numbers = Tensor::from_slice(numbers, numbers.len(), &Device::Cpu)?;
                Ok(weight.embedding(&numbers)?.flatten_all()?.to_vec1()?)
            }
            Kind::Widened(weight) => {
                let rows = numbers.iter().map(|&number| weight.widened(number as usize..number as usize + 1));
                Ok(rows.flatten().collect())
            }
            Kind::QuantisedFixed(weight) => {
                let rows = weight.embedding(numbers, self.outputs, self.inputs)?;
                Ok(rows.as_slice::<f32>()?.to_vec())
            }
        }
    }

    /// Column by column of the result, so that each stretch of weights is read once; turned round at the end.
    fn by_stretches(
        &self,
        rows: usize,
        product: impl Fn(Range<usize>, &mut [f32]) -> Result<(), NnError> + Sync,
    ) -> Result<Vec<f32>, NnError> {
        let (least, most) = TASK_OUTPUTS;
        let task = (TASK_WEIGHTS / self.inputs).clamp(least, most);
        let mut columns = vec![0.0; rows * self.outputs];
        columns.par_chunks_mut(task * rows).enumerate().try_for_each(|(number, columns)| {
            let first = number * task;
            product(first..first + columns.len() / rows, columns)
        })?;
        Ok(if rows == 1 { columns } else { transposed(&columns, self.outputs, rows) })
    }
}

/// Hands out the numbers of a contiguous f32 tensor on the CPU.
fn with_numbers<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> Result<R, NnError> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => {
            let numbers = &storage.as_slice::<f32>()?[layout.start_offset()..];
            Ok(work(&numbers[..tensor.elem_count()]))
        }
        _ => Err(NnError::unsupported("a matrix on another device", "the CPU is")),
    }
}

/// `rows` rows of `columns` numbers, turned round.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; values.len()];
    turned.par_chunks_mut(rows).enumerate().for_each(|(column, out)| {
        for (row, out) in out.iter_mut().enumerate() {
            *out = values[row * columns + column];
        }
    });
    turned
}

impl Kind {
    fn dense(tensor: Tensor, precision: Precision) -> Result<Self, NnError> {
        let library_from = if precision.deterministic { usize::MAX } else { LIBRARY_ROWS };
        Ok(Self::Dense { weight: tensor.contiguous()?, library_from })
    }

    fn quantised(tensor: &Arc<QTensor>, precision: Precision) -> Result<Self, NnError> {
        if let Some(kind) = BlockKind::of(tensor.dtype()) {
            return Ok(Self::Widened(Blocks::new(kind, tensor)?));
        }
        match precision.deterministic {
            // The blocks alone, without the tensor library's choice of kernels.
            true => Ok(Self::QuantisedFixed(tensor.dtype().from_data(tensor.data()?))),
            false => Ok(Self::Quantised(QMatMul::from_arc(tensor.clone())?)),
        }
    }
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Dense { library_from: usize::MAX, .. } => "dense, fixed order".to_owned(),
            Kind::Dense { .. } => "dense".to_owned(),
            Kind::Quantised(QMatMul::QTensor(tensor)) => format!("{:?}", tensor.dtype()),
            Kind::Quantised(_) => "widened".to_owned(),
            Kind::QuantisedFixed(weight) => format!("{:?}, fixed order", weight.dtype()),
            Kind::Widened(weight) => format!("{:?}, widened on the way", weight.kind()),
        };
        write!(f, "Matrix({} x {}, {kind})", self.outputs, self.inputs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Option<GgmlDType>; 9] = [
        None,
        Some(GgmlDType::Q5_0),
        Some(GgmlDType::Q4_0),
        Some(GgmlDType::Q4_1),
        Some(GgmlDType::Q5_1),
        Some(GgmlDType::Q8_0),
        Some(GgmlDType::Q4K),
        Some(GgmlDType::Q5K),
        Some(GgmlDType::Q6K),
    ];

    fn tensor(outputs: usize, inputs: usize, seed: u32) -> Tensor {
        let number =
            |n: usize| ((n as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0;
        let numbers: Vec<f32> = (0..outputs * inputs).map(number).collect();
        Tensor::from_vec(numbers, (outputs, inputs), &Device::Cpu).unwrap()
    }

    fn stored(kind: Option<GgmlDType>, dense: &Tensor) -> StoredMatrix {
        match kind {
            None => StoredMatrix::Dense(dense.clone()),
            Some(kind) => StoredMatrix::Quantised(Arc::new(QTensor::quantize(dense, kind).unwrap())),
        }
    }

    fn deterministic(activations: Activations) -> Precision {
        Precision { activations, deterministic: true }
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_rows_result_does_not_depend_on_the_rows_beside_it(
            kind in prop::sample::select(&KINDS[..]),
            activations in prop::sample::select(vec![Activations::Quantised, Activations::F32]),
            // The library has kernels for outputs in sixteens, and takes others where rows are one or many.
            outputs in prop_oneof![1_usize..70, (1_usize..5).prop_map(|tiles| 16 * tiles)],
            rows in 2_usize..40,
            seed: u32,
        ) {
            let inputs = 256;
            let matrix = Matrix::new(stored(kind, &tensor(outputs, inputs, seed)), deterministic(activations)).unwrap();
            let activations = tensor(rows, inputs, seed ^ 77).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let together = matrix.product(&activations).unwrap();
            for (row, wanted) in activations.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
                prop_assert_eq!(bits(&matrix.product(row).unwrap()), bits(wanted));
            }
        }

        #[test]
        fn both_orders_of_summation_give_the_same_product(
            outputs in 1_usize..70, inputs in 1_usize..90, rows in LIBRARY_ROWS..2 * LIBRARY_ROWS, seed: u32,
        ) {
            let dense = tensor(outputs, inputs, seed);
            let matrix = |precision| Matrix::new(StoredMatrix::Dense(dense.clone()), precision).unwrap();
            let activations = tensor(rows, inputs, seed ^ 77).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let fixed = matrix(deterministic(Activations::F32)).product(&activations).unwrap();
            let library = matrix(Precision::default()).product(&activations).unwrap();
            for (fixed, library) in fixed.iter().zip(&library) {
                prop_assert!((fixed - library).abs() < 1e-5 * inputs as f32, "{fixed} and {library}");
            }
        }
    }

    #[test]
    fn rows_of_the_matrix_are_those_of_its_values() {
        let dense = tensor(20, 256, 5);
        for kind in KINDS {
            let stored = stored(kind, &dense);
            let values = match &stored {
                StoredMatrix::Dense(tensor) => tensor.clone(),
                StoredMatrix::Quantised(tensor) => tensor.dequantize(&Device::Cpu).unwrap(),
            };
            let values = values.to_vec2::<f32>().unwrap();
            for activations in [Activations::Quantised, Activations::F32] {
                for deterministic in [false, true] {
                    let matrix =
                        Matrix::new(stored.clone(), Precision { activations, deterministic }).unwrap();
                    let rows = matrix.rows(&[3, 19, 3]).unwrap();
                    assert_eq!(rows, [&values[3][..], &values[19], &values[3]].concat(), "{matrix:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_widened_meets_activations_as_they_are() {
        for kind in [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1] {
            let stored = stored(Some(kind), &tensor(50, 96, 3));
            let exact = Matrix::new(stored.clone(), deterministic(Activations::F32)).unwrap();
            let widened = Matrix::new(stored, Precision::default()).unwrap();
            for rows in [1, 5, 40] {
                let activations = tensor(rows, 96, 9).flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let products = [&exact, &widened].map(|matrix| bits(&matrix.product(&activations).unwrap()));
                assert_eq!(products[0], products[1], "{kind:?}, {rows} rows");
            }
        }
    }

    #[test]
    fn what_rounding_takes_is_given_back() {
        for kind in KINDS {
            let stored = stored(kind, &tensor(40, 512, 11));
            let exact = Matrix::new(stored.clone(), deterministic(Activations::F32)).unwrap();
            let activations = tensor(5, 512, 12).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let wanted = exact.product(&activations).unwrap();
            let apart = |found: &[f32]| {
                let norm =
                    |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|n| n * n).sum::<f32>().sqrt();
                norm(&mut found.iter().zip(&wanted).map(|(a, b)| a - b)) / norm(&mut wanted.iter().copied())
            };
            for deterministic in [false, true] {
                let precision = Precision { activations: Activations::Quantised, deterministic };
                let matrix = Matrix::new(stored.clone(), precision).unwrap();
                let plain = apart(&matrix.product(&activations).unwrap());
                let compensated = apart(&matrix.compensated_product(&activations).unwrap());
                assert!(compensated < 1e-4, "{matrix:?}: {compensated:.1e} for {plain:.1e}");
                let rounds = matrix.grid().is_some();
                assert!(
                    !rounds || plain > 10.0 * compensated,
                    "{matrix:?}: {compensated:.1e} for {plain:.1e}"
                );
                let row = &activations[512..1024];
                let alone = matrix.compensated_product(row).unwrap();
                let together = &matrix.compensated_product(&activations).unwrap()[40..80];
                assert!(!deterministic || bits(&alone) == bits(together), "{matrix:?}");
            }
        }
    }

    #[test]
    fn no_rows_have_no_result() {
        let matrix = Matrix::new(StoredMatrix::Dense(tensor(3, 4, 1)), Precision::default()).unwrap();
        assert!(matrix.product(&[]).unwrap().is_empty());
    }
}
