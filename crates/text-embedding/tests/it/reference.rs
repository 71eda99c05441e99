//! The fixtures' format, and how far from them is too far.

use std::fs;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::models::fixture;

#[derive(Deserialize)]
pub(crate) struct Cases {
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) folder: String,
    pub(crate) prompt_name: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) dimensions: Option<usize>,
    #[serde(default)]
    pub(crate) texts: Vec<String>,
    #[serde(default)]
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) tolerance: f64,
    pub(crate) expected: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub(crate) struct HardTexts {
    pub(crate) tolerance: f32,
    pub(crate) cases: Vec<HardText>,
}

#[derive(Deserialize)]
pub(crate) struct HardText {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) token_ids: Vec<u32>,
    pub(crate) embedding: Vec<f32>,
}

#[derive(Deserialize)]
pub(crate) struct StaticPairs {
    pub(crate) pairs: Vec<StaticPair>,
}

#[derive(Deserialize)]
pub(crate) struct StaticPair {
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) similarity: f64,
}

pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(fixture(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The norm of the difference over the norm of the reference. A reference of zeros must be met exactly.
pub(crate) fn distance(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let length = norm(&mut expected.iter().map(|value| f64::from(*value)));
    let difference = norm(&mut got.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    match (difference, length) {
        (0.0, _) => 0.0,
        (_, 0.0) => f64::INFINITY,
        _ => difference / length,
    }
}
