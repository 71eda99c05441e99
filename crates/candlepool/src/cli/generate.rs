//! `candlepool generate`: a prompt in, a text out.

use std::io::IsTerminal as _;

use anyhow::bail;
use clap::Args;
use pool_core::Engine;
use text_to_text::Message;

use super::answer::{AnswerFormat, DrawArgs, Printer};
use super::input;
use super::model::LanguageModelArgs;
use crate::failure::Usage;

/// The arguments of `generate`.
#[derive(Args, Debug)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    model: LanguageModelArgs,
    #[command(flatten)]
    draw: DrawArgs,
    /// Have the model go on with the prompt as it is, without its chat template
    #[arg(long)]
    raw: bool,
    /// How the text is written
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
    /// The prompt; unless given, all of standard input
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
}

pub(super) async fn run(arguments: GenerateArgs) -> anyhow::Result<()> {
    let GenerateArgs { model, draw, raw, format, prompt } = arguments;
    let prompt = match prompt {
        Some(prompt) => prompt,
        None if std::io::stdin().is_terminal() => String::new(),
        None => input::stdin_text().await?,
    };
    if prompt.is_empty() {
        return Err(Usage::new("no prompt is given: write PROMPT, or pipe a text in").into());
    }
    let engine = Engine::builder().build()?;
    let pool = Box::pin(model.load(&engine)).await?;
    if !raw && !pool.info().chats {
        bail!("model {model} has no chat template; give --raw to have it go on with the prompt as it is");
    }
    let printer = Printer::open().await?;
    let answer = match raw {
        true => draw.complete(pool.complete(prompt)).stream().await?,
        false => draw.chat(pool.chat([Message::user(prompt)])).stream().await?,
    };
    printer.answer(format, answer).await
}
