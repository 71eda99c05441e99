//! Where tests find trained models.

use std::io::Write as _;
use std::path::PathBuf;

/// The folder of a model fetched by `cargo xtask models`, or nothing, said aloud, where it is absent.
pub(crate) fn model(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CANDLEPOOL_REQUIRE_MODELS").is_none_or(|value| value != "1"),
        "{name} is required and absent; run cargo xtask models"
    );
    // Not eprintln!, which the test harness would capture.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is absent; run cargo xtask models");
    None
}
