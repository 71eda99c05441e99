//! Sources on the local disk: a folder in Hugging Face layout, or one weights file with its companions beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::files::{FileData, ModelFile, ModelFiles};
use crate::source::RepoId;
use crate::{Source, SourceError, Wanted, wanted};

/// The files of a model in `folder`.
pub(crate) async fn resolve_folder(folder: &Path, wanted: &Wanted) -> Result<ModelFiles, SourceError> {
    let metadata = tokio::fs::metadata(folder).await.map_err(|error| not_there(folder, error))?;
    if !metadata.is_dir() {
        return Err(SourceError::InvalidFile {
            file: folder.display().to_string(),
            reason: "is neither a folder nor a .safetensors file".to_owned(),
        });
    }
    resolve(Source::Folder(folder.to_owned()), folder, None, wanted).await
}

/// The files of a model whose weights are `file`.
pub(crate) async fn resolve_file(file: &Path, wanted: &Wanted) -> Result<ModelFiles, SourceError> {
    let metadata = tokio::fs::metadata(file).await.map_err(|error| not_there(file, error))?;
    if !metadata.is_file() {
        return Err(SourceError::InvalidFile {
            file: file.display().to_string(),
            reason: "is not a file".to_owned(),
        });
    }
    let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        SourceError::invalid_source(file.display().to_string(), "the file's name is not UTF-8")
    })?;
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    resolve(Source::File(file.to_owned()), folder, Some(name), wanted).await
}

async fn resolve(
    source: Source,
    folder: &Path,
    file: Option<&str>,
    wanted: &Wanted,
) -> Result<ModelFiles, SourceError> {
    let place = source.to_string();
    let mut names = list(folder, "").await?;
    let mut folders: Vec<String> = Vec::new();
    for manifest in wanted::MANIFESTS {
        if names.iter().any(|name| name == manifest) {
            let path = folder.join(manifest);
            let content = tokio::fs::read(&path).await.map_err(|e| SourceError::unreadable(&path, e))?;
            folders.extend(wanted::subfolders(manifest, &content, &path.display().to_string())?);
        }
    }
    for subfolder in &folders {
        // A module without files (Normalize) may have no folder at all.
        if tokio::fs::metadata(folder.join(subfolder)).await.is_ok_and(|metadata| metadata.is_dir()) {
            names.extend(list(folder, subfolder).await?);
        }
    }
    names.sort();
    let example = |name: &str| folder.join(name).display().to_string();
    let weights = if wanted.weights {
        wanted::weights(&names, &folders, file, &wanted.modality, &place, example)?
    } else {
        Vec::new()
    };
    let mut files = BTreeMap::new();
    let mut fingerprint = Sha256::new();
    let mut chosen = wanted::small_files(&names, &folders);
    chosen.extend(&weights);
    chosen.sort_unstable();
    for name in chosen {
        let path = folder.join(name);
        let metadata = tokio::fs::metadata(&path).await.map_err(|e| SourceError::unreadable(&path, e))?;
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanos = changed.unwrap_or_default().as_nanos();
        fingerprint.update(format!("{name}\0{}\0{nanos}\n", metadata.len()));
        let label = path.display().to_string();
        files.insert(name.to_owned(), ModelFile::new(label, FileData::Path(path), metadata.len()));
    }
    let revision = crate::hub::hex(&fingerprint.finalize()[..20]);
    let weights = weights.into_iter().map(str::to_owned).collect();
    Ok(ModelFiles::new(source, place, revision, files, weights))
}

/// The names of the files (and links to files) in `folder/subfolder`, with the subfolder in front.
async fn list(folder: &Path, subfolder: &str) -> Result<Vec<String>, SourceError> {
    let here: PathBuf = if subfolder.is_empty() { folder.to_owned() } else { folder.join(subfolder) };
    let unreadable = |error| SourceError::unreadable(&here, error);
    let mut entries = tokio::fs::read_dir(&here).await.map_err(unreadable)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        // What is not UTF-8 is no file of the layout.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if entry.file_type().await.map_err(unreadable)?.is_dir() {
            continue;
        }
        names.push(if subfolder.is_empty() { name } else { format!("{subfolder}/{name}") });
    }
    Ok(names)
}

fn not_there(path: &Path, error: io::Error) -> SourceError {
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return SourceError::unreadable(path, error);
    }
    let given = path.display().to_string();
    let hint = if given.starts_with("~/") {
        "; ~ stands for the home folder in a shell only: write the whole path".to_owned()
    } else if given.matches('/').count() == 1 && given.parse::<RepoId>().is_ok() && path.extension().is_none()
    {
        format!("; for the hub's model write hf:{given}")
    } else if builtin_models::find(&given).is_some() {
        format!("; for the built-in model write builtin:{given}")
    } else {
        format!("; a source is {}", crate::source::FORMS)
    };
    SourceError::NotFound { path: path.to_owned(), hint }
}
