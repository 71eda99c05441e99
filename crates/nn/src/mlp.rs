//! Two linear maps of many rows with an activation between them.

use crate::encoder::{PackedLinear, TowerActivation};
use crate::error::NnError;
use crate::store::TensorStore;

/// Two linear maps with an activation between them: what brings a tower's rows into another model's space.
#[derive(Debug)]
pub struct Mlp {
    first: PackedLinear,
    second: PackedLinear,
    activation: TowerActivation,
}

/// The mathematics of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MlpConfig {
    /// Numbers of a row that goes in.
    pub inputs: usize,
    /// Numbers between the two maps.
    pub inner: usize,
    /// Numbers of a row that comes out.
    pub outputs: usize,
    /// Whether the maps have biases.
    pub bias: bool,
    /// What is between them.
    pub activation: TowerActivation,
}

impl MlpConfig {
    /// Numbers of its weights.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let [inputs, inner, outputs] = [self.inputs, self.inner, self.outputs].map(|size| size as u64);
        let biases = if self.bias { inner.saturating_add(outputs) } else { 0 };
        inputs.saturating_mul(inner).saturating_add(inner.saturating_mul(outputs)).saturating_add(biases)
    }
}

impl Mlp {
    /// From the tensors of two maps of these names: `{name}.weight` and, where there are any, `{name}.bias`.
    ///
    /// # Errors
    /// [`NnError::Weights`] for a tensor that is missing, has another shape or cannot be read.
    pub fn load(config: MlpConfig, store: &dyn TensorStore, names: [&str; 2]) -> Result<Self, NnError> {
        let MlpConfig { inputs, inner, outputs, bias, activation } = config;
        Ok(Self {
            first: PackedLinear::load(store, names[0], (inner, inputs), bias)?,
            second: PackedLinear::load(store, names[1], (outputs, inner), bias)?,
            activation,
        })
    }

    /// One row of results for each row of `inputs`. A row's result does not depend on the rows beside it. Blocks.
    #[must_use]
    pub fn apply(&self, inputs: &[f32]) -> Vec<f32> {
        let mut inner = self.first.apply(inputs);
        self.activation.apply(&mut inner);
        self.second.apply(&inner)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::store::StoredMatrix;

    /// Whole numbers, different for each tensor and place.
    struct Numbered;

    impl TensorStore for Numbered {
        fn contains(&self, _: &str) -> bool {
            true
        }

        fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
            assert!(name.ends_with(".bias"), "{name}");
            Ok((0..length).map(|at| at as f32 - name.len() as f32).collect())
        }

        fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
            let numbers = (0..rows * columns).map(|at| ((at * 7 + name.len()) % 5) as f32 - 2.0).collect();
            Ok(StoredMatrix::Dense(Tensor::from_vec::<_, f32>(numbers, (rows, columns), &Device::Cpu)?))
        }
    }

    /// One row by the definition, in doubles.
    fn by_hand(config: &MlpConfig, inputs: &[f32]) -> Vec<f64> {
        let map = |name: &str, outputs: usize, inputs: &[f64]| -> Vec<f64> {
            let StoredMatrix::Dense(weight) =
                Numbered.matrix(&format!("{name}.weight"), (outputs, inputs.len())).unwrap()
            else {
                panic!("not dense")
            };
            let rows: Vec<Vec<f32>> = weight.to_vec2().unwrap();
            let bias = if config.bias {
                Numbered.vector(&format!("{name}.bias"), outputs).unwrap()
            } else {
                vec![0.0; outputs]
            };
            let sum = |row: &Vec<f32>| {
                row.iter().zip(inputs).map(|(weight, input)| f64::from(*weight) * input).sum::<f64>()
            };
            rows.iter().zip(bias).map(|(row, bias)| sum(row) + f64::from(bias)).collect()
        };
        let inputs: Vec<f64> = inputs.iter().map(|input| f64::from(*input)).collect();
        let mut inner = map("first", config.inner, &inputs);
        // x * sigmoid(1.702 x)
        inner.iter_mut().for_each(|number| *number /= 1.0 + (-1.702 * *number).exp());
        map("second_one", config.outputs, &inner)
    }

    #[test]
    fn it_is_two_maps_with_the_activation_between() {
        for bias in [false, true] {
            let activation = TowerActivation::QuickGelu;
            let config = MlpConfig { inputs: 3, inner: 19, outputs: 5, bias, activation };
            let mlp = Mlp::load(config, &Numbered, ["first", "second_one"]).unwrap();
            let rows: Vec<f32> = (0..21 * 3).map(|at| (at % 11) as f32 * 0.3 - 1.5).collect();
            let found = mlp.apply(&rows);
            assert_eq!(found.len(), 21 * 5);
            for (row, found) in rows.chunks(3).zip(found.chunks(5)) {
                for (found, wanted) in found.iter().zip(by_hand(&config, row)) {
                    assert!((f64::from(*found) - wanted).abs() < 1e-4, "{found}, not {wanted}");
                }
                // Alone as among others.
                assert_eq!(mlp.apply(row), found);
            }
            assert_eq!(config.parameters(), 3 * 19 + 19 * 5 + if bias { 19 + 5 } else { 0 });
        }
    }
}
