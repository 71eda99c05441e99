//! What the assistant is given: who it is, passages that may help, and the conversation up to the question. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::machine::{AssistantConfig, Config, Question};
use super::protocol::picture_data;
use super::record::{Entry, Kind, Record};
use crate::context::Passage;
use crate::model::{Part, Prompt, Role, Turn};

pub(super) fn prompt(config: &Config, record: &Record, question: &Question, passages: &[Passage]) -> Prompt {
    let assistant = config.assistant.as_ref();
    let mut turns: Vec<Turn> = Vec::new();
    let mut left = config.limits.prompt_bytes;
    add(&mut turns, Role::User, line(&question.message.name, &question.message.text));
    left = left.saturating_sub(question.message.text.len());
    for entry in record.before(question.seq) {
        let Some((role, text)) = said(entry) else { continue };
        let Some(rest) = left.checked_sub(text.len()) else { break };
        left = rest;
        add(&mut turns, role, text);
    }
    turns.reverse();
    for turn in &mut turns {
        turn.parts.reverse();
        join_texts(turn);
    }
    // Templates begin with a person's turn.
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        turns.remove(0);
    }
    if let Some(turn) = turns.last_mut() {
        if assistant.is_some_and(|assistant| assistant.images) {
            let pictures = question.message.images.iter().filter_map(|url| picture(url));
            turn.parts.splice(0..0, pictures.collect::<Vec<_>>());
        } else if !question.message.images.is_empty() {
            let count = question.message.images.len();
            turn.parts.push(Part::Text(format!("\n({count} pictures, which you cannot see)").into()));
            join_texts(turn);
        }
    }
    Prompt {
        instructions: Some(instructions(assistant, passages)),
        turns,
        max_output_tokens: Some(config.limits.answer_tokens),
        priority: question.priority,
        principal: question.principal.clone(),
    }
}

fn instructions(assistant: Option<&AssistantConfig>, passages: &[Passage]) -> Arc<str> {
    let mut text = match assistant {
        Some(AssistantConfig { instructions: Some(given), .. }) => given.to_string(),
        Some(AssistantConfig { name, .. }) => format!(
            "You are {name}, taking part in a chat of several people. Each line of theirs begins with a name. Answer the last \
             message, briefly and to the point."
        ),
        None => String::new(),
    };
    if !passages.is_empty() {
        text.push_str("\n\nThese passages may help. Where you use one, cite it by its number in brackets.");
        for (number, passage) in (1..).zip(passages) {
            let (first, last) = passage.lines;
            // Writing to a string cannot fail.
            let _ = write!(text, "\n\n[{number}] {}, lines {first}-{last}:\n{}", passage.path, passage.text);
        }
    }
    text.into()
}

fn said(entry: &Entry) -> Option<(Role, String)> {
    if entry.deleted || entry.text.is_empty() {
        return None;
    }
    match entry.kind {
        Kind::Message => Some((Role::User, line(&entry.name, &entry.text))),
        Kind::Answer { done: true } => Some((Role::Assistant, entry.text.clone())),
        Kind::Answer { done: false } => None,
    }
}

fn line(name: &str, text: &str) -> String {
    format!("{name}: {text}")
}

/// Adds what was said before all that is there: several people in a row are one turn, as templates have them alternate.
fn add(turns: &mut Vec<Turn>, role: Role, text: String) {
    match turns.last_mut() {
        Some(turn) if turn.role == role => turn.parts.push(Part::Text(text.into())),
        _ => turns.push(Turn { role, parts: vec![Part::Text(text.into())] }),
    }
}

fn join_texts(turn: &mut Turn) {
    let texts = turn.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        Part::Image(_) => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    turn.parts.retain(|part| matches!(part, Part::Image(_)));
    turn.parts.push(Part::Text(text.into()));
}

/// It is short, as an event is.
fn picture(url: &str) -> Option<Part> {
    STANDARD.decode(picture_data(url)?).ok().map(|bytes| Part::Image(bytes.into()))
}
