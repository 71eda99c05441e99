//! What files there are: a walk in slices, so that none holds a lane for long.
//!
//! The walker of the `ignore` crate answers for whole trees; a change is told by its path, and whether that is to be read must
//! be answered by the same rules. So its patterns are used here, and each folder is watched before it is read.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::Stamp;
use super::rules::Rules;
use super::watch::{Watch, Watched, each_folder};

/// Folders in folders to this depth; a tree that is deeper holds an open folder for each.
const DEPTH: usize = 64;

/// A folder that is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Root {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    /// How passages name it.
    pub(super) name: String,
}

/// A file: of which folder, and the way inside it. Files of one folder are neighbours in this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    pub(super) root: usize,
    pub(super) path: PathBuf,
}

/// What a walk came by.
#[derive(Debug)]
pub(super) enum Found {
    /// A file that is to be read.
    File {
        key: Key,
        stamp: Stamp,
        /// It was asked for by name: something has happened to it.
        named: bool,
    },
    /// A file or a folder that cannot be looked at.
    Unreadable { key: Key },
    /// One of the watched folders is there.
    Root { root: usize, stamp: Stamp },
    /// One of the watched folders is not to be had, for a reason that fits in one line.
    NoRoot { root: usize, why: String },
}

/// What a slice of a walk gave.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) found: Vec<Found>,
    /// Why some folder is not watched.
    pub(super) unwatched: Option<String>,
    /// There is no more.
    pub(super) done: bool,
}

/// A walk over some folders and files.
#[derive(Debug)]
pub(super) struct Walk {
    roots: Arc<[Root]>,
    starts: std::vec::IntoIter<Key>,
    frames: Vec<Frame>,
    /// The rules of the folder that the last start was in: the next one is often in the same.
    last: Option<(Key, Option<Arc<Rules>>)>,
    found: Vec<Found>,
    unwatched: Option<String>,
}

#[derive(Debug)]
struct Frame {
    root: usize,
    rules: Arc<Rules>,
    entries: ReadDir,
}

impl Walk {
    /// From these paths; an empty path is the whole folder.
    pub(super) fn new(roots: Arc<[Root]>, starts: Vec<Key>) -> Self {
        let (starts, frames, found) = (starts.into_iter(), Vec::new(), Vec::new());
        Self { roots, starts, frames, last: None, found, unwatched: None }
    }

    /// Looks at so many entries more.
    pub(super) fn slice(&mut self, most: usize, watch: Option<&mut (dyn Watch + 'static)>) -> Slice {
        let mut watch = watch;
        let mut done = false;
        for _ in 0..most {
            if let Some(frame) = self.frames.last_mut() {
                let (root, rules) = (frame.root, Arc::clone(&frame.rules));
                match frame.entries.next() {
                    Some(Ok(entry)) => self.entry(root, &rules, &entry, watch.as_deref_mut()),
                    // The folder is going, or its disk is: what was not seen is looked for again when that is told.
                    Some(Err(_)) | None => drop(self.frames.pop()),
                }
            } else if let Some(start) = self.starts.next() {
                self.start(start, watch.as_deref_mut());
            } else {
                done = true;
                break;
            }
        }
        Slice { found: std::mem::take(&mut self.found), unwatched: self.unwatched.take(), done }
    }

    fn entry(
        &mut self,
        root: usize,
        rules: &Arc<Rules>,
        entry: &fs::DirEntry,
        watch: Option<&mut (dyn Watch + 'static)>,
    ) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if rules.leave_out(&path, kind.is_dir()) => {}
            Ok(kind) if kind.is_dir() => {
                if let Err(error) = self.enter(root, &path, Some(rules), watch) {
                    self.failed(root, &path, &error);
                }
            }
            Ok(kind) if kind.is_file() => match entry.metadata() {
                Ok(metadata) => self.file(root, &path, &metadata, false),
                Err(error) => self.failed(root, &path, &error),
            },
            // Links lead elsewhere, or to what is found by itself; pipes and devices are no files.
            Ok(_) => {}
            Err(error) => self.failed(root, &path, &error),
        }
    }

    fn start(&mut self, start: Key, watch: Option<&mut (dyn Watch + 'static)>) {
        let root = start.root;
        let folder = self.roots[root].path.clone();
        let Some(parent) = start.path.parent() else {
            return self.root(root, &folder, watch);
        };
        let parent = Key { root, path: parent.to_owned() };
        if self.last.as_ref().is_none_or(|(last, _)| *last != parent) {
            let rules = self.rules(&parent, &folder);
            self.last = Some((parent, rules));
        }
        let Some((_, Some(rules))) = &self.last else { return };
        let (rules, path) = (Arc::clone(rules), folder.join(&start.path));
        match fs::symlink_metadata(&path) {
            Ok(metadata) if rules.leave_out(&path, metadata.is_dir()) => {}
            Ok(metadata) if metadata.is_dir() => {
                if let Err(error) = self.enter(root, &path, Some(&rules), watch) {
                    self.failed(root, &path, &error);
                }
            }
            Ok(metadata) if metadata.is_file() => self.file(root, &path, &metadata, true),
            Ok(_) => {}
            Err(error) => self.failed(root, &path, &error),
        }
    }

    /// The rules that hold inside a folder; `None` where nothing of it is read.
    fn rules(&mut self, inside: &Key, root: &Path) -> Option<Arc<Rules>> {
        let mut path = root.to_owned();
        let mut rules = Rules::enter(None, root, root).ok()?;
        for name in inside.path.components() {
            path.push(name);
            if rules.leave_out(&path, true)
                || !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir())
            {
                return None;
            }
            rules = Rules::enter(Some(&rules), root, &path)
                .inspect_err(|error| self.failed(inside.root, &path, error))
                .ok()?;
        }
        Some(rules)
    }

    fn root(&mut self, root: usize, path: &Path, watch: Option<&mut (dyn Watch + 'static)>) {
        let outcome = look_at_root(path).and_then(|stamp| {
            self.enter(root, path, None, watch).map_err(|error| why_not(path, &error))?;
            Ok(stamp)
        });
        self.found.push(match outcome {
            Ok(stamp) => Found::Root { root, stamp },
            Err(why) => Found::NoRoot { root, why },
        });
    }

    fn enter(
        &mut self,
        root: usize,
        path: &Path,
        outer: Option<&Arc<Rules>>,
        watch: Option<&mut (dyn Watch + 'static)>,
    ) -> io::Result<()> {
        if self.frames.len() >= DEPTH {
            return Err(io::Error::other("folders in folders beyond what is read"));
        }
        if let Some(watch) = watch
            && (outer.is_none() || each_folder())
        {
            match watch.watch(path) {
                Watched::Yes => {}
                Watched::Gone => return Err(io::ErrorKind::NotFound.into()),
                Watched::No(why) => self.unwatched = Some(why),
            }
        }
        let rules = Rules::enter(outer, &self.roots[root].path, path)?;
        self.frames.push(Frame { root, rules, entries: fs::read_dir(path)? });
        Ok(())
    }

    fn file(&mut self, root: usize, path: &Path, metadata: &fs::Metadata, named: bool) {
        let key = self.key(root, path);
        self.found.push(Found::File { key, stamp: Stamp::of(metadata), named });
    }

    fn failed(&mut self, root: usize, path: &Path, error: &io::Error) {
        // What has gone meanwhile is as if it had never been.
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            let key = self.key(root, path);
            self.found.push(Found::Unreadable { key });
        }
    }

    fn key(&self, root: usize, path: &Path) -> Key {
        Key { root, path: path.strip_prefix(&self.roots[root].path).unwrap_or(path).to_owned() }
    }
}

/// Whether there is a folder to read.
///
/// # Errors
///
/// One line: what, why and what to do.
pub(super) fn look_at_root(path: &Path) -> Result<Stamp, String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| why_not(path, &error))?;
    if !metadata.is_dir() {
        return Err(format!("{} is not a folder: name the folder it is in", path.display()));
    }
    fs::read_dir(path).map_err(|error| why_not(path, &error))?;
    Ok(Stamp::of(&metadata))
}

/// One line on a folder that cannot be read.
pub(super) fn why_not(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no folder {path}: make it, or name another"),
        io::ErrorKind::PermissionDenied => {
            format!("the folder {path} may not be read: allow this process to read and enter it")
        }
        _ => format!("the folder {path} cannot be read: {error}"),
    }
}
