//! The check of a GGUF file before its data is used: version, metadata, and where each tensor lies.
//!
//! Nothing is allocated for a count that the file has no room for: what the header's own content takes in memory is at most
//! [`LARGEST`] values and a copy of each text.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use super::reader::Reader;
use super::tensor_type;

/// Where the data of tensors begins is a multiple of this, unless the metadata says otherwise.
const USUAL_ALIGNMENT: u64 = 32;

/// Elements of all arrays of the metadata together: a vocabulary of a million tokens with scores, types and merges takes
/// half of it. Each takes 32 bytes of memory, while a damaged or hostile file spends one byte on it.
const LARGEST: usize = 1 << 23;

/// As ggml limits them.
const MOST_AXES: u32 = 4;

/// Array of array of ... is legal, and in no model.
const ARRAY: u32 = 9;

/// What a header says.
pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    pub(super) tensors: HashMap<String, TensorPlace>,
}

/// Where a tensor is and what it is.
#[derive(Debug)]
pub(super) struct TensorPlace {
    pub(super) dtype: GgmlDType,
    /// Outermost axis first.
    pub(super) shape: Vec<usize>,
    /// Its bytes, from the file's beginning.
    pub(super) range: Range<usize>,
}

/// What the file holds, or what is wrong, as the rest of a sentence that begins with the file's name.
pub(super) fn check(bytes: &[u8]) -> Result<Header, String> {
    let mut reader = Reader::new(bytes);
    check_version(bytes, &mut reader)?;
    // A tensor takes a name's length, the number of axes, a type and an offset at least; an entry a length, a type and a byte.
    let tensors = reader.count(24, "tensors")?;
    let entries = reader.count(13, "metadata entries")?;
    let mut metadata = HashMap::with_capacity(entries.min(1024));
    let mut room = LARGEST;
    for _ in 0..entries {
        let key = text(reader.string()?);
        let value_type = reader.u32()?;
        let value = value(&mut reader, value_type, &key, &mut room)?;
        match metadata.entry(key) {
            Entry::Vacant(place) => place.insert(value),
            Entry::Occupied(place) => return Err(damaged(&format!("{:?} is there twice", place.key()))),
        };
    }
    if let Some(parts) = metadata.get("split.count").and_then(|count| count.to_u64().ok()).filter(|&n| n > 1)
    {
        return Err(format!(
            "is one of {parts} parts of a model; merge them with llama-gguf-split --merge and name the whole"
        ));
    }
    let alignment = alignment(&metadata)?;
    let mut infos = Vec::with_capacity(tensors.min(1024));
    for _ in 0..tensors {
        infos.push(info(&mut reader)?);
    }
    let data = (reader.position() as u64).next_multiple_of(alignment);
    let mut places = HashMap::with_capacity(infos.len());
    for info in infos {
        let place = info.place(data, alignment, bytes.len())?;
        match places.entry(info.name) {
            Entry::Vacant(vacant) => vacant.insert(place),
            Entry::Occupied(twice) => {
                return Err(damaged(&format!("tensor {:?} is there twice", twice.key())));
            }
        };
    }
    Ok(Header { metadata, tensors: places })
}

fn check_version(bytes: &[u8], reader: &mut Reader<'_>) -> Result<(), String> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("is a git-lfs pointer, not the weights; run git lfs pull in its folder".to_owned());
    }
    if !bytes.starts_with(b"GGUF") {
        return Err("is no GGUF file: it does not begin with GGUF".to_owned());
    }
    reader.take(4)?;
    match reader.u32()? {
        2 | 3 => Ok(()),
        1 => Err("is of GGUF version 1, which is no longer read; convert the model again".to_owned()),
        version if version.swap_bytes() <= 3 => {
            Err("is big-endian, which is not read; convert the model for little-endian machines".to_owned())
        }
        version => Err(format!("is of GGUF version {version}; versions 2 and 3 are read")),
    }
}

fn damaged(what: &str) -> String {
    format!("has a damaged header: {what}; download it again")
}

/// Descriptions are not always UTF-8, and some writers end them with zeros. Vocabularies are checked, not mended.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// One value of the metadata. `room` is how many elements arrays may still have.
fn value(reader: &mut Reader<'_>, value_type: u32, key: &str, room: &mut usize) -> Result<Value, String> {
    match value_type {
        8 => Ok(Value::String(text(reader.string()?))),
        ARRAY => array(reader, key, room).map(Value::Array),
        _ => scalar(reader, value_type, key),
    }
}

fn array(reader: &mut Reader<'_>, key: &str, room: &mut usize) -> Result<Vec<Value>, String> {
    let element = reader.u32()?;
    let smallest = match element {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        ARRAY => return Err(format!("has an array of arrays at {key:?}, which is not read")),
        _ => return Err(damaged(&format!("{key:?} is an array of the unknown type {element}"))),
    };
    let length = reader.count(smallest, "array elements")?;
    *room = room.checked_sub(length).ok_or_else(|| {
        format!("has arrays of more than {LARGEST} elements in its metadata ({key:?} has {length}), more than any model")
    })?;
    let mut values = Vec::with_capacity(length);
    for index in 0..length {
        values.push(if element == 8 {
            let bytes = reader.string()?;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| damaged(&format!("element {index} of {key:?} is not UTF-8")))?;
            Value::String(text.to_owned())
        } else {
            scalar(reader, element, key)?
        });
    }
    Ok(values)
}

fn scalar(reader: &mut Reader<'_>, value_type: u32, key: &str) -> Result<Value, String> {
    Ok(match value_type {
        0 => Value::U8(reader.u8()?),
        1 => Value::I8(reader.u8()?.cast_signed()),
        2 => Value::U16(reader.u16()?),
        3 => Value::I16(reader.u16()?.cast_signed()),
        4 => Value::U32(reader.u32()?),
        5 => Value::I32(reader.u32()?.cast_signed()),
        6 => Value::F32(f32::from_bits(reader.u32()?)),
        7 => match reader.u8()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(damaged(&format!("{key:?} is neither true nor false but {other}"))),
        },
        10 => Value::U64(reader.u64()?),
        11 => Value::I64(reader.u64()?.cast_signed()),
        12 => Value::F64(f64::from_bits(reader.u64()?)),
        other => return Err(damaged(&format!("{key:?} has the unknown type {other}"))),
    })
}

/// A value's type, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Bool(_) => "a bool",
        Value::F32(_) | Value::F64(_) => "a fraction",
        _ => "a whole number",
    }
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64, String> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(USUAL_ALIGNMENT);
    };
    match value {
        // Eight is the least that the format allows; more than a page is in no file.
        &Value::U32(alignment) if (8..=65_536).contains(&alignment) && alignment.is_power_of_two() => {
            Ok(alignment.into())
        }
        other => Err(damaged(&format!("general.alignment is {other:?}, no power of two from 8 to 65536"))),
    }
}

/// What the header says of one tensor.
struct Info {
    name: String,
    /// Innermost axis first, as in the file.
    axes: Vec<u64>,
    type_number: u32,
    /// From the beginning of the data.
    offset: u64,
}

fn info(reader: &mut Reader<'_>) -> Result<Info, String> {
    let name = text(reader.string()?);
    let count = reader.u32()?;
    if !(1..=MOST_AXES).contains(&count) {
        return Err(damaged(&format!("tensor {name:?} has {count} axes, not 1 to {MOST_AXES}")));
    }
    let axes = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    Ok(Info { name, axes, type_number: reader.u32()?, offset: reader.u64()? })
}

impl Info {
    /// Where it lies in a file of `length` bytes whose data begins at `data`.
    fn place(&self, data: u64, alignment: u64, length: usize) -> Result<TensorPlace, String> {
        let Self { name, axes, type_number, offset } = self;
        let dtype = tensor_type::readable(*type_number).map_err(|type_name| {
            format!(
                "has a tensor {name:?} of type {type_name}, which cannot be computed with; take a file of types F32, F16, \
                 BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K"
            )
        })?;
        let block = dtype.block_size() as u64;
        if axes[0] % block != 0 {
            return Err(damaged(&format!(
                "the rows of tensor {name:?} ({}) are no blocks of {block}",
                axes[0]
            )));
        }
        if offset % alignment != 0 {
            return Err(damaged(&format!("tensor {name:?} begins at {offset}, no multiple of {alignment}")));
        }
        let impossible = || damaged(&format!("tensor {name:?} of axes {axes:?} is impossible"));
        let elements = axes.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis));
        let elements = elements.filter(|elements| *elements > 0).ok_or_else(impossible)?;
        let taken = (elements / block).checked_mul(dtype.type_size() as u64).ok_or_else(impossible)?;
        let begin = data.checked_add(*offset).ok_or_else(impossible)?;
        let end = begin.checked_add(taken).ok_or_else(impossible)?;
        match (usize::try_from(begin), usize::try_from(end)) {
            // An axis is no longer than all elements, which fit: so does the cast.
            (Ok(begin), Ok(end)) if end <= length => Ok(TensorPlace {
                dtype,
                shape: axes.iter().rev().map(|axis| *axis as usize).collect(),
                range: begin..end,
            }),
            _ => Err(format!(
                "is truncated: its tensor {name:?} ends at byte {end}, the file has {length}; download it again"
            )),
        }
    }
}
