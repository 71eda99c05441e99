//! The one place that maps files into memory.
#![allow(
    unsafe_code,
    reason = "a mapping's bytes change if another process writes the file, so making one is unsafe; so is telling the \
              system what becomes of its pages"
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

    /// Takes bytes of a mapped file out of this process's memory: they have been copied, and are read from the file again if
    /// somebody looks at them. Otherwise they would count beside the copy for as long as the file stays mapped.
    pub(crate) fn forget(&self, bytes: &[u8]) {
        #[cfg(unix)]
        if let Self::File(map) = self {
            let offset = (bytes.as_ptr() as usize).wrapping_sub(map.as_ptr() as usize);
            if offset.checked_add(bytes.len()).is_some_and(|end| end <= map.len()) {
                // SAFETY: the mapping is of a file and never written through, so pages that are dropped hold nothing that
                // the file does not.
                let forgotten = unsafe {
                    map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len())
                };
                // Where the system does not, they only stay.
                drop(forgotten);
            }
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and never written through. Weights are replaced by renaming a whole new file over
    // the old one (the hub's cache does, and so do the tools that save models), which leaves this mapping's content as it
    // was. Every byte pattern is a valid `u8`, and all that is computed from them is checked against the mapping's length.
    unsafe { Mmap::map(&file) }
}
