//! `candlepool generate`: a prompt in, a text out.

use std::io::IsTerminal as _;

use anyhow::{anyhow, bail};
use clap::Args;
use pool_core::Engine;
use text_to_text::{GenerationStream, Message, TextToText};

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
    let mut printer = Printer::open().await?;
    let call = Call { pool, draw, raw, prompt };
    match format {
        AnswerFormat::Json => {
            let answer = call.stream().await?.finish().await?;
            let choice = answer.choices.first().ok_or_else(|| anyhow!("model {model} gave no answer"))?;
            printer.document(choice).await
        }
        AnswerFormat::Text => {
            let mut text = String::new();
            let written = printer.stream(&mut call.stream().await?, &mut text).await?;
            if written.is_ok() || !text.is_empty() {
                printer.end_line().await?;
            }
            written?;
            Ok(())
        }
    }
}

struct Call {
    pool: TextToText,
    draw: DrawArgs,
    raw: bool,
    prompt: String,
}

impl Call {
    async fn stream(self) -> Result<GenerationStream, text_to_text::Error> {
        let Self { pool, draw, raw, prompt } = self;
        if raw {
            draw.complete(pool.complete(prompt)).stream().await
        } else {
            draw.chat(pool.chat([Message::user(prompt)])).stream().await
        }
    }
}
