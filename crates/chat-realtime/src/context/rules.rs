//! Which files of a folder nobody wants to read: hidden ones, and those that `.gitignore` and `.ignore` files name.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::files;

/// Ignore files, those read last counting more.
const NAMES: [&str; 2] = [".gitignore", ".ignore"];

/// An ignore file that is longer was written by no person.
const LONGEST: u32 = 1 << 20;

/// What the ignore files of a folder say, and of those it is in, up to the one that is watched.
#[derive(Debug)]
pub(super) struct Rules {
    outer: Option<Arc<Rules>>,
    own: Vec<Gitignore>,
}

impl Rules {
    /// Reads the ignore files of a folder.
    ///
    /// # Errors
    ///
    /// One is there and cannot be read: better nothing of the folder is, then, than what should not be.
    pub(super) fn enter(outer: Option<&Arc<Self>>, root: &Path, folder: &Path) -> io::Result<Arc<Self>> {
        let mut own = Vec::new();
        for name in NAMES {
            let path = folder.join(name);
            let text = match files::read(root, &path, LONGEST) {
                Ok(read) => read.bytes.ok_or_else(|| io::Error::other("the ignore file is too long"))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut builder = GitignoreBuilder::new(folder);
            let text = String::from_utf8_lossy(&text);
            for line in text.trim_start_matches('\u{feff}').lines() {
                if let Err(error) = builder.add_line(None, line) {
                    tracing::warn!(file = %path.display(), %error, "a line of an ignore file is no pattern: it is passed over");
                }
            }
            own.push(builder.build().map_err(io::Error::other)?);
        }
        Ok(match outer {
            Some(outer) if own.is_empty() => Arc::clone(outer),
            _ => Arc::new(Self { outer: outer.cloned(), own }),
        })
    }

    /// Whether an entry of this folder is to be left out.
    pub(super) fn leave_out(&self, path: &Path, is_folder: bool) -> bool {
        if path.file_name().is_some_and(is_hidden) {
            return true;
        }
        let mut rules = Some(self);
        while let Some(these) = rules {
            for own in these.own.iter().rev() {
                let matched = own.matched(path, is_folder);
                if !matched.is_none() {
                    return matched.is_ignore();
                }
            }
            rules = these.outer.as_deref();
        }
        false
    }
}

/// Whether a file says what is ignored.
pub(super) fn is_ignore_file(name: &OsStr) -> bool {
    NAMES.iter().any(|ignore| name == *ignore)
}

/// Whether a name is one that listings leave out.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
