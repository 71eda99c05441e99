//! How a failure is told: one line that says what, why and what to do, and the exit status.
//!
//! Owns the wording's frame, never the words: those are the errors' own.

use std::borrow::Cow;
use std::fmt;

use crate::stderr::tell;

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
pub(crate) async fn report(error: &anyhow::Error, verbose: bool) -> i32 {
    if error.is::<OutputClosed>() {
        return 0;
    }
    tell(&format!("error: {}", told(error))).await;
    if verbose {
        for cause in error.chain().skip(1) {
            tell(&format!("  caused by: {}", told(cause))).await;
        }
    }
    if error.is::<Usage>() { WRONG_USAGE } else { FAILED }
}

/// A message as it is told: one line, and no longer than a reader can take in, however long what it quotes.
pub(crate) fn told(message: impl fmt::Display) -> String {
    one_line(shortened(&message.to_string(), LONGEST_MESSAGE))
}

/// A message that quotes nothing long has fewer characters.
pub(crate) const LONGEST_MESSAGE: usize = 600;

/// A text with at most about so many characters: of a longer one the beginning and the end, since a message says first
/// what is wrong, and last what was expected. Reads no more of it than it keeps.
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    // No character is longer than four bytes, so a text this short need not be counted.
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let half = most / 2;
    let head = text.char_indices().nth(half).map_or(text.len(), |(at, _)| at);
    let tail = text.char_indices().rev().nth(half).map_or(0, |(at, _)| at);
    if tail <= head {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}...({} bytes left out)...{}", &text[..head], tail - head, &text[tail..]))
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
    fn a_long_message_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("ä".repeat(6).as_str(), 6), "ä".repeat(6));
        let long = format!("invalid type: string \"{}\", expected a list", "中".repeat(1 << 20));
        let cut = shortened(&long, 200);
        assert!(
            cut.starts_with("invalid type: string \"中") && cut.ends_with("中\", expected a list"),
            "{cut}"
        );
        assert!(cut.contains("bytes left out") && cut.chars().count() < 250, "{cut}");
    }

    #[tokio::test]
    async fn the_exit_status_follows_the_kind_of_failure() {
        assert_eq!(report(&anyhow::Error::new(Usage::new("no")), false).await, WRONG_USAGE);
        assert_eq!(report(&anyhow::Error::new(OutputClosed), true).await, 0);
        assert_eq!(report(&anyhow::Error::new(Usage::new("no")).context("outer"), false).await, WRONG_USAGE);
        assert_eq!(report(&anyhow::anyhow!("no"), true).await, FAILED);
    }
}
