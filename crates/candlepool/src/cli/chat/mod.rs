//! `candlepool chat`: a single question, lines that are piped in, or a conversation at a terminal.

mod conversation;
mod editor;
mod script;
mod terminal;
mod turn;

use std::future::pending;
use std::io::IsTerminal as _;

use anyhow::bail;
use clap::Args;
use pool_core::Engine;
use text_to_text::{FinishReason, TextToText};

use self::conversation::Conversation;
use self::script::Script;
use self::turn::{Command, HELP, Turn};
use super::answer::{DrawArgs, Printer};
use super::model::LanguageModelArgs;
use crate::failure::Usage;
use crate::stderr::tell;

/// The arguments of `chat`.
#[derive(Args, Debug)]
pub(super) struct ChatArgs {
    #[command(flatten)]
    model: LanguageModelArgs,
    /// Instructions for the whole conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    draw: DrawArgs,
    /// Ask this alone; else talk at the terminal, or give a message a line on standard input
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
}

/// Where messages come from.
enum Messages {
    One(String),
    Piped(Script),
    Typed,
}

pub(super) async fn run(arguments: ChatArgs) -> anyhow::Result<()> {
    let ChatArgs { model, system, draw, prompt } = arguments;
    let engine = Engine::builder().build()?;
    // Before the model is loaded: where there is nothing to say, there is nothing to load.
    let messages = match prompt {
        Some(prompt) if !prompt.is_empty() => Some(Messages::One(prompt)),
        Some(_) => None,
        None if std::io::stdin().is_terminal() => Some(Messages::Typed),
        None => Script::begin(&engine).await?.map(Messages::Piped),
    };
    let Some(messages) = messages else {
        return Err(
            Usage::new("no prompt is given: write PROMPT, or a message a line on standard input").into()
        );
    };
    let pool = Box::pin(model.load(&engine)).await?;
    if !pool.info().chats {
        bail!(
            "model {model} has no chat template, so it cannot hold a conversation; candlepool generate --raw has it go on with a text"
        );
    }
    let conversation = Conversation::new(system);
    let talk = Talk { pool, draw, conversation, printer: Printer::open().await? };
    match messages {
        Messages::One(message) => talk.once(&message).await,
        Messages::Piped(script) => script.play(talk).await,
        Messages::Typed => terminal::hold(talk, &model.to_string()).await,
    }
}

/// A conversation with a model.
struct Talk {
    pool: TextToText,
    draw: DrawArgs,
    conversation: Conversation,
    printer: Printer,
}

/// What became of a message.
enum Answered {
    /// It has an answer.
    Whole(Option<FinishReason>),
    /// The answer was stopped.
    Stopped,
    /// There is none, and the message is not in the conversation.
    Failed(text_to_text::Error),
}

/// What became of a turn.
enum Taken {
    Done,
    /// The answer has as many tokens as it may.
    CutOff,
    Failed(String),
    /// That was the last one.
    Leave,
}

impl Talk {
    /// One message; that it fails is the command's failure.
    async fn once(mut self, message: &str) -> anyhow::Result<()> {
        match self.answer(message, pending()).await? {
            Answered::Failed(error) => Err(error.into()),
            Answered::Whole(_) | Answered::Stopped => Ok(()),
        }
    }

    /// What somebody typed. An answer ends early when `stop` is done.
    async fn take(&mut self, line: &str, stop: impl Future<Output = ()>) -> anyhow::Result<Taken> {
        Ok(match Turn::parse(line) {
            Turn::Blank => Taken::Done,
            Turn::Wrong(why) => Taken::Failed(why),
            Turn::Command(Command::Exit) => Taken::Leave,
            Turn::Command(command) => {
                self.obey(command).await;
                Taken::Done
            }
            Turn::Message(message) => match self.answer(message, stop).await? {
                Answered::Whole(Some(FinishReason::Length)) => Taken::CutOff,
                Answered::Whole(_) | Answered::Stopped => Taken::Done,
                Answered::Failed(error) => Taken::Failed(format!(
                    "{error}; the message is left out of the conversation, and /reset begins a new one"
                )),
            },
        })
    }

    async fn obey(&mut self, command: Command<'_>) {
        match command {
            Command::Reset => self.conversation.reset(),
            Command::SetSystem(system) => self.conversation.set_system(system.map(str::to_owned)),
            Command::ShowSystem => {
                let none = "there is no system prompt, unless the model's chat template brings one";
                tell(self.conversation.system().unwrap_or(none)).await;
            }
            Command::Help => tell(HELP).await,
            Command::Exit => {}
        }
    }

    /// Writes the answer to a message. Both are in the conversation from then on, if anything was answered.
    async fn answer(&mut self, message: &str, stop: impl Future<Output = ()>) -> anyhow::Result<Answered> {
        let call = self.draw.chat(self.pool.chat(self.conversation.with(message)));
        let mut text = String::new();
        let writing = async {
            match call.stream().await {
                Ok(mut answer) => self.printer.stream(&mut answer, &mut text).await,
                Err(error) => Ok(Err(error)),
            }
        };
        let answered = tokio::select! {
            biased;
            // The stream is dropped, and that cancels its job.
            () = stop => Answered::Stopped,
            written = writing => match written? {
                Ok(finish) => Answered::Whole(finish),
                Err(error) => Answered::Failed(error),
            },
        };
        if matches!(answered, Answered::Whole(_)) || !text.is_empty() {
            self.printer.end_line().await?;
        }
        match answered {
            Answered::Whole(_) => self.conversation.add(message, text),
            Answered::Stopped if !text.is_empty() => self.conversation.add(message, text),
            Answered::Stopped | Answered::Failed(_) => {}
        }
        Ok(answered)
    }
}
