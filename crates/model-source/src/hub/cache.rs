//! The part of the shared cache that belongs to one repository:
//!
//! ```text
//! CACHE/models--OWNER--NAME/blobs/ETAG               content, by its hash; ETAG.incomplete while it comes
//!                           snapshots/COMMIT/NAME    links to blobs
//!                           refs/REVISION            the commit a branch or tag stands for
//!                           trees/COMMIT.json        Python's list of a commit's files; read, never written
//!                           .candlepool/COMMIT.json  our list of a commit's files: what is not listed is not missing
//! CACHE/.locks/models--OWNER--NAME/ETAG.lock         taken while a blob is written
//! ```

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::listing::{Entry, Listing, Tree, is_commit, is_file_name};
use crate::source::is_relative_path;
use crate::{RepoId, SourceError};

/// How often a lock that another process holds is tried: far below the time a download takes.
const LOCK_POLL: Duration = Duration::from_millis(100);

pub(super) struct RepoCache {
    cache: PathBuf,
    repo: hf_hub::Repo,
}

/// Held while a blob is written; freed when dropped, or when the process ends.
pub(super) struct BlobLock(#[expect(dead_code, reason = "closing the file frees the lock")] std::fs::File);

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &RepoId) -> Self {
        Self { cache: cache.to_owned(), repo: hf_hub::Repo::model(repo.as_str().to_owned()) }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(self.repo.folder_name())
    }

    /// Where a commit's file is.
    pub(super) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        hf_hub::Cache::new(self.cache.clone()).repo(self.repo.clone()).pointer_path(commit).join(name)
    }

    /// Where a blob is.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    /// The commit that a revision stood for when it was last looked up.
    pub(super) async fn commit(&self, revision: &str) -> Result<Option<String>, SourceError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.folder().join("refs").join(revision);
        let text = read_if_any(&path).await?;
        Ok(text
            .map(|text| String::from_utf8_lossy(&text).trim().to_owned())
            .filter(|text| is_file_name(text)))
    }

    /// Whether the snapshot has the file, whole as far as its size tells.
    pub(super) async fn holds(&self, listing: &Listing, name: &str) -> bool {
        let metadata = tokio::fs::metadata(self.pointer(&listing.commit, name)).await;
        let Ok(metadata) = metadata else { return false };
        let expected = listing.files.get(name).and_then(|entry| entry.size);
        metadata.is_file() && expected.is_none_or(|size| size == metadata.len())
    }

    /// The list of a commit's files, ours or Python's.
    pub(super) async fn listing(&self, commit: &str) -> Result<Option<Listing>, SourceError> {
        if let Some(content) = read_if_any(&self.listing_path(commit)).await?
            && let Ok(listing) = serde_json::from_slice::<Listing>(&content)
            && listing.commit == commit
            && listing.files.keys().all(|name| is_relative_path(name))
        {
            return Ok(Some(listing));
        }
        let tree = self.folder().join("trees").join(format!("{commit}.json"));
        let content = read_if_any(&tree).await?;
        let tree = content.and_then(|content| serde_json::from_slice::<Tree>(&content).ok());
        Ok(tree.and_then(|tree| tree.into_listing(commit)))
    }

    pub(super) async fn write_listing(&self, listing: &Listing) -> Result<(), SourceError> {
        let path = self.listing_path(&listing.commit);
        let content = serde_json::to_vec(listing).map_err(|e| SourceError::unwritable(&path, e.into()))?;
        self.write(&path, &content).await
    }

    /// The files that a snapshot holds: all there is to go by where nobody kept a list.
    pub(super) async fn list_snapshot(&self, commit: &str) -> Result<Listing, SourceError> {
        let top = self.pointer(commit, "");
        let mut files = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let here = top.join(&folder);
            let mut entries = match tokio::fs::read_dir(&here).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(SourceError::unreadable(&here, error)),
            };
            let unreadable = |error| SourceError::unreadable(&here, error);
            while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry.file_type().await.map_err(unreadable)?.is_dir() {
                    folders.push(name);
                } else {
                    files.insert(name, Entry::default());
                }
            }
        }
        Ok(Listing { commit: commit.to_owned(), files })
    }

    /// Notes which commit a branch or tag stands for.
    pub(super) async fn write_ref(&self, revision: &str, commit: &str) -> Result<(), SourceError> {
        if revision == commit {
            return Ok(());
        }
        self.write(&self.folder().join("refs").join(revision), commit.as_bytes()).await
    }

    /// Takes the lock of a blob, waiting for the process that has it; `waiting` is called once if there is one.
    pub(super) async fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<BlobLock, SourceError> {
        let path = self.cache.join(".locks").join(self.repo.folder_name()).join(format!("{etag}.lock"));
        make_parent(&path).await?;
        let file = tokio::fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path).await;
        let file = file.map_err(|error| SourceError::unwritable(&path, error))?.into_std().await;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(BlobLock(file)),
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    tokio::time::sleep(LOCK_POLL).await;
                }
                // A file system without locks: the check before the renaming still keeps the cache right.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!(path = %path.display(), "no file locks here; downloads may be done twice");
                    return Ok(BlobLock(file));
                }
                Err(TryLockError::Error(error)) => return Err(SourceError::unwritable(&path, error)),
            }
        }
    }

    /// Makes a blob appear as a file of a commit.
    pub(super) async fn link(&self, commit: &str, name: &str, etag: &str) -> Result<(), SourceError> {
        let pointer = self.pointer(commit, name);
        make_parent(&pointer).await?;
        let aside = self.aside().await?;
        let made = make_link(&self.blob(etag), name, etag, &aside).await;
        made.map_err(|error| SourceError::unwritable(&pointer, error))?;
        tokio::fs::rename(&aside, &pointer).await.map_err(|error| SourceError::unwritable(&pointer, error))
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.folder().join(".candlepool").join(format!("{commit}.json"))
    }

    /// Writes a small file, whole or not at all.
    async fn write(&self, path: &Path, content: &[u8]) -> Result<(), SourceError> {
        make_parent(path).await?;
        let aside = self.aside().await?;
        let written = async {
            let mut file = tokio::fs::File::create(&aside).await?;
            file.write_all(content).await?;
            file.sync_all().await?;
            tokio::fs::rename(&aside, path).await
        };
        written.await.map_err(|error| SourceError::unwritable(path, error))
    }

    /// A name that nobody else uses, for what is renamed into its place.
    async fn aside(&self) -> Result<PathBuf, SourceError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.folder().join(".candlepool").join(format!("{}-{number}.tmp", std::process::id()));
        make_parent(&path).await?;
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SourceError::unwritable(&path, error))
            }
            _ => Ok(path),
        }
    }
}

pub(super) async fn make_parent(path: &Path) -> Result<(), SourceError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    tokio::fs::create_dir_all(parent).await.map_err(|error| SourceError::unwritable(parent, error))
}

async fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, SourceError> {
    match tokio::fs::read(path).await {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(SourceError::unreadable(path, error)),
    }
}

/// A relative link, so that the cache can be moved. It is made in `.candlepool`, beside `snapshots/COMMIT`, but must lead
/// right from where it is renamed to.
#[cfg(unix)]
async fn make_link(_blob: &Path, name: &str, etag: &str, aside: &Path) -> io::Result<()> {
    let up = "../".repeat(2 + name.matches('/').count());
    tokio::fs::symlink(format!("{up}blobs/{etag}"), aside).await
}

/// Where symbolic links need a privilege: a second name of the same file.
#[cfg(not(unix))]
async fn make_link(blob: &Path, _name: &str, _etag: &str, aside: &Path) -> io::Result<()> {
    match tokio::fs::hard_link(blob, aside).await {
        Ok(()) => Ok(()),
        Err(_) => tokio::fs::copy(blob, aside).await.map(|_| ()),
    }
}
