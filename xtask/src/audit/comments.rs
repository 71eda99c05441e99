//! The one thing the parser does not keep: line comments. A small scanner tells them from strings, characters,
//! lifetimes and block comments.

use super::finding::Position;

/// A `//` comment, doc comments excepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) position: Position,
    /// After the slashes.
    pub(crate) text: String,
    /// Nothing but blanks stands before it on its line.
    pub(crate) alone: bool,
}

/// All line comments of a file that are no doc comments.
pub(crate) fn line_comments(text: &str) -> Vec<Comment> {
    let mut comments = Vec::new();
    for token in Scanner::new(text) {
        let Token::LineComment(start, end) = token else {
            continue;
        };
        let body = &text[start + 2..end];
        if (body.starts_with('/') && !body.starts_with("//")) || body.starts_with('!') {
            continue;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        comments.push(Comment {
            position: Position::at(text, start),
            text: body.trim_end_matches('\r').to_owned(),
            alone: text[line_start..start].trim().is_empty(),
        });
    }
    comments
}

/// Where brackets are first nested deeper than this.
pub(crate) fn deeper_than(text: &str, limit: usize) -> Option<Position> {
    let mut depth = 0_usize;
    for token in Scanner::new(text) {
        match token {
            Token::Open(at) => {
                depth += 1;
                if depth > limit {
                    return Some(Position::at(text, at));
                }
            }
            Token::Close => depth = depth.saturating_sub(1),
            Token::LineComment(..) => {}
        }
    }
    None
}

enum Token {
    /// From its first slash to the end of the line.
    LineComment(usize, usize),
    Open(usize),
    Close,
}

/// Walks a text byte by byte; every byte it looks for is ASCII, so it never stops inside a character.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// At `r`: skips `r#"..."#` and the like, and says whether it was one.
    fn skip_raw_string(&mut self) -> bool {
        let mut hashes = 0;
        while self.peek(1 + hashes) == b'#' {
            hashes += 1;
        }
        if self.peek(1 + hashes) != b'"' {
            return false;
        }
        self.at += hashes + 2;
        while self.at < self.bytes.len() {
            if self.peek(0) == b'"' && (0..hashes).all(|hash| self.peek(1 + hash) == b'#') {
                self.at += hashes + 1;
                return true;
            }
            self.at += 1;
        }
        true
    }

    /// At `'`: skips a character literal whole, a lifetime's quote alone.
    fn skip_quote(&mut self) {
        if self.peek(1) == b'\\' {
            self.at += 3;
            while self.at < self.bytes.len() && self.peek(0) != b'\'' && self.peek(0) != b'\n' {
                self.at += 1;
            }
            self.at += 1;
            return;
        }
        // One character, of one to four bytes, and a closing quote.
        let width = match self.peek(1) {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        self.at += if self.peek(1 + width) == b'\'' { width + 2 } else { 1 };
    }
}

impl Iterator for Scanner<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let mut after_word = false;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            let was_after_word = after_word;
            after_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
            match byte {
                b'/' if self.peek(1) == b'/' => {
                    let start = self.at;
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                    return Some(Token::LineComment(start, self.at));
                }
                b'/' if self.peek(1) == b'*' => self.skip_block_comment(),
                b'"' => self.skip_string(),
                // `r"`, `br"` and `cr"`: the prefix letter is one character of a word.
                b'r' if (!was_after_word || self.is_string_prefix()) && self.skip_raw_string() => {
                    after_word = false
                }
                b'\'' => self.skip_quote(),
                b'(' | b'[' | b'{' => {
                    self.at += 1;
                    return Some(Token::Open(self.at - 1));
                }
                b')' | b']' | b'}' => {
                    self.at += 1;
                    return Some(Token::Close);
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

impl Scanner<'_> {
    /// At the `r` of `br` or `cr`.
    fn is_string_prefix(&self) -> bool {
        let before = |back: usize| {
            self.at.checked_sub(back).and_then(|at| self.bytes.get(at)).copied().unwrap_or(b' ')
        };
        let starts_word = !(before(2).is_ascii_alphanumeric() || before(2) == b'_' || before(2) >= 0x80);
        matches!(before(1), b'b' | b'c') && starts_word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, usize, String, bool)> {
        line_comments(text)
            .into_iter()
            .map(|comment| (comment.position.line, comment.position.column, comment.text, comment.alone))
            .collect()
    }

    #[test]
    fn comments_are_told_from_what_looks_like_them() {
        let text = concat!(
            "let a = \"// no\"; // one\n",
            "let b = r#\"\" // no\"#; let c = br\"// no\";\n",
            "/* // no /* // no */ // no */ // two\n",
            "/// doc\n//! doc\n//// three\n",
            "let d = '\"'; let e = '\\''; // four\n",
            "fn f<'a>(x: &'a str) {} // five\n",
            "let é = 'é'; // six\r\n",
            "   // seven",
        );
        let expected: Vec<(usize, usize, String, bool)> = [
            (1, 18, " one", false),
            (3, 31, " two", false),
            (6, 1, "// three", true),
            (7, 28, " four", false),
            (8, 25, " five", false),
            (9, 14, " six", false),
            (10, 4, " seven", true),
        ]
        .into_iter()
        .map(|(line, column, text, alone)| (line, column, text.to_owned(), alone))
        .collect();
        assert_eq!(found(text), expected);
    }

    #[test]
    fn unfinished_texts_end() {
        for text in ["\"", "'", "'\\", "r#\"", "/* /*", "//", "br##\"x\"#", "'\u{1f600}"] {
            let _ = found(text);
            let _ = deeper_than(text, 1);
        }
    }

    #[test]
    fn nesting_counts_brackets_of_code_only() {
        assert_eq!(deeper_than("((\"(((\"))", 2), None);
        assert_eq!(deeper_than("((\n(", 2), Some(Position { line: 2, column: 1 }));
    }
}
