//! The audit's face: its options, forms, order and exit status.

use std::path::Path;

use crate::{audit_json, fixtures, line_of, write, xtask};

fn audit(root: &Path, more: &[&str]) -> std::process::Output {
    xtask(&[&["audit", "--root", root.to_str().unwrap()], more].concat())
}

#[test]
fn exit_status_tells_errors_from_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(audit(folder.path(), &[]).status.code(), Some(0));
    write(folder.path(), &[("a.rs", "fn f() { std::thread::spawn(|| {}); }")]);
    assert_eq!(audit(folder.path(), &[]).status.code(), Some(1));
    for (root, more) in [
        (folder.path().join("nowhere"), &[][..]),
        (folder.path().join("a.rs"), &[]),
        (folder.path().to_path_buf(), &["--format", "xml"]),
        (folder.path().to_path_buf(), &["--no-such-option"]),
    ] {
        let output = audit(&root, more);
        assert_eq!(output.status.code(), Some(2), "{root:?} {more:?}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_warning_does_not_fail() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a.rs", "// audit: allow(detached-task) nothing here\n")]);
    let output = audit(folder.path(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.iter().map(line_of).collect::<Vec<_>>(), ["a.rs:1:1: warning excuse"]);
}

#[test]
fn json_has_the_fields_of_the_contract_in_order() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("b.rs", "fn é() { let é = std::thread::spawn(|| {}); }\n"),
            (
                "a/z.rs",
                "fn f() {\n\tstd::thread::spawn(|| {});\n    flume::bounded(1); std::thread::spawn(|| {});\n}\n",
            ),
        ],
    );
    let found = audit_json(folder.path(), &[]);
    assert_eq!(
        found.iter().map(line_of).collect::<Vec<_>>(),
        [
            "a/z.rs:2:2: error thread-spawn",
            "a/z.rs:3:5: error sync-channel",
            "a/z.rs:3:24: error thread-spawn",
            "b.rs:1:18: error thread-spawn",
        ]
    );
    let fields = ["rule", "file", "line", "column", "message", "help", "severity"];
    for finding in &found {
        assert_eq!(finding.as_object().unwrap().len(), fields.len());
        assert!(!finding["message"].as_str().unwrap().is_empty());
        assert!(!finding["help"].as_str().unwrap().is_empty());
    }
    let text = String::from_utf8(audit(folder.path(), &["--format", "json"]).stdout).unwrap();
    let places = fields.map(|field| text.find(&format!("\"{field}\":")).unwrap());
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn text_says_where_what_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a.rs", "fn f() { std::thread::spawn(|| {}); }")]);
    let text = String::from_utf8(audit(folder.path(), &[]).stdout).unwrap();
    assert!(text.starts_with("a.rs:1:10: error[thread-spawn]: "), "{text}");
    assert!(text.contains("help: "), "{text}");
}

#[test]
fn a_clean_tree_is_an_empty_array() {
    assert!(audit_json(&fixtures().join("audit/block-on/near-miss"), &[]).is_empty());
}

#[test]
fn a_workspace_that_cargo_refuses_is_audited_by_its_layout() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("Cargo.toml", "[package]\nname = \"p\"\nversion = \"not a version\"\n"),
            ("src/lib.rs", "mod inner;\npub use crossbeam::channel as chan;\n"),
            ("src/inner.rs", "fn f() { crate::chan::bounded::<u8>(1); }\n"),
        ],
    );
    let found: Vec<String> = audit_json(folder.path(), &[]).iter().map(line_of).collect();
    assert_eq!(
        found,
        ["src/inner.rs:1:10: error crossbeam-channel", "src/lib.rs:2:9: error crossbeam-channel"]
    );
}

#[test]
fn names_are_followed_through_the_crates_of_a_workspace() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"low\", \"high\"]\n"),
            ("low/Cargo.toml", "[package]\nname = \"low-level\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            ("low/src/lib.rs", "pub mod pipes;\n"),
            (
                "low/src/pipes.rs",
                "pub use tokio::sync::mpsc::unbounded_channel as endless;\npub use std::thread;\n",
            ),
            (
                "high/Cargo.toml",
                "[package]\nname = \"high\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [dependencies]\nlow = { package = \"low-level\", path = \"../low\" }\n",
            ),
            (
                "high/src/lib.rs",
                "use low::pipes::{endless, thread};\nfn f() {\n    endless::<u8>();\n    thread::spawn(|| {});\n}\n",
            ),
        ],
    );
    let found: Vec<String> = audit_json(folder.path(), &[]).iter().map(line_of).collect();
    assert_eq!(
        found,
        [
            "high/src/lib.rs:1:18: error unbounded-channel",
            "high/src/lib.rs:3:5: error unbounded-channel",
            "high/src/lib.rs:4:5: error thread-spawn",
            "low/src/pipes.rs:1:9: error unbounded-channel",
        ]
    );
}

#[test]
fn modules_are_followed_where_their_files_lie() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = "fn f() { super::t::spawn(|| {}); }\n";
    write(
        folder.path(),
        &[
            ("Cargo.toml", "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            (
                "src/lib.rs",
                "use std::thread as t;\nmod flat;\nmod nested;\n#[path = \"odd/place.rs\"]\nmod moved;\n\
                 mod inline { use std::thread as t; mod deep; }\n#[cfg(test)]\nmod probes;\n",
            ),
            ("src/flat.rs", spawn),
            ("src/nested/mod.rs", spawn),
            ("src/odd/place.rs", spawn),
            ("src/inline/deep.rs", spawn),
            ("src/probes.rs", "mod further;\nfn f() { std::thread::spawn(|| {}); }\n"),
            ("src/probes/further.rs", "fn f() { std::thread::spawn(|| {}); }\n"),
            // No `mod` names it: it is taken for a module of its folder's crate.
            ("src/orphan.rs", "fn f() { crate::t::spawn(|| {}); }\n"),
        ],
    );
    let found: Vec<String> = audit_json(folder.path(), &[]).iter().map(line_of).collect();
    let expected = ["flat.rs", "inline/deep.rs", "nested/mod.rs", "odd/place.rs", "orphan.rs"];
    assert_eq!(found, expected.map(|file| format!("src/{file}:1:10: error thread-spawn")));
}

#[test]
fn nesting_beyond_reason_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let deep = |before: &str, core: &str, after: &str| {
        format!("{}{core}{}", before.repeat(20_000), after.repeat(20_000))
    };
    write(
        folder.path(),
        &[
            ("generics.rs", &format!("fn f() -> {} {{}}", deep("Vec<", "flume::Sender<u8>", ">"))),
            ("not.rs", &format!("fn f() {{ let x = {}; }}", deep("!", "std::thread::spawn(f)", ""))),
            ("parentheses.rs", &format!("fn f() {{ {} }}", deep("(", "1", ")"))),
            ("references.rs", &format!("type T = {};", deep("&", "kanal::Sender<u8>", ""))),
        ],
    );
    let rules: Vec<String> = audit_json(folder.path(), &[])
        .iter()
        .map(|finding| format!("{} {}", finding["file"], finding["rule"]))
        .collect();
    assert_eq!(
        rules,
        [
            "\"generics.rs\" \"sync-channel\"",
            "\"not.rs\" \"thread-spawn\"",
            "\"parentheses.rs\" \"parse-error\"",
            "\"references.rs\" \"sync-channel\"",
        ]
    );
}
