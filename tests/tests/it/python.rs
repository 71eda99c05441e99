//! A Python with the clients that others use, in an environment of its own under `target/`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Output, Stdio};
use std::sync::OnceLock;

use tokio::process::Command;

use crate::binary::{isolate, target, workspace};
use crate::models::missing;

/// The scripts and what they import.
fn scripts() -> PathBuf {
    workspace().join("tests/python")
}

/// A command that runs one of `tests/python`, or nothing, said aloud, where there is no Python to run it.
pub(crate) fn python(script: &str) -> Option<Command> {
    static INTERPRETER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match INTERPRETER.get_or_init(prepare) {
        Ok(interpreter) => {
            let mut command = Command::new(interpreter);
            isolate(&mut command);
            command
                .arg(scripts().join(script))
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .stdin(Stdio::null())
                .kill_on_drop(true);
            Some(command)
        }
        Err(why) => {
            missing(&format!("{script} cannot run: {why}"));
            None
        }
    }
}

/// Makes the environment where it is absent or was made from other pins.
fn prepare() -> Result<PathBuf, String> {
    let folder = target().join("venv-e2e");
    let requirements = scripts().join("requirements.txt");
    let pins = std::fs::read_to_string(&requirements).unwrap();
    let interpreter = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let stamp = folder.join("installed-requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(interpreter);
    }
    let _ = writeln!(std::io::stderr(), "installing {} into {}", requirements.display(), folder.display());
    let why =
        "install Python 3.10 or newer with venv and pip (Debian: apt-get install python3-venv python3-pip)";
    succeed(Blocking::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .map_err(|error| format!("{error}; {why}"))?;
    succeed(
        Blocking::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )
    .map_err(|error| format!("{error}; is a package index reached?"))?;
    std::fs::write(&stamp, pins).unwrap();
    Ok(interpreter)
}

/// Runs a command; the error is the last word of one that fails.
pub(crate) fn succeed(command: &mut Blocking) -> Result<(), String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output: Output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!("{program} ended with {}: {}", output.status, last.unwrap_or("it gave no reason")))
}
