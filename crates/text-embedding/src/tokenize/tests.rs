//! What is read of a text against what the tokenizer gives for the whole of it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use tokenizers::{
    Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, Tokenizer,
    TruncationDirection, TruncationParams,
};

use super::characters::{Characters, Class};
use super::cuts::Cuts;
use super::{Limits, Side, TextTokenizer, TokenIds};
use crate::call::Truncation;

thread_local! {
    /// How many bytes were handed to a tokenizer on this thread: what work a text makes, on however busy a machine.
    pub(super) static BYTES_READ: Cell<usize> = const { Cell::new(0) };
}

/// Of a text of which 256 tokens are kept.
const MOST_READ: usize = 16 << 10;

fn fixture(name: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints");
    Tokenizer::from_file(folder.join(name).join("tokenizer.json")).expect("the fixture is a tokenizer")
}

/// The tokenizer of MiniLM with its whole vocabulary where it is there, else a tiny one of the same kind.
fn uncased() -> Tokenizer {
    static UNCASED: LazyLock<Tokenizer> = LazyLock::new(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        let file = target.join("models/all-MiniLM-L6-v2/tokenizer.json");
        Tokenizer::from_file(file).unwrap_or_else(|_| fixture("legacy"))
    });
    UNCASED.clone()
}

/// As many cases as `PROPTEST_CASES` says, or else fewer than usual: each case is many texts.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(96), ..ProptestConfig::default() }
}

/// A tokenizer as XLM-RoBERTa's: words by spaces, then pieces of words.
fn words() -> Tokenizer {
    let json = r#"{
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 4, "content": "<mask>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": true}
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {
                "<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": [
            ["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["<mask>", 0.0],
            ["▁", -2.0], ["▁a", -3.0], ["a", -3.1], ["b", -3.2], ["ab", -3.3], ["▁the", -3.4], ["c", -4.0], ["é", -4.5], ["中", -5.0]]}
    }"#;
    json.parse().expect("a tokenizer")
}

fn limited(tokenizer: Tokenizer, tokens: usize) -> TextTokenizer {
    let limits = Limits {
        tokens: Some(tokens),
        special: true,
        types: true,
        vocabulary: 1 << 20,
        side: Side::Right,
        ..Limits::default()
    };
    TextTokenizer::new(tokenizer, limits, None).expect("a tokenizer")
}

/// What the tokenizers library gives for the whole, truncated by itself.
fn reference(
    tokenizer: &Tokenizer,
    input: impl Into<tokenizers::EncodeInput<'static>>,
    tokens: usize,
    left: bool,
) -> (Vec<u32>, Vec<u32>) {
    let mut tokenizer = tokenizer.clone();
    let direction = if left { TruncationDirection::Left } else { TruncationDirection::Right };
    let truncation = TruncationParams { max_length: tokens, direction, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).expect("a truncation").with_padding(None);
    let encoding = tokenizer.encode(input.into(), true).expect("the text is tokenised");
    (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec())
}

fn check(tokenizer: &Tokenizer, text: &str, tokens: usize) {
    let own = limited(tokenizer.clone(), tokens);
    for (truncation, left) in [(Truncation::Right, false), (Truncation::Left, true)] {
        let got = own.text(None, text, truncation, false).expect("the text is tokenised");
        let wanted = reference(tokenizer, text.to_owned(), tokens, left);
        assert_eq!(
            (got.ids, got.types),
            wanted,
            "{truncation:?} to {tokens}: {:?}",
            text.chars().take(200).collect::<String>()
        );
    }
    let (whole, _) = reference(tokenizer, text.to_owned(), usize::MAX >> 1, false);
    let refused = own.text(None, text, Truncation::Refuse, false).is_err();
    assert_eq!(refused, whole.len() > tokens, "{text:?}");
}

/// Pieces that meet whatever a tokenizer may do across a cut.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c ]{0,12}",
        "\\PC{0,8}",
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "[CLS]",
            "[SEP",
            "[MASK]",
            "<mask>",
            "<s>",
            " the ",
            "\u{301}",
            "\u{338}",
            "=\u{338}",
            "中文",
            "中\u{301}",
            "e\u{301}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{200b}",
            "\u{200d}",
            "\r\n",
            "\t",
            "\0",
            "\u{fffd}",
            "\u{600} ",
            "İ",
            "ß",
            "ﬁ",
            "；",
            "...",
            "\u{37e}",
            "👩‍👩‍👧",
            "\u{3000}",
            "-",
            "##a",
            "\u{1d165}",
            "\u{1100}\u{1161}",
        ])
        .prop_map(str::to_owned),
        (
            prop::sample::select(vec![
                'a', 'Z', ' ', '7', '.', '中', '\u{301}', '\0', 'é', 'я', 'が', '한', 'ก', 'Ω', 'ش',
                '\u{a0}', '\t', '\u{7f}', '\u{fffd}', '👩', '\u{200b}', '\u{fe0f}', '—', '。', '\u{e000}'
            ]),
            90_usize..260
        )
            .prop_map(|(c, count)| c.to_string().repeat(count)),
        (
            prop::sample::select(vec![
                "👩\u{200d}",
                "❤\u{fe0f}",
                "a\u{301}",
                "🦊\0",
                "é\u{338}",
                "\u{200d}\u{fe0f}",
                " \0",
                "\u{301} \t",
            ]),
            60_usize..260
        )
            .prop_map(|(unit, count)| unit.repeat(count)),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn parts_give_the_tokens_of_the_whole(pieces in prop::collection::vec(piece(), 0..40), repeats in 1_usize..60, tokens in 4_usize..300) {
        let text = pieces.concat().repeat(repeats);
        check(&uncased(), &text, tokens);
        check(&fixture("cased"), &text, tokens);
        check(&fixture("lower-case"), &text, tokens);
        check(&words(), &text, tokens);
        check(&fixture("xlm-roberta-legacy"), &text, tokens);
    }

    #[test]
    fn pairs_are_truncated_as_the_library_does(
        query in prop::collection::vec(piece(), 0..20), document in prop::collection::vec(piece(), 0..60),
        swap: bool, repeats in 1_usize..40, tokens in 5_usize..90,
    ) {
        let (mut query, mut document) = (query.concat(), document.concat().repeat(repeats));
        if swap {
            std::mem::swap(&mut query, &mut document);
        }
        for tokenizer in [uncased(), words(), fixture("xlm-roberta-legacy")] {
            let own = limited(tokenizer.clone(), tokens);
            for (truncation, left) in [(Truncation::Right, false), (Truncation::Left, true)] {
                let got = own.pair(&query, &document, truncation).expect("the pair is tokenised");
                let wanted = reference(&tokenizer, (query.clone(), document.clone()), tokens, left);
                prop_assert_eq!((got.ids, got.types), wanted, "{:?}", truncation);
            }
        }
    }

    /// With parts of a few bytes every possible cut is made.
    #[test]
    fn every_cut_is_allowed(pieces in prop::collection::vec(piece(), 0..12), bytes in 1_usize..20) {
        let text = pieces.concat();
        for tokenizer in [uncased(), fixture("cased"), fixture("lower-case"), words(), fixture("xlm-roberta-legacy")] {
            let cuts = Cuts::of(&tokenizer);
            prop_assert!(!matches!(cuts, Cuts::Never));
            let mut tokenizer = tokenizer;
            tokenizer.with_truncation(None).expect("no truncation").with_padding(None);
            let encode = |text: &str| tokenizer.encode_fast(text, false).expect("tokenised").get_ids().to_vec();
            let whole = encode(&text);
            let (mut forth, mut start) = (Vec::new(), 0);
            while start < text.len() {
                let end = cuts.end(&text, start, bytes);
                forth.extend(encode(&cuts.squeeze(&text[start..end])));
                start = end;
            }
            let (mut back, mut end) = (Vec::new(), text.len());
            while end > 0 {
                let start = cuts.start(&text, end, bytes);
                back.push(encode(&cuts.squeeze(&text[start..end])));
                end = start;
            }
            back.reverse();
            prop_assert_eq!(&forth, &whole);
            prop_assert_eq!(back.concat(), whole);
        }
    }
}

/// A character was met between two letters; what it is holds among marks, Chinese characters and spaces too.
#[test]
fn a_character_is_the_same_wherever_it_stands() {
    // Of the plains of Chinese, Hangul and private use, and of what is rare, only the edges.
    let ranges = [
        '\0'..='\u{33ff}',
        '\u{4db0}'..='\u{4e10}',
        '\u{9ff0}'..='\u{ac10}',
        '\u{d790}'..='\u{e010}',
        '\u{f8f0}'..='\u{11fff}',
        '\u{1d000}'..='\u{1dfff}',
        '\u{1f000}'..='\u{1faff}',
    ];
    for tokenizer in [uncased(), fixture("cased")] {
        let normalizer = tokenizer.get_normalizer().expect("a normalizer");
        let pre_tokenizer = tokenizer.get_pre_tokenizer().expect("a pre-tokenizer");
        let words = |text: &str| -> Vec<String> {
            let mut words = PreTokenizedString::from(text);
            words.normalize(|text| normalizer.normalize(text)).expect("normalised");
            pre_tokenizer.pre_tokenize(&mut words).expect("split");
            let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
            words.into_iter().map(|(word, _, _)| word.to_owned()).collect()
        };
        let characters = Characters::new(normalizer.clone(), pre_tokenizer.clone(), [false; 128]);
        let letters = |words: &[String]| words.iter().flat_map(|word| word.chars()).count();
        for (before, after) in [("a\u{301}", "\u{338}b"), ("中\u{1d165}", "\u{302e}\u{327}é"), (" ", ".")] {
            let others = letters(&words(before)) + letters(&words(after));
            for c in ranges.clone().into_iter().flatten() {
                let class = characters.class(c);
                let whole = words(&format!("{before}{c}{after}"));
                match class {
                    Class::Space | Class::Break => {
                        let parts = [words(before), words(&format!("{c}{after}"))].concat();
                        assert_eq!(parts, whole, "{c:?} is {class:?}");
                    }
                    Class::Void => assert_eq!(words(&[before, after].concat()), whole, "{c:?} is {class:?}"),
                    Class::Letter => {
                        assert!(letters(&whole) > others, "{c:?} is {class:?}");
                        let twice = words(&format!("{before}{c}{c}{after}"));
                        assert_eq!(twice.len(), whole.len(), "{c:?} is {class:?}");
                    }
                    Class::Other => {}
                }
            }
        }
    }
}

#[test]
fn an_unknown_pipeline_is_never_cut() {
    let mut tokenizer = words();
    tokenizer.with_normalizer(Some(tokenizers::normalizers::Strip::new(true, true))).expect("a normalizer");
    assert!(matches!(Cuts::of(&tokenizer), Cuts::Never));
    assert_eq!(Cuts::Never.end("a b c", 0, 1), 5);
    assert_eq!(Cuts::Never.start("a b c", 5, 1), 0);
}

/// Where the text ends or what it holds, a megabyte of it costs no more than a few parts.
#[test]
fn of_a_long_text_only_what_is_needed_is_read() {
    let tokenizer = limited(uncased(), 256);
    let read = |work: &dyn Fn() -> TokenIds| {
        BYTES_READ.set(0);
        let tokens = work().ids.len();
        (tokens, BYTES_READ.get())
    };
    for unit in [
        "the cat sat on the mat. ",
        "a",
        " ",
        " \0",
        "中文字",
        ".",
        "deadbeef,",
        "\u{e9}\u{e9} ",
        "😀",
        "👩‍👩‍👧",
        "❤️",
        "👍🏽🦊",
        "🦊\u{301}",
        "\u{200d}",
        "\u{200d}\u{fe0f}",
        "—",
        "。",
        "…😀",
    ] {
        let text = unit.repeat((1 << 20) / unit.len());
        for truncation in [Truncation::Right, Truncation::Left] {
            let alone = || tokenizer.text(None, &text, truncation, false).expect("the text is tokenised");
            let (tokens, bytes) = read(&alone);
            assert!(
                tokens <= 256 && (1..=MOST_READ).contains(&bytes),
                "{unit:?}: {bytes} for {tokens} tokens"
            );
            let paired = || tokenizer.pair(&text, &text, truncation).expect("the pair is tokenised");
            let (tokens, bytes) = read(&paired);
            assert!(
                tokens <= 256 && (1..=4 * MOST_READ).contains(&bytes),
                "{unit:?}: {bytes} for {tokens} tokens"
            );
        }
    }
}

#[test]
fn no_room_for_text_is_told() {
    let limits = Limits { tokens: Some(2), special: true, vocabulary: 10, ..Limits::default() };
    let error = TextTokenizer::new(fixture("legacy"), limits, None).unwrap_err();
    assert_eq!(error, "2 tokens are no room for text beside the 2 special ones");
}
