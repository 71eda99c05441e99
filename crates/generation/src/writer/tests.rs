use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pool_core::ModelError;
use serde_json::json;

use super::Writer;
use crate::grammar::{Grammar, Grammars};
use crate::item::Item;
use crate::job::GenerationJob;
use crate::tools::{Tool, ToolFormat, ToolUse, Tools};
use crate::vocabulary::Vocabulary;

const END: u32 = 256;
const MARK: u32 = 257;
/// A mark and the beginning of what is no call, in one.
const MARKED: u32 = 258;
const SIZE: usize = 259;

/// All bytes, an end, and marks. Counts how often a text is encoded.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Vocabulary for Counting {
    fn len(&self) -> usize {
        SIZE
    }

    fn token_bytes(&self, token: u32) -> Option<Cow<'_, [u8]>> {
        Some(match token {
            0..256 => Cow::Owned(vec![token as u8]),
            END => Cow::Borrowed(b"<end>"),
            MARK => Cow::Borrowed(b"<tool_call>"),
            MARKED => Cow::Borrowed(b"<tool_call>["),
            _ => return None,
        })
    }

    fn is_special(&self, token: u32) -> bool {
        token == END || token == MARK
    }

    fn token(&self, name: &str) -> Option<u32> {
        (0..SIZE as u32).rev().find(|token| self.token_bytes(*token).as_deref() == Some(name.as_bytes()))
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        self.0.fetch_add(1, Ordering::Relaxed);
        text.bytes().map(u32::from).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[END]
    }
}

fn tools() -> Tools {
    let parameters = json!({"type": "object", "properties": {}, "additionalProperties": false});
    Tools::new(vec![Tool { name: "add".to_owned(), description: None, parameters }]).unwrap()
}

fn job() -> GenerationJob {
    GenerationJob::new(vec![Item::Token(1)])
}

/// Goes on by these tokens: no others are likely at all.
fn write(
    writer: &mut Writer,
    vocabulary: &Counting,
    tokens: impl IntoIterator<Item = u32>,
) -> Result<(), ModelError> {
    for token in tokens {
        let mut row = vec![f32::NEG_INFINITY; SIZE];
        row[token as usize] = 0.0;
        writer.write(&mut row, 7, vocabulary, &mut Vec::new())?;
    }
    Ok(())
}

#[test]
fn a_call_that_begins_otherwise_is_tried_once_and_the_next_one_again() {
    let vocabulary = Arc::new(Counting::default());
    let begun = Grammars::new(vocabulary.clone()).begun_call(ToolFormat::Hermes, &tools(), true).unwrap();
    let mut job = job();
    job.tools = Some(ToolUse {
        format: ToolFormat::Hermes,
        tools: tools(),
        several: true,
        call: Some(Arc::new(begun)),
    });
    let mut writer = Writer::new(&job, 0, 1000);
    write(&mut writer, &vocabulary, [MARKED]).unwrap();
    assert!(writer.grammar.is_none(), "no call begins so");
    let before = vocabulary.0.load(Ordering::Relaxed);
    write(&mut writer, &vocabulary, [u32::from(b'a'); 50]).unwrap();
    assert_eq!(vocabulary.0.load(Ordering::Relaxed), before, "it is not tried again");
    write(&mut writer, &vocabulary, b"</tool_call>".map(u32::from)).unwrap();
    write(&mut writer, &vocabulary, [MARK]).unwrap();
    assert!(writer.grammar.is_some(), "the next call is followed");
    let error = write(&mut writer, &vocabulary, [u32::from(b'a')]).unwrap_err();
    assert!(matches!(&error, ModelError::Invalid(message) if message.starts_with("tools: ")), "{error}");
}

#[test]
fn a_grammar_that_leaves_nothing_to_follow_is_the_requests_fault() {
    let vocabulary = Arc::new(Counting::default());
    let grammars = Grammars::new(vocabulary.clone());
    let refused = |grammar: Option<Grammar>, token: u8| {
        let mut job = job();
        job.grammar = grammar;
        let mut writer = Writer::new(&job, 0, 1000);
        write(&mut writer, &vocabulary, [u32::from(token)]).err()
    };
    let object = || Some(grammars.json_object().unwrap());
    assert!(refused(object(), b'{').is_none());
    let calls = Some(grammars.tool_calls(ToolFormat::Llama3, &tools(), true).unwrap());
    for (grammar, parameter) in [(object(), "response_format: "), (calls, "tools: ")] {
        let error = refused(grammar, b'x').unwrap();
        assert!(
            matches!(&error, ModelError::Invalid(message) if message.starts_with(parameter)),
            "{error:?} is none of {parameter}"
        );
    }
    // Without one, the row itself is at fault.
    let mut row = vec![f32::NEG_INFINITY; SIZE];
    let error = Writer::new(&job(), 0, 10).write(&mut row, 7, &*vocabulary, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ModelError::Failed(_)), "{error:?}");
}
