//! Models of the Hugging Face hub, through the cache that Python's `huggingface_hub` shares.
//!
//! # Why the download is our own
//! The cache's layout is that of the `hf-hub` crate. Its downloader is not used: release 1.0 starts a cut-off download
//! anew, checks neither the status nor the size nor the checksum of what it stores, knows no offline variable, and brings a
//! hundred packages for uploads and for another protocol; release 0.5 resumes, but into files and under locks that no
//! other program shares, and checks as little.
//!
//! # What is promised
//! - A file appears in the cache under its name only when it is whole: it is written to `blobs/ETAG.incomplete`, checked
//!   (size always, SHA-256 where the hub gives one), synced, renamed, and only then linked from the snapshot.
//! - What came before a cut is kept and continued with a `Range` request, by this process or a later one.
//! - Processes that want the same file wait for each other, by the locks that `huggingface_hub` takes.
//! - A revision's reference is written last, and a complete model is served from the cache without any request.

mod cache;
mod client;
mod download;
mod listing;
mod options;
mod progress;
mod refusal;
mod tls;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use futures::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

pub use options::{Freshness, HubOptions, Token};
pub use progress::Progress;

use crate::files::{FileData, ModelFile, ModelFiles};
use crate::{HubModel, Source, SourceError, Wanted, wanted};
use cache::RepoCache;
use client::HubClient;
use download::Download;
use listing::Listing;

/// Files fetched at the same time: enough to hide a round trip for each small one, few enough for the hub's limits.
const CONCURRENT_FILES: usize = 4;

/// Finds or downloads a hub model's files.
pub(crate) async fn resolve(
    model: &HubModel,
    wanted: &Wanted,
    options: &HubOptions,
    progress: &dyn Progress,
) -> Result<ModelFiles, SourceError> {
    let cache = RepoCache::new(&options.cache, &model.repo);
    let request = Request { model, wanted, options, cache: &cache };
    let cached = match cache.commit(model.revision()).await? {
        Some(commit) => Some(request.in_cache(commit).await),
        None => None,
    };
    if options.offline {
        return cached.unwrap_or_else(|| {
            Err(request.offline(format!("{} at revision {} is not", model.repo, model.revision())))
        });
    }
    if options.freshness == Freshness::Cached
        && let Some(Ok(files)) = cached
    {
        return Ok(files);
    }
    match request.at_hub(progress).await {
        // No hub, but the model is whole as of last time.
        Err(error @ (SourceError::Network { .. } | SourceError::HubAnswer { .. })) => match cached {
            Some(Ok(files)) => {
                tracing::warn!(model = %model, %error, "using the cached model");
                Ok(files)
            }
            _ => Err(error),
        },
        done => done,
    }
}

/// Checks a blob of the cache whose name is its SHA-256. Reads the whole file: blocks, for a compute lane.
///
/// # Errors
/// [`SourceError::Unreadable`], or [`SourceError::InvalidFile`] if the content is not what the name says. A name that is
/// no SHA-256 is not checked.
pub fn verify_blob(path: &Path) -> Result<(), SourceError> {
    let unreadable = |error| SourceError::unreadable(path, error);
    let blob = std::fs::canonicalize(path).map_err(unreadable)?;
    let Some(expected) = blob.file_name().and_then(|name| name.to_str()).filter(|name| is_sha256(name))
    else {
        return Ok(());
    };
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(&blob).map_err(unreadable)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let found = hex(&hasher.finalize());
    if found == expected {
        return Ok(());
    }
    Err(SourceError::InvalidFile {
        file: blob.display().to_string(),
        reason: format!("is damaged: its SHA-256 is {found}; delete it and download the model again"),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What one call is about.
struct Request<'a> {
    model: &'a HubModel,
    wanted: &'a Wanted,
    options: &'a HubOptions,
    cache: &'a RepoCache,
}

/// The files of a model, chosen from what a commit holds.
struct Choice {
    names: Vec<String>,
    weights: Vec<String>,
}

impl Request<'_> {
    /// The model from the cache alone, if it is whole there.
    async fn in_cache(&self, commit: String) -> Result<ModelFiles, SourceError> {
        let listing = match self.cache.listing(&commit).await? {
            Some(listing) => listing,
            // Downloaded by a program that keeps no list. Without one there is no telling what is missing, so this is
            // good enough only where nobody else can be asked.
            None if self.options.offline => self.cache.list_snapshot(&commit).await?,
            None => return Err(self.offline("the list of its files is not")),
        };
        let folders = self.folders(&listing).await?;
        let choice = self.choose(&listing, &folders)?;
        for name in &choice.names {
            if !self.cache.holds(&listing, name).await {
                return Err(self.offline(format!("{name} of {} is not", self.model.repo)));
            }
        }
        self.files(listing, choice).await
    }

    /// The model from the hub, downloading what the cache lacks.
    async fn at_hub(&self, progress: &dyn Progress) -> Result<ModelFiles, SourceError> {
        let client = HubClient::new(self.options, &self.model.repo).await?;
        let mut listing = client.listing(self.model.revision()).await?;
        let download = Download { client: &client, cache: self.cache, options: self.options, progress };
        // The manifests first: they say which subfolders belong to the model.
        let manifests: Vec<String> = wanted::MANIFESTS
            .iter()
            .map(|name| (*name).to_owned())
            .filter(|name| listing.has(name))
            .collect();
        self.fetch(&download, &mut listing, &manifests).await?;
        let folders = self.folders(&listing).await?;
        let choice = self.choose(&listing, &folders)?;
        self.fetch(&download, &mut listing, &choice.names).await?;
        self.cache.write_listing(&listing).await?;
        self.cache.write_ref(self.model.revision(), &listing.commit).await?;
        self.files(listing, choice).await
    }

    /// Brings files into the snapshot.
    async fn fetch(
        &self,
        download: &Download<'_>,
        listing: &mut Listing,
        names: &[String],
    ) -> Result<(), SourceError> {
        let mut missing = Vec::new();
        for name in names {
            if !self.cache.holds(listing, name).await {
                missing.push(name.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // Sizes and entity tags, where the list did not give them.
        let commit = listing.commit.clone();
        let unknown: Vec<&String> = missing.iter().filter(|name| !listing.is_known(name)).collect();
        let lookup = |name: &String| {
            let name = name.clone();
            async { download.client.entry(&commit, &name).await.map(|entry| (name, entry)) }
        };
        let found = at_once(unknown.into_iter().map(lookup).collect()).await?;
        listing.files.extend(found);
        let total = missing.iter().map(|name| listing.size(name)).sum();
        tracing::info!(model = %self.model, files = missing.len(), bytes = total, "downloading");
        download.progress.planned(missing.len(), total);
        at_once(missing.iter().map(|name| download.file(listing, name)).collect()).await?;
        Ok(())
    }

    /// The subfolders that belong to the model, by its manifests in the snapshot.
    async fn folders(&self, listing: &Listing) -> Result<Vec<String>, SourceError> {
        let mut folders = Vec::new();
        for manifest in wanted::MANIFESTS.iter().filter(|name| listing.has(name)) {
            let path = self.cache.pointer(&listing.commit, manifest);
            let content = match tokio::fs::read(&path).await {
                Ok(content) => content,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(self.offline(format!("{manifest} of {} is not", self.model.repo)));
                }
                Err(error) => return Err(SourceError::unreadable(&path, error)),
            };
            folders.extend(wanted::subfolders(manifest, &content, &self.label(manifest))?);
        }
        Ok(folders)
    }

    fn choose(&self, listing: &Listing, folders: &[String]) -> Result<Choice, SourceError> {
        let names: Vec<String> = listing.files.keys().cloned().collect();
        let mut chosen: Vec<String> =
            wanted::small_files(&names, folders).into_iter().map(str::to_owned).collect();
        let mut weights = Vec::new();
        if self.wanted.weights {
            let place = HubModel { file: None, ..self.model.clone() }.to_string();
            let example = |name: &str| format!("{place}:{name}");
            let file = self.model.file.as_deref();
            let found = wanted::weights(&names, folders, file, &self.wanted.modality, &place, example)?;
            weights.extend(found.into_iter().map(str::to_owned));
        }
        chosen.extend(weights.iter().cloned());
        Ok(Choice { names: chosen, weights })
    }

    async fn files(&self, listing: Listing, choice: Choice) -> Result<ModelFiles, SourceError> {
        let mut files = BTreeMap::new();
        for name in choice.names {
            let path = self.cache.pointer(&listing.commit, &name);
            let metadata =
                tokio::fs::metadata(&path).await.map_err(|error| SourceError::unreadable(&path, error))?;
            let label = self.label(&name);
            files.insert(name, ModelFile::new(label, FileData::Path(path), metadata.len()));
        }
        let source = Source::Hub(self.model.clone());
        Ok(ModelFiles::new(source, self.model.to_string(), listing.commit, files, choice.weights))
    }

    fn label(&self, name: &str) -> String {
        format!("hf:{}/{name}", self.model.repo)
    }

    fn offline(&self, missing: impl Into<String>) -> SourceError {
        SourceError::Offline { missing: missing.into(), cache: self.options.cache.clone() }
    }
}

/// Awaits all, a few at a time; the results as they come, or the first error.
async fn at_once<T>(
    futures: Vec<impl Future<Output = Result<T, SourceError>>>,
) -> Result<Vec<T>, SourceError> {
    stream::iter(futures).buffer_unordered(CONCURRENT_FILES).try_collect().await
}
