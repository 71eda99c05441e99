//! Reading a file of a folder that somebody else may be changing: what is no file, or is elsewhere, is not opened.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file whose last change is no older than this when it is read may change again without its times telling.
const TELLS: Duration = Duration::from_secs(2);

/// By what a file is known to have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
    identity: [u64; 4],
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), identity: identity(metadata) }
    }

    /// Whether it is the same folder, whatever has become of what is in it.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.identity[..2] == other.identity[..2]
    }

    /// Whether a change after `read` would show in another stamp.
    pub(super) fn tells_since(&self, read: SystemTime) -> bool {
        self.modified.is_some_and(|modified| read.duration_since(modified).is_ok_and(|age| age > TELLS))
    }
}

/// Device, number and time of the last change of anything, which no program can set.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> [u64; 4] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev(), metadata.ino(), metadata.ctime().cast_unsigned(), metadata.ctime_nsec().cast_unsigned()]
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> [u64; 4] {
    [0; 4]
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Opened {
    /// What it was when it was opened.
    pub(super) stamp: Stamp,
    /// When it was opened.
    pub(super) at: SystemTime,
    /// What it holds; `None` where that is too much.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads a file of at most `most` bytes inside `root`.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::NotFound`] also where it is no file, or is outside `root` once links are followed.
pub(super) fn read(root: &Path, path: &Path, most: u32) -> io::Result<Opened> {
    let nothing = || io::Error::from(io::ErrorKind::NotFound);
    let folder = fs::canonicalize(path.parent().ok_or_else(nothing)?)?;
    if !folder.starts_with(root) {
        return Err(nothing());
    }
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(nothing());
    }
    let at = SystemTime::now();
    let file = open(&folder.join(path.file_name().ok_or_else(nothing)?))?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(nothing());
    }
    let stamp = Stamp::of(&metadata);
    // One byte more tells whether there is more.
    let mut bytes = Vec::new();
    if stamp.bytes <= u64::from(most) {
        file.take(u64::from(most) + 1).read_to_end(&mut bytes)?;
    }
    let fits = stamp.bytes <= u64::from(most) && bytes.len() as u64 <= u64::from(most);
    Ok(Opened { stamp, at, bytes: fits.then_some(bytes) })
}

/// Opens a file; neither a link's target nor, for ever, a pipe that took its place since it was looked at.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
