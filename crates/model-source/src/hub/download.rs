//! One file into the cache: continued where it was cut off, checked, and only then named.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::{StatusCode, header};
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::cache::{RepoCache, make_parent};
use super::client::HubClient;
use super::listing::{Entry, Listing};
use super::options::HubOptions;
use super::progress::Progress;
use super::refusal::innermost;
use super::{hex, is_sha256};
use crate::SourceError;

/// Read at once when an earlier part is hashed: some tens of microseconds of work between two awaits.
const HASH_CHUNK: usize = 64 << 10;
/// Written at once: network chunks are some 16 kB, and each write is a hop to another thread.
const WRITE_BUFFER: usize = 512 << 10;

pub(super) struct Download<'a> {
    pub(super) client: &'a HubClient<'a>,
    pub(super) cache: &'a RepoCache,
    pub(super) options: &'a HubOptions,
    pub(super) progress: &'a dyn Progress,
}

/// One file on its way.
struct Target<'a> {
    commit: &'a str,
    name: &'a str,
    etag: &'a str,
    size: Option<u64>,
}

/// Why a stream of bytes ended before the file did.
enum Cut {
    /// The network or the hub failed: continue.
    Again(SourceError),
    /// What is here does not fit what the hub has: begin anew.
    Anew(&'static str),
    /// No use in trying.
    Fatal(SourceError),
}

impl Download<'_> {
    /// Makes a file of the listing appear in its snapshot.
    pub(super) async fn file(&self, listing: &Listing, name: &str) -> Result<(), SourceError> {
        let Some(Entry { size, etag: Some(etag) }) = listing.files.get(name) else {
            // The caller looked up what the listing lacks.
            return Err(self.damaged(name, "the hub gives it no entity tag".to_owned()));
        };
        let target = Target { commit: &listing.commit, name, etag, size: *size };
        let blob = self.cache.blob(etag);
        if !is_whole(&blob, *size).await {
            let _lock = self.cache.lock(etag, || self.progress.waiting(name)).await?;
            // Another process may have finished it meanwhile.
            if !is_whole(&blob, *size).await {
                self.fetch(&target, &blob).await?;
            }
        }
        self.cache.link(&listing.commit, name, etag).await?;
        let size = size.unwrap_or(0);
        self.progress.received(name, size, size);
        self.progress.finished(name);
        Ok(())
    }

    /// Downloads a blob, under its lock.
    async fn fetch(&self, target: &Target<'_>, blob: &Path) -> Result<(), SourceError> {
        make_parent(blob).await?;
        let mut partial = Partial::open(blob, is_sha256(target.etag)).await?;
        let mut resumed = partial.length > 0;
        if resumed {
            tracing::info!(file = target.name, have = partial.length, "resuming a download");
        }
        loop {
            self.complete(target, &mut partial).await?;
            let found = partial.finish().await?;
            if found.is_none_or(|found| found == target.etag) {
                break;
            }
            // The part from an earlier run may be at fault; without one it is the hub's or the network's.
            partial.restart().await?;
            if !resumed {
                let _ = tokio::fs::remove_file(&partial.path).await;
                return Err(self.damaged(target.name, format!("its SHA-256 is not {}", target.etag)));
            }
            resumed = false;
        }
        tokio::fs::rename(&partial.path, blob).await.map_err(|error| SourceError::unwritable(blob, error))
    }

    /// Streams until the file is complete, with retries.
    async fn complete(&self, target: &Target<'_>, partial: &mut Partial) -> Result<(), SourceError> {
        if target.size.is_some_and(|size| partial.length > size) {
            partial.restart().await?;
        }
        let mut left = self.options.retries;
        let mut delay = self.options.retry_delay;
        while target.size != Some(partial.length) {
            let before = partial.length;
            self.progress.received(target.name, before, target.size.unwrap_or(before));
            let error = match self.stream(target, partial).await {
                Ok(()) => break,
                Err(Cut::Fatal(error)) => return Err(error),
                Err(Cut::Anew(reason)) => {
                    tracing::warn!(file = target.name, reason, "beginning a download anew");
                    partial.restart().await?;
                    self.damaged(target.name, reason.to_owned())
                }
                Err(Cut::Again(error)) => error,
            };
            partial.flush().await?;
            if partial.length > before {
                left = self.options.retries;
                delay = self.options.retry_delay;
            }
            if left == 0 {
                return Err(error);
            }
            let reason = error.reason();
            tracing::warn!(
                file = target.name,
                have = partial.length,
                reason,
                "the download was cut off; resuming it"
            );
            tokio::time::sleep(delay).await;
            left -= 1;
            delay = (delay * 2).min(self.options.retry_delay * 16);
        }
        Ok(())
    }

    /// Streams from where the part ends.
    async fn stream(&self, target: &Target<'_>, partial: &mut Partial) -> Result<(), Cut> {
        let answer = self.client.content(target.commit, target.name, partial.length).await;
        let mut response = answer.map_err(|error| match error {
            SourceError::Network { reason, .. } if partial.length > 0 => {
                Cut::Again(self.truncated(target, partial, reason))
            }
            SourceError::Network { .. } | SourceError::HubAnswer { .. } | SourceError::RateLimited { .. } => {
                Cut::Again(error)
            }
            _ => Cut::Fatal(error),
        })?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range =
                    response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
                let begins =
                    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                if begins != Some(partial.length) {
                    return Err(Cut::Anew("the hub sent another part than was asked for"));
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Cut::Anew("the hub has no part beyond what is here"));
            }
            // The whole file, though a part was asked for.
            _ if partial.length > 0 => partial.restart().await.map_err(Cut::Fatal)?,
            _ => {}
        }
        let expected = target.size.or_else(|| Some(partial.length + response.content_length()?));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    partial.append(&chunk).await.map_err(Cut::Fatal)?;
                    if expected.is_some_and(|expected| partial.length > expected) {
                        return Err(Cut::Anew("it is longer than the hub says"));
                    }
                    self.progress.received(target.name, partial.length, expected.unwrap_or(partial.length));
                }
                Ok(None) if expected.is_some_and(|expected| partial.length < expected) => {
                    return Err(Cut::Again(self.truncated(
                        target,
                        partial,
                        "the connection was closed".to_owned(),
                    )));
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(Cut::Again(self.truncated(target, partial, innermost(&error)))),
            }
        }
    }

    fn truncated(&self, target: &Target<'_>, partial: &Partial, reason: String) -> SourceError {
        SourceError::Truncated {
            repo: self.client.repo.to_string(),
            file: target.name.to_owned(),
            received: partial.length,
            expected: target.size.unwrap_or(partial.length),
            reason,
        }
    }

    fn damaged(&self, file: &str, reason: String) -> SourceError {
        SourceError::Damaged { repo: self.client.repo.to_string(), file: file.to_owned(), reason }
    }
}

/// Whether the blob is there with its right size.
async fn is_whole(blob: &Path, size: Option<u64>) -> bool {
    let metadata = tokio::fs::metadata(blob).await;
    metadata.is_ok_and(|metadata| metadata.is_file() && size.is_none_or(|size| size == metadata.len()))
}

/// A file on its way: `ETAG.incomplete` beside the blob it will be.
struct Partial {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
    /// Hashes as it grows, where there is a hash to compare with.
    hasher: Option<Sha256>,
}

impl Partial {
    /// Opens what an earlier run left, or an empty file.
    async fn open(blob: &Path, hashed: bool) -> Result<Self, SourceError> {
        let mut name = blob.as_os_str().to_owned();
        name.push(".incomplete");
        let path = PathBuf::from(name);
        let open = async {
            let mut file =
                OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).await?;
            let mut hasher = hashed.then(Sha256::new);
            let mut length = 0;
            match &mut hasher {
                Some(hasher) => {
                    let mut buffer = vec![0; HASH_CHUNK];
                    loop {
                        let read = file.read(&mut buffer).await?;
                        if read == 0 {
                            break;
                        }
                        hasher.update(&buffer[..read]);
                        length += read as u64;
                    }
                }
                None => length = file.seek(io::SeekFrom::End(0)).await?,
            }
            Ok((file, hasher, length))
        };
        let (file, hasher, length) = open.await.map_err(|error| SourceError::unwritable(&path, error))?;
        Ok(Self { path, file: BufWriter::with_capacity(WRITE_BUFFER, file), length, hasher })
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(|error| SourceError::unwritable(&self.path, error))
    }

    async fn flush(&mut self) -> Result<(), SourceError> {
        self.file.flush().await.map_err(|error| SourceError::unwritable(&self.path, error))
    }

    /// Throws away what is here.
    async fn restart(&mut self) -> Result<(), SourceError> {
        let emptied = async {
            self.file.flush().await?;
            self.file.get_mut().set_len(0).await?;
            self.file.seek(io::SeekFrom::Start(0)).await
        };
        emptied.await.map_err(|error| SourceError::unwritable(&self.path, error))?;
        self.length = 0;
        if let Some(hasher) = &mut self.hasher {
            *hasher = Sha256::new();
        }
        Ok(())
    }

    /// Brings everything to the disk; gives the hash, if one is kept.
    async fn finish(&mut self) -> Result<Option<String>, SourceError> {
        self.flush().await?;
        self.file.get_ref().sync_all().await.map_err(|error| SourceError::unwritable(&self.path, error))?;
        Ok(self.hasher.clone().map(|hasher| hex(&hasher.finalize())))
    }
}
