//! How a failure is told: one line that says what, why and what to do, and the exit status.
//!
//! Owns the wording's frame, never the words: those are the errors' own.

use std::fmt;
use std::io::{self, Write as _};

/// The exit status of a command that failed.
pub(crate) const FAILED: i32 = 1;
/// The exit status of a command line that makes no sense.
pub(crate) const WRONG_USAGE: i32 = 2;

/// A command line that cannot be obeyed.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Whoever reads standard output has gone: nothing is left to do, and nobody left to tell.
#[derive(Debug)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for OutputClosed {}

/// Items failed and were reported one by one; the rest is done.
#[derive(Debug)]
pub(crate) struct ItemsFailed {
    pub(crate) failed: u64,
    pub(crate) of: u64,
}

impl fmt::Display for ItemsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} items failed; each is reported in its place in the output", self.failed, self.of)
    }
}

impl std::error::Error for ItemsFailed {}

/// Tells of a failure and gives the exit status that goes with it.
pub(crate) fn report(error: &anyhow::Error, verbose: bool) -> i32 {
    if error.is::<OutputClosed>() {
        return 0;
    }
    tell(&format!("error: {}", one_line(error)));
    if verbose {
        for cause in error.chain().skip(1) {
            tell(&format!("  caused by: {}", one_line(cause)));
        }
    }
    if error.is::<Usage>() { WRONG_USAGE } else { FAILED }
}

/// Writes a line to standard error. If that is closed too, there is nobody to tell.
pub(crate) fn tell(line: &str) {
    let mut line = line.to_owned();
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A message as one line without control characters, whatever went into it.
pub(crate) fn one_line(message: impl fmt::Display) -> String {
    let message = message.to_string();
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_went_into_it() {
        assert_eq!(one_line("a\n  b\tc\u{1b}[31m"), "a b c\u{fffd}[31m");
    }

    #[test]
    fn the_exit_status_follows_the_kind_of_failure() {
        assert_eq!(report(&anyhow::Error::new(Usage::new("no")), false), WRONG_USAGE);
        assert_eq!(report(&anyhow::Error::new(OutputClosed), true), 0);
        assert_eq!(report(&anyhow::Error::new(Usage::new("no")).context("outer"), false), WRONG_USAGE);
        assert_eq!(report(&anyhow::anyhow!("no"), true), FAILED);
    }
}
