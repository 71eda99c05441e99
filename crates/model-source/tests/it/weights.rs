//! Weights: what is read, and what is refused and how.

use std::path::Path;

use candle_core::{DType, Device};
use model_source::{Piece, StoredDtype, Weights};
use tempfile::TempDir;

use crate::safetensors_files::{safetensors, with_header};

fn written(bytes: &[u8]) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The refusal of a file with this content, without its folder.
fn refusal(bytes: &[u8]) -> String {
    let (folder, path) = written(bytes);
    let error = Weights::open_path(&path).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    let folder = format!("{}/", folder.path().display());
    assert!(error.starts_with(&folder), "{error}");
    error[folder.len()..].to_owned()
}

#[test]
fn tensors_come_as_they_were_stored() {
    let (_folder, path) = written(&safetensors(&[("a.weight", &[2, 3]), ("b", &[4])]));
    let weights = Weights::open_path(&path).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a.weight", "b"]);
    assert_eq!(weights.total_bytes(), 40);
    assert_eq!(weights.dtype(), DType::F32);
    let stored = weights.tensor_of("b", &[4], StoredDtype::F32).unwrap();
    assert_eq!(stored.bytes.len(), 16);
    let builder = weights.var_builder(DType::F32, &Device::Cpu);
    let tensor = builder.pp("a").get((2, 3), "weight").unwrap();
    assert_eq!(tensor.to_vec2::<f32>().unwrap(), [[0.0, 0.125, 0.25], [0.375, 0.5, 0.625]]);
    // The mapping outlives what it was opened through.
    drop(weights);
    assert!(builder.contains_tensor("b"));
    let half = builder.set_dtype(DType::F16).get(4, "b").unwrap();
    assert_eq!(half.dtype(), DType::F16);
}

#[test]
fn a_view_gives_tensors_other_names_and_takes_them_apart() {
    let (_folder, path) = written(&safetensors(&[("fused", &[4, 2]), ("wide", &[2, 3]), ("left", &[1])]));
    let part = |number, of| Piece::Part { name: "fused".to_owned(), number, of };
    let pieces = [
        ("whole", Piece::Whole("wide".to_owned())),
        ("tall", Piece::Transposed("wide".to_owned())),
        ("second", part(1, 2)),
        ("uneven", part(0, 3)),
        ("beyond", part(2, 2)),
        ("gone", Piece::Whole("not there".to_owned())),
    ];
    let pieces = pieces.map(|(name, piece)| (name.to_owned(), piece));
    let view = Weights::open_path(&path).unwrap().view(pieces.into_iter().collect());
    assert_eq!(view.names().collect::<Vec<_>>(), ["beyond", "gone", "second", "tall", "uneven", "whole"]);
    let builder = view.var_builder(DType::F32, &Device::Cpu);
    let rows =
        |name: &str, shape| builder.get::<(usize, usize)>(shape, name).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(rows("whole", (2, 3)), [[0.0, 0.125, 0.25], [0.375, 0.5, 0.625]]);
    assert_eq!(rows("tall", (3, 2)), [[0.0, 0.375], [0.125, 0.5], [0.25, 0.625]]);
    assert_eq!(rows("second", (2, 2)), [[0.5, 0.625], [0.75, 0.875]]);
    assert!(!builder.contains_tensor("left"));
    let refusal = |name: &str| builder.get((2, 2), name).unwrap_err().to_string();
    assert_eq!(refusal("uneven"), "the tensor \"fused\" has 4 rows, of which there is no part 0 of 3");
    assert_eq!(refusal("beyond"), "the tensor \"fused\" has 4 rows, of which there is no part 2 of 2");
    assert_eq!(refusal("whole"), "the tensor \"whole\" has the shape [2, 3], the configuration wants [2, 2]");
    assert!(refusal("gone").contains("have no tensor \"not there\""));
    assert!(refusal("left").contains("have no tensor \"left\""));
}

#[test]
fn prefixes_are_found_by_a_tensor_that_must_be_there() {
    let (_folder, path) = written(&safetensors(&[("bert.embeddings.word.weight", &[2])]));
    let weights = Weights::open_path(&path).unwrap();
    assert_eq!(weights.prefix(&["", "bert."], "embeddings.word.weight").unwrap(), "bert.");
    let error = weights.prefix(&["", "roberta."], "embeddings.word.weight").unwrap_err().to_string();
    assert!(error.contains("have no tensor \"embeddings.word.weight\""), "{error}");
}

#[test]
fn a_tensor_that_does_not_fit_the_configuration_is_named_with_both_shapes() {
    let (_folder, path) = written(&safetensors(&[("w", &[2, 3])]));
    let weights = Weights::open_path(&path).unwrap();
    let builder = weights.var_builder(DType::F32, &Device::Cpu);
    let error = builder.get((2, 4), "w").unwrap_err().to_string();
    assert!(error.ends_with("has shape [2, 3], the configuration wants [2, 4]"), "{error}");
    assert!(error.starts_with("tensor \"w\" in "), "{error}");
    let error = builder.get(1, "absent").unwrap_err().to_string();
    assert!(error.contains("have no tensor \"absent\""), "{error}");
    let error = weights.tensor_of("w", &[2, 3], StoredDtype::I8).unwrap_err().to_string();
    assert!(error.ends_with("is F32, which cannot be used here"), "{error}");
}

#[test]
fn eight_bit_integers_are_given_as_stored_but_not_as_tensors() {
    let bytes = with_header(r#"{"t":{"dtype":"I8","shape":[3],"data_offsets":[0,3]}}"#, 3);
    let (_folder, path) = written(&bytes);
    let weights = Weights::open_path(&path).unwrap();
    assert_eq!(weights.tensor_of("t", &[3], StoredDtype::I8).unwrap().bytes, [0, 0, 0]);
    let error = weights.load("t", DType::F32, &Device::Cpu).unwrap_err().to_string();
    assert!(error.ends_with("is I8, which cannot be used here"), "{error}");
}

#[test]
fn a_truncated_file_is_refused_wherever_it_was_cut() {
    let whole = safetensors(&[("a", &[8, 8]), ("b", &[16])]);
    for length in 0..whole.len() {
        let error = refusal(&whole[..length]);
        let expected = match length {
            0..8 => format!("model.safetensors is no safetensors file: it has only {length} bytes"),
            _ => "model.safetensors is truncated: its header".to_owned(),
        };
        assert!(error.starts_with(&expected) && error.ends_with("download it again"), "{length}: {error}");
    }
    let whole_length = whole.len();
    assert_eq!(
        refusal(&whole[..whole_length - 1]),
        format!(
            "model.safetensors is truncated: its header says {whole_length} bytes, the file has {}; download it again",
            whole_length - 1
        )
    );
    let mut longer = whole.clone();
    longer.push(0);
    assert!(refusal(&longer).starts_with("model.safetensors is damaged: its header says"));
}

#[test]
fn a_damaged_header_is_refused_by_the_tensor_at_fault() {
    let entry = |entry: &str, data: usize| refusal(&with_header(&format!(r#"{{"t":{entry}}}"#), data));
    for (found, expected) in [
        (
            entry(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, 4),
            "takes 8 bytes, but its place has 4",
        ),
        (entry(r#"{"dtype":"F33","shape":[1],"data_offsets":[0,4]}"#, 4), "of the unknown type \"F33\""),
        (entry(r#"{"dtype":"F32","shape":[1],"data_offsets":[8,4]}"#, 8), "at bytes 8 to 4"),
        (entry(r#"{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}"#, 4), "has shape"),
        (entry(r#"{"dtype":"F32","shape":[1]}"#, 4), "missing field `data_offsets`"),
        (entry(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#, 8), "damaged header"),
        (refusal(&with_header("not json", 0)), "has a damaged header"),
        (refusal(&u64::MAX.to_le_bytes()), "does not begin with the length of a header"),
        (refusal(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "run git lfs pull"),
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = Weights::open_path(Path::new("no/such/model.safetensors")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read no/such/model.safetensors: No such file"), "{error}");
}

mod any_bytes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..400, byte: u8, keep in 0_usize..500) {
            let mut bytes = safetensors(&[("a", &[4, 4]), ("b.c", &[8])]);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(keep.max(1));
            let (_folder, path) = written(&bytes);
            if let Ok(weights) = Weights::open_path(&path) {
                for name in weights.names() {
                    prop_assert!(weights.tensor(name).is_ok());
                    let _ = weights.load(name, DType::F32, &Device::Cpu);
                }
            }
        }
    }
}
