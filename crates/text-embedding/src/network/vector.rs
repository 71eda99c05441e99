/// Below this length a vector is divided by this length instead, so that zeros stay zeros.
/// As `torch.nn.functional.normalize`.
const SHORTEST: f64 = 1e-12;

/// Scales a vector to length 1.
pub(crate) fn normalize(values: &mut [f32]) {
    let square: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    let length = square.sqrt().max(SHORTEST);
    for value in values {
        *value = (f64::from(*value) / length) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn a_vector_gets_length_one_and_zeros_stay() {
        let mut vector = [3.0, -4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut zeros = [0.0; 3];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
        let mut large = [3e30_f32, 4e30];
        normalize(&mut large);
        assert!((large[0] - 0.6).abs() < 1e-6 && (large[1] - 0.8).abs() < 1e-6, "{large:?}");
    }
}
