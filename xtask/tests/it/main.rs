//! The tasks as their users run them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on must fail, and a panic says where"
)]

mod audit;
mod audit_excuses;
mod audit_fixtures;
mod audit_sarif;
mod ci;
mod models;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The task runner, as `cargo xtask` starts it.
fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("the task runner starts")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The audit's JSON report on a folder.
fn audit_json(root: &Path, more: &[&str]) -> Vec<serde_json::Value> {
    let root = root.to_str().expect("the path is UTF-8");
    let output = xtask(&[&["audit", "--root", root, "--format", "json"], more].concat());
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|error| panic!("{root}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// `file:line:column: severity rule`.
fn line_of(finding: &serde_json::Value) -> String {
    let text =
        |name: &str| finding[name].as_str().unwrap_or_else(|| panic!("no {name} in {finding}")).to_owned();
    let number = |name: &str| finding[name].as_u64().unwrap_or_else(|| panic!("no {name} in {finding}"));
    format!("{}:{}:{}: {} {}", text("file"), number("line"), number("column"), text("severity"), text("rule"))
}

/// Writes files into a folder, their own folders included.
fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    }
}
