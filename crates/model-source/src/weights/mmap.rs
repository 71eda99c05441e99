//! The one place that maps files into memory.
#![allow(
    unsafe_code,
    reason = "a mapping's bytes change if another process writes the file, so making one is unsafe"
)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file for reading.
pub(super) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and never written through. Weights are replaced by renaming a whole new file over
    // the old one (the hub's cache does, and so do the tools that save models), which leaves this mapping's content as it
    // was. Every byte pattern is a valid `u8`, and all that is computed from them is checked against the mapping's length.
    unsafe { Mmap::map(&file) }
}
