//! The steps of `cargo xtask ci`, without running them.

use crate::xtask;

#[test]
fn the_steps_are_listed_in_their_order() {
    let output = xtask(&["ci", "--list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["fmt", "clippy", "audit", "doc", "models", "test", "explore"]);
    assert!(text.contains("CANDLEPOOL_REQUIRE_MODELS=1 cargo test --workspace\n"), "{text}");
    assert!(text.contains("RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps\n"), "{text}");
}

#[test]
fn steps_can_be_chosen() {
    let output = xtask(&["ci", "--list", "--only", "doc", "--only", "fmt"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("fmt"));
    assert_eq!(xtask(&["ci", "--only", "no-such-step"]).status.code(), Some(2));
}
