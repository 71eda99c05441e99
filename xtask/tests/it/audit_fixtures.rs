//! Every rule fires where it must, to the column, and nowhere else.

use std::fs;

use crate::{audit_json, fixtures, line_of};

/// The rules of the report, and `excuse` for excuses that are not allowed.
const RULES: [&str; 14] = [
    "block-on",
    "blocking-channel-op",
    "crate-edge",
    "crossbeam-channel",
    "detached-task",
    "excuse",
    "foreign-select",
    "parse-error",
    "shared-runtime",
    "stray-compute",
    "sync-channel",
    "sync-worker",
    "thread-spawn",
    "unbounded-channel",
];

#[test]
fn every_rule_has_fixtures() {
    let folders = fs::read_dir(fixtures().join("audit")).unwrap().map(|entry| entry.unwrap());
    let mut folders: Vec<String> = folders
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, RULES);
}

#[test]
fn every_fixture_fires_where_it_says() {
    for rule in RULES {
        let root = fixtures().join("audit").join(rule).join("fires");
        let expected = fs::read_to_string(root.join("expected.txt")).unwrap();
        let found: Vec<String> = audit_json(&root, &[]).iter().map(line_of).collect();
        assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{rule}");
        assert!(found.iter().any(|line| line.ends_with(&format!("error {rule}"))), "{rule} never fires");
    }
}

#[test]
fn no_near_miss_fires() {
    for rule in RULES {
        let root = fixtures().join("audit").join(rule).join("near-miss");
        assert_eq!(audit_json(&root, &[]), Vec::<serde_json::Value>::new(), "{rule}");
    }
}

#[test]
fn tests_are_audited_on_request() {
    let root = fixtures().join("audit/crossbeam-channel/near-miss");
    let found: Vec<String> = audit_json(&root, &["--include-tests"]).iter().map(line_of).collect();
    for expected in [
        "only_tests.rs:2:5: error crossbeam-channel",
        "only_tests.rs:6:9: error crossbeam-channel",
        "only_tests.rs:11:5: error crossbeam-channel",
        "only_tests.rs:16:12: error crossbeam-channel",
        "only_tests.rs:21:5: error crossbeam-channel",
        "only_tests.rs:23:17: error crossbeam-channel",
        "package/src/probes.rs:1:5: error crossbeam-channel",
        "package/tests/it.rs:1:5: error crossbeam-channel",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} is not in {found:#?}");
    }
    let broken = fixtures().join("audit/parse-error/near-miss");
    let found: Vec<String> = audit_json(&broken, &["--include-tests"]).iter().map(line_of).collect();
    assert_eq!(found, ["tests/broken.rs:1:4: error parse-error"]);
}
