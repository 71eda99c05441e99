//! `candlepool list`: the models of the cache and those compiled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use model_source::HubOptions;
use serde::Serialize;
use tokio::fs;

use super::table::aligned;
use crate::config::Size;
use crate::output::Sink;

/// The arguments of `list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// How the list is written
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

/// How lists are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ListFormat {
    /// A table
    Text,
    /// One JSON document
    Json,
}

/// The document of `--format json`.
#[derive(Serialize, Debug)]
struct Listing {
    cache: PathBuf,
    models: Vec<Cached>,
    builtin: Vec<Builtin>,
}

/// A repository in the cache.
#[derive(Serialize, Debug, PartialEq, Eq)]
struct Cached {
    source: String,
    bytes: u64,
    /// What has come of downloads that are not done.
    incomplete_bytes: u64,
    /// Branches and tags, and the commits they stood for.
    revisions: BTreeMap<String, String>,
}

/// A model compiled in.
#[derive(Serialize, Debug)]
struct Builtin {
    source: String,
    modality: &'static str,
    bytes: u64,
    version: &'static str,
    licence: &'static str,
}

pub(super) async fn run(arguments: ListArgs) -> anyhow::Result<()> {
    let cache = HubOptions::from_env()?.cache;
    let listing = Listing { models: cached(&cache).await?, cache, builtin: builtin() };
    let written = match arguments.format {
        ListFormat::Json => {
            let mut document = serde_json::to_vec(&listing)?;
            document.push(b'\n');
            document
        }
        ListFormat::Text => aligned(&rows(&listing)).into_bytes(),
    };
    let mut sink = Sink::open(None).await?;
    sink.write(&written).await?;
    sink.flush().await
}

fn builtin() -> Vec<Builtin> {
    let model = |model: &builtin_models::BuiltinModel| Builtin {
        source: format!("builtin:{}", model.name),
        modality: model.modality,
        bytes: model.files.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        version: model.version,
        licence: model.licence,
    };
    builtin_models::MODELS.iter().map(model).collect()
}

fn rows(listing: &Listing) -> Vec<Vec<String>> {
    let cell = |text: &str| text.to_owned();
    let mut rows = vec![vec![cell("SOURCE"), cell("SIZE"), cell("REVISION"), cell("NOTE")]];
    for model in &listing.builtin {
        rows.push(vec![
            model.source.clone(),
            Size(model.bytes).to_string(),
            cell(model.version),
            cell("compiled in"),
        ]);
    }
    for model in &listing.models {
        let short = |(name, commit): (&String, &String)| {
            format!("{name}={}", commit.chars().take(12).collect::<String>())
        };
        let revisions: Vec<String> = model.revisions.iter().map(short).collect();
        let note = match model.incomplete_bytes {
            0 => String::new(),
            bytes => format!("download not finished, {} so far; pull it to resume", Size(bytes)),
        };
        rows.push(vec![model.source.clone(), Size(model.bytes).to_string(), revisions.join(" "), note]);
    }
    rows
}

/// The repositories of the cache, by name. A cache that does not exist holds none.
async fn cached(cache: &Path) -> anyhow::Result<Vec<Cached>> {
    let mut models = Vec::new();
    for folder in entries(cache).await? {
        let name =
            folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("models--"));
        let Some(name) = name.map(|name| name.replace("--", "/")) else {
            continue;
        };
        let mut model = Cached {
            source: format!("hf:{name}"),
            bytes: 0,
            incomplete_bytes: 0,
            revisions: references(&folder.join("refs")).await?,
        };
        for blob in entries(&folder.join("blobs")).await? {
            // One that is renamed at this moment is counted next time.
            let size = fs::metadata(&blob).await.map_or(0, |metadata| metadata.len());
            if blob.extension().is_some_and(|extension| extension == "incomplete") {
                model.incomplete_bytes += size;
            } else {
                model.bytes += size;
            }
        }
        models.push(model);
    }
    models.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(models)
}

/// The references below a folder; names of branches may have slashes.
async fn references(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in entries(&next).await? {
            if fs::metadata(&path).await.is_ok_and(|metadata| metadata.is_dir()) {
                folders.push(path);
            } else if let (Ok(name), Ok(commit)) =
                (path.strip_prefix(folder), fs::read_to_string(&path).await)
            {
                found.insert(name.display().to_string(), commit.trim().to_owned());
            }
        }
    }
    Ok(found)
}

async fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        let told = format!("cannot read {}: {error}; check HF_HUB_CACHE", folder.display());
        anyhow::Error::new(error).context(told)
    };
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        paths.push(entry.path());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_cache_is_read_as_python_writes_it() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--owner--name");
        for (file, content) in [
            ("blobs/aaaa", "1234"),
            ("blobs/bbbb.incomplete", "12"),
            ("refs/main", "0123456789abcdef\n"),
            ("refs/refs/pr/1", "fedc"),
        ] {
            let path = repo.join(file);
            fs::create_dir_all(path.parent().unwrap()).await.unwrap();
            fs::write(path, content).await.unwrap();
        }
        fs::create_dir(cache.path().join("datasets--owner--data")).await.unwrap();
        let models = cached(cache.path()).await.unwrap();
        let revisions = [("main", "0123456789abcdef"), ("refs/pr/1", "fedc")];
        let revisions = revisions.map(|(name, commit)| (name.to_owned(), commit.to_owned()));
        let wanted = Cached {
            source: "hf:owner/name".to_owned(),
            bytes: 4,
            incomplete_bytes: 2,
            revisions: revisions.into(),
        };
        assert_eq!(models, [wanted]);
        assert_eq!(cached(&cache.path().join("none")).await.unwrap(), []);
    }
}
