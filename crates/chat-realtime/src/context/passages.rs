//! Where a text is cut into passages. Pure: every byte of the text is in exactly one of them.

use std::ops::Range;

#[cfg(test)]
mod tests;

/// A part of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// The first byte, and the one after the last.
    pub(super) bytes: (u32, u32),
    /// The first and the last line, counted from 1.
    pub(super) lines: (u32, u32),
}

impl Span {
    pub(super) fn range(self) -> Range<usize> {
        self.bytes.0 as usize..self.bytes.1 as usize
    }
}

/// Cuts a text into passages of at most `most` bytes (at least 4, the longest character), best where a heading begins, else
/// after a blank line, else after a line, a sentence, a word.
pub(super) fn passages(text: &str, most: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut start, mut line) = (0, 1);
    while start < text.len() {
        let length = cut(&text[start..], most.max(4));
        let passage = &text[start..start + length];
        let breaks = count_breaks(passage);
        let last = line + breaks - u32::from(passage.ends_with('\n'));
        spans.push(Span { bytes: (offset(start), offset(start + length)), lines: (line, last) });
        start += length;
        line += breaks;
    }
    spans
}

/// How long the passage is that this text begins with; never 0.
fn cut(text: &str, most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let end = text.floor_char_boundary(most);
    // A passage that is cut much shorter than it might be says little.
    let places = text[..end].char_indices().map(|(at, _)| at).filter(|&at| at > end / 3).chain([end]);
    let best = places.map(|at| (place(&text[..at], &text[at..]), at)).max();
    best.map_or(end, |(place, at)| if place == Place::Nowhere { end } else { at })
}

/// How good a place for a cut is; more is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Nowhere,
    Word,
    Sentence,
    Line,
    Blank,
    Heading,
}

fn place(before: &str, after: &str) -> Place {
    if let Some(line) = before.strip_suffix('\n') {
        let blank = line.trim_end_matches([' ', '\t', '\r']);
        return if is_heading(after) {
            Place::Heading
        } else if blank.is_empty() || blank.ends_with('\n') {
            Place::Blank
        } else {
            Place::Line
        };
    }
    if !before.ends_with(char::is_whitespace) || after.starts_with(char::is_whitespace) {
        return Place::Nowhere;
    }
    if before.trim_end().ends_with(['.', '!', '?', ';']) { Place::Sentence } else { Place::Word }
}

/// Whether a text begins with a heading as Markdown has them.
fn is_heading(text: &str) -> bool {
    let rest = text.trim_start_matches('#');
    (1..=6).contains(&(text.len() - rest.len())) && rest.starts_with(' ')
}

fn count_breaks(text: &str) -> u32 {
    offset(text.bytes().filter(|&byte| byte == b'\n').count())
}

/// Files are no longer than a `u32` counts: their limit is one.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
