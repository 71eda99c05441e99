use proptest::prelude::*;

use super::*;

fn cut_into(text: &str, most: usize) -> Vec<&str> {
    passages(text, most).into_iter().map(|span| &text[span.range()]).collect()
}

#[test]
fn a_heading_is_the_best_place_then_a_blank_line_a_line_a_sentence_a_word() {
    assert_eq!(cut_into("one two\n# B\nthree\n\nfour\n", 20), ["one two\n", "# B\nthree\n\nfour\n"]);
    assert_eq!(cut_into("one\ntwo\n\nthree\nfour", 16), ["one\ntwo\n\n", "three\nfour"]);
    assert_eq!(cut_into("one two\nthree four five", 16), ["one two\n", "three four five"]);
    assert_eq!(cut_into("One two. Three four", 16), ["One two. ", "Three four"]);
    assert_eq!(cut_into("one two three four", 16), ["one two three ", "four"]);
    assert_eq!(cut_into("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert!(passages("", 16).is_empty());
}

#[test]
fn lines_are_counted_as_editors_count_them() {
    let lines = |text| passages(text, 8).into_iter().map(|span| span.lines).collect::<Vec<_>>();
    assert_eq!(lines("a\nb"), [(1, 2)]);
    assert_eq!(lines("a\nb\n"), [(1, 2)], "the last break ends the second line and begins no third");
    assert_eq!(lines("aaa bbb\nccc ddd\n"), [(1, 1), (2, 2)]);
    assert_eq!(lines("aaaaaaaabbbb\ncc"), [(1, 1), (1, 2)], "a long line is in two passages");
}

/// Texts with what passages are cut at.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("# ".to_owned()),
        Just(". ".to_owned()),
        Just("  ".to_owned()),
        "[a-zé漢🦀]{1,12}",
    ];
    proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_byte_is_lost_and_no_passage_too_long(text in texts(), most in 4_usize..80) {
        let spans = passages(&text, most);
        let pieces: Vec<&str> = spans.iter().map(|span| &text[span.range()]).collect();
        prop_assert_eq!(pieces.concat(), text.as_str());
        for (span, piece) in spans.iter().zip(pieces) {
            prop_assert!(!piece.is_empty() && piece.len() <= most, "{piece:?}");
            let before = &text[..span.range().start];
            let first = 1 + before.matches('\n').count();
            let last = first + piece.strip_suffix('\n').unwrap_or(piece).matches('\n').count();
            prop_assert_eq!(span.lines, (first as u32, last as u32));
        }
    }
}
