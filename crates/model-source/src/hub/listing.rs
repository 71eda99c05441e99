//! What a commit of a repository holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::source::is_relative_path;

/// The files of one commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, Entry>,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) size: Option<u64>,
    /// The blob's name in the cache: the SHA-256 of a large file, git's hash of a small one.
    pub(super) etag: Option<String>,
}

impl Listing {
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Whether size and blob are known.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|entry| entry.size.is_some() && entry.etag.is_some())
    }

    /// The size, or zero where it is not known.
    pub(super) fn size(&self, name: &str) -> u64 {
        self.files.get(name).and_then(|entry| entry.size).unwrap_or(0)
    }
}

/// The hub's answer on `/api/models/REPO/revision/REVISION?blobs=true`.
#[derive(Deserialize)]
pub(super) struct RepoInfo {
    pub(super) sha: Option<String>,
    #[serde(default)]
    pub(super) siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

impl RepoInfo {
    /// The listing, without names that no file of a model has.
    pub(super) fn into_files(self) -> BTreeMap<String, Entry> {
        self.siblings
            .into_iter()
            .filter(|sibling| is_relative_path(&sibling.rfilename))
            .map(|sibling| {
                let entry = match sibling.lfs {
                    Some(lfs) => Entry { size: lfs.size.or(sibling.size), etag: lfs.sha256.or(lfs.oid) },
                    None => Entry { size: sibling.size, etag: sibling.blob_id },
                };
                let entry = Entry { etag: entry.etag.filter(|etag| is_file_name(etag)), ..entry };
                (sibling.rfilename, entry)
            })
            .collect()
    }
}

/// One entry of the hub's answer on `/api/models/REPO/tree/COMMIT?recursive=true`.
#[derive(Deserialize)]
pub(super) struct TreeItem {
    path: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    size: Option<u64>,
    oid: Option<String>,
    lfs: Option<Lfs>,
}

/// The files of a tree, without folders and names that no file of a model has.
pub(super) fn into_files(tree: Vec<TreeItem>) -> BTreeMap<String, Entry> {
    let siblings = tree
        .into_iter()
        .filter(|item| item.kind.as_deref() != Some("directory"))
        .map(|item| Sibling { rfilename: item.path, size: item.size, blob_id: item.oid, lfs: item.lfs });
    RepoInfo { sha: None, siblings: siblings.collect() }.into_files()
}

/// The listing that Python keeps as `trees/COMMIT.json`.
#[derive(Deserialize)]
pub(super) struct Tree {
    format_version: u32,
    files: BTreeMap<String, TreeEntry>,
}

#[derive(Deserialize)]
struct TreeEntry {
    size: Option<u64>,
    blob_id: Option<String>,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
}

impl Tree {
    /// The listing, if it is of the known version.
    pub(super) fn into_listing(self, commit: &str) -> Option<Listing> {
        let entry = |entry: TreeEntry| Entry {
            size: entry.lfs_size.or(entry.size),
            etag: entry.lfs_sha256.or(entry.blob_id).filter(|etag| is_file_name(etag)),
        };
        let files = self.files.into_iter().filter(|(name, _)| is_relative_path(name));
        (self.format_version == 1).then(|| Listing {
            commit: commit.to_owned(),
            files: files.map(|(n, e)| (n, entry(e))).collect(),
        })
    }
}

/// Whether an entity tag or a commit can name a file of the cache.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=128).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

/// Whether this is a commit's full hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_named_by_sha256_for_large_files_and_by_git_for_small_ones() {
        let info: RepoInfo = serde_json::from_str(
            r#"{"sha":"x","siblings":[
                {"rfilename":"config.json","size":12,"blobId":"aaaa1111"},
                {"rfilename":"model.safetensors","size":9,"blobId":"bbbb","lfs":{"sha256":"cccc2222","size":99,"pointerSize":1}},
                {"rfilename":"bare.json"},
                {"rfilename":"../../escape"}]}"#,
        )
        .unwrap();
        let files = info.into_files();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["bare.json", "config.json", "model.safetensors"]);
        let large = &files["model.safetensors"];
        assert_eq!((large.size, large.etag.as_deref()), (Some(99), Some("cccc2222")));
        assert_eq!(files["config.json"].etag.as_deref(), Some("aaaa1111"));
        assert_eq!(files["bare.json"].size, None);
    }

    #[test]
    fn a_tag_that_leads_elsewhere_names_no_blob() {
        for etag in ["../../x", "a/b/c", "", "..", ".hidden", "a\0bc", "a b"] {
            assert!(!is_file_name(etag), "{etag:?}");
        }
        assert!(is_file_name("5f0a8e9b-2c"));
    }
}
