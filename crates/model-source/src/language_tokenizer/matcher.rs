//! Finding tokens that are spelled out in a text.

use aho_corasick::{AhoCorasick, MatchKind};

/// Finds the leftmost of a set of spellings, of those that begin there the longest.
pub(super) struct Matcher {
    /// None if there is nothing to find.
    spellings: Option<AhoCorasick>,
    /// The token of each.
    ids: Vec<u32>,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A spelling that was found: its token.
    Token(u32),
    /// What lies between them, never empty.
    Text(&'a str),
}

impl Matcher {
    /// A matcher of these spellings, or why it cannot be made. Empty spellings are never found.
    pub(super) fn new<S: AsRef<str>>(tokens: impl IntoIterator<Item = (u32, S)>) -> Result<Self, String> {
        let tokens = tokens.into_iter().filter(|(_, spelling)| !spelling.as_ref().is_empty());
        let (ids, spellings): (Vec<u32>, Vec<S>) = tokens.unzip();
        if ids.is_empty() {
            return Ok(Self { spellings: None, ids });
        }
        let spellings = spellings.iter().map(|spelling| spelling.as_ref());
        let matcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(spellings);
        let matcher =
            matcher.map_err(|error| format!("has special tokens that cannot be searched for: {error}"))?;
        Ok(Self { spellings: Some(matcher), ids })
    }

    /// The parts of a text, from left to right.
    pub(super) fn parts<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut end = 0;
        for found in self.spellings.iter().flat_map(|spellings| spellings.find_iter(text)) {
            if end < found.start() {
                parts.push(Part::Text(&text[end..found.start()]));
            }
            parts.push(Part::Token(self.ids[found.pattern().as_usize()]));
            end = found.end();
        }
        if end < text.len() {
            parts.push(Part::Text(&text[end..]));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leftmost_and_longest_spelling_is_found() {
        let matcher = Matcher::new([(1, "<a>"), (2, "<a><b>"), (3, ""), (4, "\n"), (5, "\n\n")]).unwrap();
        assert_eq!(
            matcher.parts("x<a><a><b>é\n\n\ny<a"),
            [
                Part::Text("x"),
                Part::Token(1),
                Part::Token(2),
                Part::Text("é"),
                Part::Token(5),
                Part::Token(4),
                Part::Text("y<a"),
            ]
        );
        assert!(matcher.parts("").is_empty());
        let nothing = Matcher::new::<&str>([]).unwrap();
        assert_eq!(nothing.parts("text"), [Part::Text("text")]);
    }
}
