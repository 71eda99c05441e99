//! A Node.js with the client that others use, in a folder of its own under `target/`.

use std::path::PathBuf;
use std::process::{Command as Blocking, Stdio};
use std::sync::OnceLock;

use tokio::process::Command;

use crate::binary::{isolate, target, workspace};
use crate::models::{missing, say};
use crate::python::succeed;

/// A command that runs one of `tests/node`, or nothing, said aloud, where there is no Node.js to run it.
pub(crate) fn node(script: &str) -> Option<Command> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(prepare) {
        Ok(folder) => {
            let mut command = Command::new("node");
            isolate(&mut command);
            command.arg(folder.join(script)).stdin(Stdio::null()).kill_on_drop(true);
            Some(command)
        }
        Err(why) => {
            missing(&format!("{script} cannot run: {why}"));
            None
        }
    }
}

/// A command that drives a browser, or nothing, said aloud, where there is none.
pub(crate) fn browser(script: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let there =
        std::env::split_paths(&path).any(|folder| names.iter().any(|name| folder.join(name).is_file()));
    if !there {
        missing(&format!("{script} cannot run: there is no Chromium on the PATH; install Debian's chromium"));
        return None;
    }
    node(script)
}

/// Writes the scripts there, and installs the packages where they are absent or were installed from other pins.
fn prepare() -> Result<PathBuf, String> {
    let folder = target().join("node-e2e");
    std::fs::create_dir_all(&folder).unwrap();
    // Modules are looked for beside the scripts.
    for entry in workspace().join("tests/node").read_dir().unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "mjs") {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let pins = std::fs::read_to_string(workspace().join("tests/node/package.json")).unwrap();
    let stamp = folder.join("installed-package.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(folder);
    }
    say(&format!("installing tests/node/package.json into {}", folder.display()));
    std::fs::write(folder.join("package.json"), &pins).unwrap();
    let npm =
        ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error"];
    succeed(Blocking::new("npm").args(npm).current_dir(&folder)).map_err(|error| {
        format!("{error}; install Node.js 20 or newer with npm; is a package registry reached?")
    })?;
    std::fs::write(&stamp, pins).unwrap();
    Ok(folder)
}
