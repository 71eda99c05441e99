//! Excuses and their pinned numbers, on a workspace that looks like this one.

use std::path::Path;

use crate::{audit_json, line_of, write};

fn workspace(root: &Path, pins: Option<&str>) {
    let package =
        |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    write(
        root,
        &[
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n"),
            ("crates/pool-core/Cargo.toml", &package("pool-core")),
            ("crates/candlepool/Cargo.toml", &package("candlepool")),
            ("crates/candlepool/src/main.rs", "fn main() {}\n"),
            (
                "crates/pool-core/src/lib.rs",
                "fn f() {\n    // audit: allow(detached-task) ends with the process\n    tokio::spawn(async {});\n    \
                 tokio::task::spawn_blocking(|| {}); // audit: allow(stray-compute) before the lanes exist\n}\n",
            ),
        ],
    );
    if let Some(pins) = pins {
        write(root, &[("xtask/audit-excuses.toml", pins)]);
    }
}

fn found(pins: Option<&str>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    workspace(folder.path(), pins);
    audit_json(folder.path(), &[]).iter().map(line_of).collect()
}

#[test]
fn pinned_excuses_pass() {
    assert_eq!(found(Some("detached-task = 1\nstray-compute = 1\n")), Vec::<String>::new());
    assert_eq!(found(Some("detached-task = 9\nstray-compute = 1\n")), Vec::<String>::new());
}

#[test]
fn more_excuses_than_pinned_fail() {
    assert_eq!(found(Some("detached-task = 1\n")), ["crates/pool-core/src/lib.rs:4:41: error excuse"]);
    assert_eq!(
        found(None),
        ["crates/pool-core/src/lib.rs:2:5: error excuse", "crates/pool-core/src/lib.rs:4:41: error excuse"]
    );
}

#[test]
fn pins_that_make_no_sense_fail() {
    assert_eq!(
        found(Some("detached-task = 1\nstray-compute = \"one\"\n")),
        ["xtask/audit-excuses.toml:2:17: error parse-error"]
    );
    assert_eq!(
        found(Some("block-on = 1\ndetached-task = 1\nstray-compute = 1\n")),
        ["xtask/audit-excuses.toml:1:1: error excuse"]
    );
}
