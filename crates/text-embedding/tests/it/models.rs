//! Where tests find models: tiny ones in the repository, trained ones under `target/models`.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder among the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A tiny checkpoint.
pub(crate) fn checkpoint(name: &str) -> PathBuf {
    fixture("checkpoints").join(name)
}

/// A trained model, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
pub(crate) fn trained(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} is not there; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not there; run cargo xtask models");
    None
}

/// A copy of a checkpoint that a test may damage.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&checkpoint(name), folder.path());
    folder
}
