//! GGUF files: what is read, and what is refused and how.

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use model_source::Gguf;
use proptest::prelude::*;

use crate::gguf_files::{ARRAY, F32, GgufFile, STRING, U8, U16, string, written};
use crate::models::model;

fn floats(numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
    numbers.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// One block of Q8_0: a scale of a half, and 0 to 31.
fn q8_block() -> Vec<u8> {
    [0x00, 0x38].into_iter().chain(0..32).collect()
}

fn small() -> GgufFile {
    GgufFile::default()
        .text("general.architecture", "llama")
        .number("llama.block_count", 2)
        .flag("tokenizer.ggml.add_bos_token", true)
        .raw("llama.rope.freq_base", F32, 1e4f32.to_le_bytes().to_vec())
        .array("tokenizer.ggml.scores", F32, [0f32, -1.0].map(f32::to_le_bytes))
        .texts("tokenizer.ggml.tokens", ["a", "▁b"])
        .tensor("token_embd.weight", &[3, 2], 0, floats([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
        .tensor("blk.0.attn_q.weight", &[32, 1], 8, q8_block())
}

/// The refusal of a file with this content, without its folder.
fn refusal(bytes: &[u8]) -> String {
    let (folder, path) = written(bytes);
    let error = Gguf::open_path(&path).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    let beginning = format!("{}/model.gguf ", folder.path().display());
    error.strip_prefix(&beginning).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn metadata_and_tensors_come_as_they_were_written_in_both_versions() {
    for version in [2, 3] {
        let (folder, path) = GgufFile { version, ..small() }.written();
        let file = Gguf::open_path(&path).unwrap();
        // The mapping outlives the name it was opened by.
        drop(folder);
        assert_eq!(file.text("general.architecture").unwrap(), Some("llama"));
        assert_eq!(file.text("general.name").unwrap(), None);
        assert_eq!(file.metadata()["llama.block_count"].to_u32().unwrap(), 2);
        assert!(file.metadata()["tokenizer.ggml.add_bos_token"].to_bool().unwrap());
        let tokens = file.metadata()["tokenizer.ggml.tokens"].to_vec().unwrap();
        assert_eq!(tokens[1].to_string().unwrap(), "▁b");
        let mut names: Vec<&str> = file.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["blk.0.attn_q.weight", "token_embd.weight"]);
        assert_eq!(file.total_bytes(), 24 + 34);
        let stored = file.tensor("token_embd.weight").unwrap();
        assert_eq!((stored.dtype, stored.shape, stored.bytes.len()), (GgmlDType::F32, &[2, 3][..], 24));
        let dense = file.load("token_embd.weight", &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_eq!(dense.to_vec2::<f32>().unwrap(), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        let quantised = file.load("blk.0.attn_q.weight", &Device::Cpu).unwrap();
        assert_eq!(quantised.dtype(), GgmlDType::Q8_0);
        let row = quantised.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(row[0], (0..32).map(|number| number as f32 / 2.0).collect::<Vec<_>>());
    }
}

#[test]
fn every_type_that_is_read_is_loaded_from_its_place() {
    // The number of elements in a block and of its bytes, by ggml's own table.
    let types = [
        (0, 1, 4),
        (1, 1, 2),
        (2, 32, 18),
        (3, 32, 20),
        (6, 32, 22),
        (7, 32, 24),
        (8, 32, 34),
        (10, 256, 84),
        (11, 256, 110),
        (12, 256, 144),
        (13, 256, 176),
        (14, 256, 210),
        (30, 1, 2),
    ];
    let mut file = GgufFile::default();
    for (number, block, bytes) in types {
        file = file.tensor(&number.to_string(), &[block, 3], number, vec![0; bytes * 3]);
    }
    let (_folder, path) = file.written();
    let file = Gguf::open_path(&path).unwrap();
    for (number, block, bytes) in types {
        let name = number.to_string();
        assert_eq!(file.tensor(&name).unwrap().bytes.len(), bytes * 3);
        let dense = file.load(&name, &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_eq!(dense.dims(), [3, block as usize]);
        assert_eq!(dense.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}

#[test]
fn another_alignment_is_honoured() {
    let (_folder, path) = small().aligned(128).written();
    let file = Gguf::open_path(&path).unwrap();
    assert_eq!(file.tensor("blk.0.attn_q.weight").unwrap().bytes, q8_block());
    for (alignment, shown) in [(0, "U32(0)"), (1, "U32(1)"), (48, "U32(48)"), (1 << 20, "U32(1048576)")] {
        let reason = refusal(&small().number("general.alignment", alignment).header());
        assert_eq!(
            reason,
            format!(
                "has a damaged header: general.alignment is {shown}, no power of two from 8 to 65536; download it again"
            )
        );
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let (folder, path) = small().written();
    let error = Gguf::open_path(&path).unwrap().tensor("output.weight").unwrap_err().to_string();
    let file = folder.path().join("model.gguf");
    assert_eq!(
        error,
        format!(
            "the weights {} have no tensor \"output.weight\"; they are of another architecture or incomplete",
            file.display()
        )
    );
}

#[test]
fn metadata_of_another_type_is_told() {
    let (_folder, path) = small().written();
    let error = Gguf::open_path(&path).unwrap().text("llama.block_count").unwrap_err().to_string();
    assert!(error.ends_with("is damaged: its llama.block_count is a whole number, not a string"), "{error}");
}

#[test]
fn types_that_cannot_be_computed_with_are_refused_by_name() {
    for (number, name) in [(23, "IQ4_XS"), (16, "IQ2_XXS"), (39, "MXFP4"), (34, "TQ1_0"), (77, "number 77")] {
        let reason = refusal(&small().tensor("blk.0.ffn_up.weight", &[256], number, vec![0; 512]).bytes());
        assert_eq!(
            reason,
            format!(
                "has a tensor \"blk.0.ffn_up.weight\" of type {name}, which cannot be computed with; take a file of types F32, \
                 F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K"
            )
        );
    }
}

#[test]
fn other_kinds_of_files_are_told_apart() {
    assert_eq!(refusal(b""), "is no GGUF file: it does not begin with GGUF");
    assert_eq!(refusal(b"{\"a\":1}"), "is no GGUF file: it does not begin with GGUF");
    let pointer = b"version https://git-lfs.github.com/spec/v1\n";
    assert!(refusal(pointer).starts_with("is a git-lfs pointer"));
    let version = |version| refusal(&GgufFile { version, ..small() }.bytes());
    assert!(version(1).starts_with("is of GGUF version 1, which is no longer read"));
    assert_eq!(version(4), "is of GGUF version 4; versions 2 and 3 are read");
    assert!(version(3u32.swap_bytes()).starts_with("is big-endian"));
    let part = small().raw("split.count", U16, vec![3, 0]);
    assert!(refusal(&part.bytes()).starts_with("is one of 3 parts of a model; merge them with"));
    let (_folder, whole) = small().raw("split.count", U16, vec![1, 0]).written();
    assert!(Gguf::open_path(&whole).is_ok());
}

#[test]
fn damaged_headers_are_refused() {
    let cases = [
        (small().number("llama.block_count", 3), "\"llama.block_count\" is there twice"),
        (
            small().tensor("token_embd.weight", &[1], 0, vec![0; 4]),
            "tensor \"token_embd.weight\" is there twice",
        ),
        (small().tensor("t", &[], 0, vec![]), "tensor \"t\" has 0 axes, not 1 to 4"),
        (small().tensor("t", &[1; 5], 0, vec![]), "tensor \"t\" has 5 axes, not 1 to 4"),
        (small().tensor("t", &[4, 0], 0, vec![]), "tensor \"t\" of axes [4, 0] is impossible"),
        (small().tensor("t", &[33], 8, vec![0; 68]), "the rows of tensor \"t\" (33) are no blocks of 32"),
        (
            small().tensor("t", &[1 << 40, 1 << 40], 0, vec![]),
            "tensor \"t\" of axes [1099511627776, 1099511627776] is impossible",
        ),
        (small().raw("k", 99, vec![]), "\"k\" has the unknown type 99"),
        (small().raw("k", 7, vec![2]), "\"k\" is neither true nor false but 2"),
        (small().array("k", 77, [[0u8; 0]; 0]), "\"k\" is an array of the unknown type 77"),
        (small().array("k", STRING, [string(b"\xff")]), "element 0 of \"k\" is not UTF-8"),
    ];
    for (file, what) in cases {
        assert_eq!(refusal(&file.bytes()), format!("has a damaged header: {what}; download it again"));
    }
    let nested = small().array("k", ARRAY, [[0u8; 12]]);
    assert_eq!(refusal(&nested.bytes()), "has an array of arrays at \"k\", which is not read");
    let many = small().array("k", U8, std::iter::repeat_n([0u8], (1 << 23) + 1));
    assert!(refusal(&many.bytes()).starts_with("has arrays of more than 8388608 elements in its metadata"));
}

#[test]
fn counts_that_the_file_has_no_room_for_are_refused() {
    for at in [8, 16] {
        let mut bytes = small().bytes();
        bytes[at..at + 8].copy_from_slice(&(u64::MAX - 5).to_le_bytes());
        let reason = refusal(&bytes);
        assert!(
            reason.starts_with("is truncated or damaged: its header tells of 18446744073709551610 "),
            "{reason}"
        );
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let whole = small().bytes();
    let (folder, path) = written(&whole);
    assert!(Gguf::open_path(&path).is_ok());
    for length in (0..whole.len()).rev() {
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
        let error = Gguf::open_path(&path).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(length < 4 || error.contains("is truncated"), "{length}: {error}");
    }
    drop(folder);
}

proptest! {
    /// Whatever a header says, it is refused in one line or true; and nothing is allocated on its word alone.
    #[test]
    fn a_spoiled_header_is_refused_or_true(
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let file = small();
        let header = file.header().len();
        let mut bytes = file.bytes();
        for (at, value) in spoiled {
            bytes[at.index(header)] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (_folder, path) = written(&bytes);
        let mut opened = None;
        let memory = allocation_counter::measure(|| opened = Some(Gguf::open_path(&path)));
        // Names and paths in messages, and tables of a few hundred bytes at least.
        prop_assert!(memory.bytes_max <= 16 * bytes.len() as u64 + 16_384, "{memory:?} for {} bytes", bytes.len());
        match opened.unwrap() {
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
            Ok(file) => {
                for name in file.names() {
                    let stored = file.tensor(name).unwrap();
                    prop_assert!(stored.bytes.len() <= bytes.len());
                    prop_assert!(file.load(name, &Device::Cpu).is_ok());
                }
            }
        }
    }
}

#[test]
fn an_array_takes_no_more_than_a_value_for_each_of_its_bytes() {
    let (_folder, path) = small().array("k", U8, std::iter::repeat_n([0u8], 1 << 20)).written();
    let memory = allocation_counter::measure(|| assert!(Gguf::open_path(&path).is_ok()));
    assert!(memory.bytes_max <= (1 << 20) * size_of::<Value>() as u64 + (1 << 16), "{memory:?}");
}

#[test]
fn real_files_open_and_every_tensor_loads() {
    for (name, file, tensors, metadata) in [
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", 272, 33),
        ("gemma-3-270m", "gemma-3-270m-q4_k_m.gguf", 236, 33),
    ] {
        let Some(folder) = model(name) else {
            continue;
        };
        let path = folder.join(file);
        let opened = Gguf::open_path(&path).unwrap();
        assert_eq!((opened.names().count(), opened.metadata().len()), (tensors, metadata));
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(opened.total_bytes() < size && opened.total_bytes() > size * 9 / 10);
        for tensor in opened.names() {
            let stored = opened.tensor(tensor).unwrap();
            let loaded = opened.load(tensor, &Device::Cpu).unwrap();
            assert_eq!(loaded.shape().dims(), stored.shape);
            assert_eq!(loaded.data().unwrap(), stored.bytes, "{tensor}");
        }
        let error = Gguf::open_path(&truncated(&path, size / 2).1).unwrap_err().to_string();
        assert!(error.contains("is truncated: its tensor ") && error.lines().count() == 1, "{error}");
    }
}

/// A copy of the beginning of a file.
fn truncated(path: &std::path::Path, length: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).unwrap().take(length).read_to_end(&mut bytes).unwrap();
    written(&bytes)
}

#[test]
fn a_weight_is_what_the_reference_reads() {
    let Some(folder) = model("SmolLM2-135M-Instruct") else {
        return;
    };
    let file = Gguf::open_path(&folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    for (tensor, row, expected) in REFERENCE {
        let dense = file.load(tensor, &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap();
        let found: Vec<f32> = dense.get(row).unwrap().to_vec1().unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{tensor}: {found} is not {expected}");
        }
    }
}

/// The first numbers of a row, by the `gguf` package's `dequantize`.
const REFERENCE: [(&str, usize, [f32; 4]); 2] = [
    (
        "token_embd.weight",
        1000,
        [-0.1119384765625, -0.0739593505859375, 0.0379791259765625, -0.0179901123046875],
    ),
    ("blk.3.ffn_down.weight", 575, [0.0106201171875, 0.076904296875, -0.32080078125, -0.0556640625]),
];
