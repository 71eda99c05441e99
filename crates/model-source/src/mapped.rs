//! The one place that maps files into memory.
#![allow(
    unsafe_code,
    reason = "a mapping's bytes change if another process writes the file, so making one is unsafe"
)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

use crate::SourceError;
use crate::files::{FileData, ModelFile};

/// A file's whole content without reading it: mapped from disk, or compiled in.
pub(crate) enum Mapped {
    /// From disk.
    File(Mmap),
    /// Compiled in.
    Static(&'static [u8]),
}

impl Mapped {
    /// Maps one of a model's files.
    pub(crate) fn open(file: &ModelFile) -> Result<Self, SourceError> {
        match file.data() {
            FileData::Path(path) => Self::open_path(path),
            FileData::Bytes(bytes) => Ok(Self::Static(bytes)),
        }
    }

    /// Maps the file at a path.
    pub(crate) fn open_path(path: &Path) -> Result<Self, SourceError> {
        map(path).map(Self::File).map_err(|error| SourceError::unreadable(path, error))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and never written through. Weights are replaced by renaming a whole new file over
    // the old one (the hub's cache does, and so do the tools that save models), which leaves this mapping's content as it
    // was. Every byte pattern is a valid `u8`, and all that is computed from them is checked against the mapping's length.
    unsafe { Mmap::map(&file) }
}
