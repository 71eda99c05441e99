//! The check of a safetensors file before its data is used.
//!
//! The format: eight bytes with the header's length, little-endian; the header in JSON, from each tensor's name to its
//! `dtype`, `shape` and `data_offsets` (relative to the header's end); then the data, without holes, to the file's end.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

/// As the format's own library limits it.
const LONGEST_HEADER: u64 = 100_000_000;

#[derive(Deserialize)]
struct Entry {
    dtype: serde_json::Value,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Where the data begins and what there is, or what is wrong, as the rest of a sentence that begins with the file's name.
pub(super) fn check(bytes: &[u8]) -> Result<(usize, Metadata), String> {
    let length = bytes.len() as u64;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("is a git-lfs pointer, not the weights; run git lfs pull in its folder".to_owned());
    }
    let Some(header) = bytes.first_chunk::<8>().map(|first| u64::from_le_bytes(*first)) else {
        return Err(format!("is no safetensors file: it has only {length} bytes; download it again"));
    };
    if header > LONGEST_HEADER {
        return Err("is no safetensors file: it does not begin with the length of a header".to_owned());
    }
    let start = header + 8;
    if start > length {
        return Err(format!(
            "is truncated: its header alone takes {start} bytes, the file has {length}; download it again"
        ));
    }
    // Below 100 MB, so within any usize.
    let start = start as usize;
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..start]).map_err(|error| format!("has a damaged header: {error}"))?;
    let mut end = 0;
    for (name, value) in &entries {
        if name == "__metadata__" {
            continue;
        }
        let entry = Entry::deserialize(value)
            .map_err(|error| format!("has a damaged header: tensor {name:?}: {error}"))?;
        check_entry(name, &entry)?;
        end = end.max(entry.data_offsets.1);
    }
    let expected = end.saturating_add(start as u64);
    if expected > length {
        return Err(format!(
            "is truncated: its header says {expected} bytes, the file has {length}; download it again"
        ));
    }
    if expected < length {
        return Err(format!(
            "is damaged: its header says {expected} bytes, the file has {length}; download it again"
        ));
    }
    match SafeTensors::read_metadata(bytes) {
        Ok((_, metadata)) => Ok((start, metadata)),
        Err(error) => Err(format!("has a damaged header: {error}")),
    }
}

fn check_entry(name: &str, entry: &Entry) -> Result<(), String> {
    let Ok(dtype) = Dtype::deserialize(&entry.dtype) else {
        return Err(format!("has a tensor {name:?} of the unknown type {}", entry.dtype));
    };
    let (begin, end) = entry.data_offsets;
    let bits = entry.shape.iter().try_fold(dtype.bitsize() as u64, |bits, axis| bits.checked_mul(*axis));
    let taken = end.checked_sub(begin);
    match (bits, taken) {
        (Some(bits), Some(taken)) if bits.div_ceil(8) == taken => Ok(()),
        (Some(bits), Some(taken)) => Err(format!(
            "has a damaged header: tensor {name:?} is {dtype:?} {:?}, which takes {} bytes, but its place has {taken}",
            entry.shape,
            bits.div_ceil(8)
        )),
        _ => Err(format!(
            "has a damaged header: tensor {name:?} has shape {:?} at bytes {begin} to {end}",
            entry.shape
        )),
    }
}
