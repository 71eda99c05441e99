//! An answer of a language model: how it is drawn, and how it is written.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use futures::stream::{Stream, StreamExt as _};
use language_model::{Chat, Choice, Complete, Delta, FinishReason, GenerationStream, Modality};
use serde::Serialize;

use crate::output::Sink;

/// How an answer is drawn. What is not given is as the model's own files say.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct DrawArgs {
    /// How freely tokens are drawn, from 0 (always the most likely one) to 2; else as the model's files say
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = temperature)]
    temperature: Option<f32>,
    /// What the draws depend on: equal seeds give equal answers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// End the answer after so many tokens; else as the model's files say, or when it has no more room
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(temperature) if (0.0..=2.0).contains(&temperature) => Ok(temperature),
        _ => Err("accepted: a number from 0 to 2".to_owned()),
    }
}

/// The calls have the same setters, and no trait in common.
macro_rules! drawn {
    ($arguments:expr, $call:expr) => {{
        let DrawArgs { temperature, seed, max_tokens } = $arguments;
        // One caller, who waits as long as it takes.
        let mut call = $call.wait(true);
        if let Some(temperature) = temperature {
            call = call.temperature(temperature);
        }
        if let Some(seed) = seed {
            call = call.seed(seed);
        }
        if let Some(max_tokens) = max_tokens {
            call = call.max_tokens(max_tokens as usize);
        }
        call
    }};
}

impl DrawArgs {
    pub(super) fn chat<M: Modality>(self, call: Chat<M>) -> Chat<M> {
        drawn!(self, call)
    }

    pub(super) fn complete<M: Modality>(self, call: Complete<M>) -> Complete<M> {
        drawn!(self, call)
    }
}

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum AnswerFormat {
    /// The text, as it comes
    Text,
    /// One document: {"text": "...", "tokens": [...], "finish_reason": "..."}
    Json,
}

/// The document of `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    text: &'a str,
    tokens: Vec<u32>,
    finish_reason: &'static str,
}

/// Where answers go: standard output.
#[derive(Debug)]
pub(super) struct Printer {
    sink: Sink,
    terminal: bool,
}

impl Printer {
    pub(super) async fn open() -> anyhow::Result<Self> {
        Ok(Self { sink: Sink::open(None).await?, terminal: std::io::stdout().is_terminal() })
    }

    /// Writes the one answer of a command in its format.
    ///
    /// # Errors
    ///
    /// The answer fails, or the output cannot be written.
    pub(super) async fn answer(
        mut self,
        format: AnswerFormat,
        mut answer: GenerationStream,
    ) -> anyhow::Result<()> {
        match format {
            AnswerFormat::Json => {
                let answer = answer.finish().await?;
                let choice = answer.choices.first().ok_or_else(|| anyhow!("the model gave no answer"))?;
                self.document(choice).await
            }
            AnswerFormat::Text => {
                let mut text = String::new();
                let written = self.stream(&mut answer, &mut text).await?;
                if written.is_ok() || !text.is_empty() {
                    self.end_line().await?;
                }
                written?;
                Ok(())
            }
        }
    }

    /// Writes an answer as it comes, to its end or its failure, and collects its text.
    ///
    /// # Errors
    ///
    /// The output cannot be written, or nobody reads it any more.
    ///
    /// # Cancel safety
    ///
    /// What is in `text` is written, or will be by the next call.
    pub(super) async fn stream<E>(
        &mut self,
        answer: &mut (impl Stream<Item = Result<Delta, E>> + Unpin),
        text: &mut String,
    ) -> anyhow::Result<Result<Option<FinishReason>, E>> {
        let mut finish = None;
        while let Some(delta) = answer.next().await {
            match delta {
                Ok(delta) => {
                    finish = finish.or(delta.finish);
                    if !delta.text.is_empty() {
                        text.push_str(&delta.text);
                        self.sink.write(shown(&delta.text, self.terminal).as_bytes()).await?;
                        self.sink.flush().await?;
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(finish))
    }

    /// Ends the line that an answer is in.
    pub(super) async fn end_line(&mut self) -> anyhow::Result<()> {
        self.sink.write(b"\n").await?;
        self.sink.flush().await
    }

    /// Writes an answer as one document.
    async fn document(&mut self, answer: &Choice) -> anyhow::Result<()> {
        let tokens = answer.tokens.iter().map(|written| written.token).collect();
        let document = Document { text: &answer.text, tokens, finish_reason: answer.finish.as_str() };
        self.sink.write(&serde_json::to_vec(&document)?).await?;
        self.end_line().await
    }
}

/// A text as it is written. Whatever a model was made to write, it does not steer a terminal.
fn shown(text: &str, terminal: bool) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if terminal && text.contains(steers) {
        Cow::Owned(text.replace(steers, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_numbers_from_0_to_2() {
        for (text, wanted) in [("0", 0.0), ("0.7", 0.7), ("2", 2.0), ("1e-1", 0.1)] {
            assert_eq!(temperature(text), Ok(wanted));
        }
        for wrong in ["-0.1", "2.1", "NaN", "inf", "", "warm"] {
            assert!(temperature(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_does_not_steer_a_terminal() {
        let text = "a\tb\r\n\u{1b}[2Jc\u{9b}\u{7}中";
        assert_eq!(shown(text, true), "a\tb\r\n\u{fffd}[2Jc\u{fffd}\u{fffd}中");
        assert_eq!(shown(text, false), text);
        assert!(matches!(shown("plain\n", true), Cow::Borrowed(_)));
    }
}
