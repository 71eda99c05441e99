//! Where tests find models: tiny ones in the repository, trained ones under `target/models`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::binary::{target, workspace};

/// A tiny checkpoint of random weights.
pub(crate) fn checkpoint(name: &str) -> PathBuf {
    workspace().join("crates/text-embedding/tests/fixtures/checkpoints").join(name)
}

/// A trained model, if it has been fetched.
pub(crate) fn trained(name: &str) -> Option<PathBuf> {
    let folder = target().join("models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    missing(&format!("{} is not there; run cargo xtask models", folder.display()));
    None
}

/// Says that a test cannot run, aloud; where models are required, that is a failure.
pub(crate) fn missing(what: &str) {
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{what}");
    say(&format!("skipped: {what}"));
}

/// Says something on the real standard error; `eprintln!` would be kept by the test harness.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The files of a folder: their names within it and what is in them.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn add(folder: &Path, within: &str, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{within}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                add(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push((name, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    add(folder, "", &mut found);
    found.sort();
    found
}

/// Writes files into a folder.
pub(crate) fn write(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
