//! The command line: what is asked, and which command does it.

mod answer;
mod chat;
mod describe;
mod embed;
mod embed_image;
mod generate;
mod imagine;
mod input;
mod list;
mod model;
mod ps;
mod pull;
mod rerank;
mod serve;
mod table;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::failure::{self, WRONG_USAGE, told};
use crate::logging::{self, LogFormat};
use crate::stderr::tell;

/// Local models at a shell and behind an OpenAI-compatible server.
#[derive(Parser, Debug)]
#[command(name = "candlepool", version, propagate_version = true, max_term_width = 100)]
// The help of a command line without a command would be several lines for a failure.
#[command(arg_required_else_help = false)]
struct CommandLine {
    /// Tell the whole chain of causes when something fails.
    #[arg(long, global = true)]
    verbose: bool,
    /// How log lines look; CANDLEPOOL_LOG says what is logged.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve models over HTTP, as OpenAI's API does.
    Serve(serve::ServeArgs),
    /// Turn texts into vectors.
    Embed(embed::EmbedArgs),
    /// Order texts by how relevant they are to a query.
    Rerank(rerank::RerankArgs),
    /// Talk with a language model.
    Chat(chat::ChatArgs),
    /// Have a language model write a text.
    Generate(generate::GenerateArgs),
    /// Turn pictures into vectors, and texts into vectors of the same space.
    EmbedImage(embed_image::EmbedImageArgs),
    /// Answer a question about a picture.
    Describe(describe::DescribeArgs),
    /// Draw pictures of what a text says.
    Imagine(imagine::ImagineArgs),
    /// Download a model, or bring the one in the cache up to date.
    Pull(pull::PullArgs),
    /// List the models in the cache and those compiled in.
    List(list::ListArgs),
    /// Show what a running server does.
    Ps(ps::PsArgs),
}

/// Parses and runs a command line; gives the exit status.
pub(crate) async fn run(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let parsed = match CommandLine::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error).await,
    };
    let CommandLine { verbose, log_format, command } = parsed;
    let logged = match &command {
        // The server's configuration has a say in it too.
        Command::Serve(_) => Ok(()),
        _ => logging::start(log_format.unwrap_or_default(), None, logging::QUIET),
    };
    let done = match (logged, command) {
        (Err(error), _) => Err(error),
        (Ok(()), Command::Serve(arguments)) => Box::pin(serve::run(arguments, log_format)).await,
        (Ok(()), Command::Embed(arguments)) => Box::pin(embed::run(arguments)).await,
        (Ok(()), Command::Rerank(arguments)) => Box::pin(rerank::run(arguments)).await,
        (Ok(()), Command::Chat(arguments)) => Box::pin(chat::run(arguments)).await,
        (Ok(()), Command::Generate(arguments)) => Box::pin(generate::run(arguments)).await,
        (Ok(()), Command::EmbedImage(arguments)) => Box::pin(embed_image::run(arguments)).await,
        (Ok(()), Command::Describe(arguments)) => Box::pin(describe::run(arguments)).await,
        (Ok(()), Command::Imagine(arguments)) => Box::pin(imagine::run(arguments)).await,
        (Ok(()), Command::Pull(arguments)) => Box::pin(pull::run(arguments)).await,
        (Ok(()), Command::List(arguments)) => Box::pin(list::run(arguments)).await,
        (Ok(()), Command::Ps(arguments)) => Box::pin(ps::run(arguments)).await,
    };
    match done {
        Ok(()) => 0,
        Err(error) => failure::report(&error, verbose).await,
    }
}

/// Help and the version go to standard output; everything else is wrong usage, told in one line.
async fn refuse(error: &clap::Error) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Closed output is no failure, and help has no other. Colours are for terminals.
            let _ = error.print();
            0
        }
        _ => {
            tell(&usage_line(&error.to_string())).await;
            WRONG_USAGE
        }
    }
}

/// Clap's paragraphs as one line: what is wrong, the tip if there is one, and where to read on.
fn usage_line(paragraphs: &str) -> String {
    let (message, rest) = paragraphs.split_once("Usage:").unwrap_or((paragraphs, ""));
    let message = message.split("For more information").next().unwrap_or(message);
    let message = told(message.replace("\n\n  tip:", "; tip:").replace("\n  tip:", "; tip:"));
    let command: Vec<&str> =
        rest.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    let command = if command.is_empty() { "candlepool".to_owned() } else { command.join(" ") };
    format!("{}; see {command} --help", message.trim_end_matches([' ', ':', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        let arguments = std::iter::once("candlepool").chain(arguments.iter().copied());
        usage_line(&CommandLine::try_parse_from(arguments).unwrap_err().to_string())
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        assert_eq!(
            line(&["embed", "--formt", "json", "a"]),
            "error: unexpected argument '--formt' found; tip: a similar argument exists: '--format'; see candlepool embed --help"
        );
        assert!(line(&["rerank", "a"]).contains("--query <TEXT>"), "{}", line(&["rerank", "a"]));
        assert!(line(&["embed", "--format", "xml", "a"]).contains("possible values: json, jsonl, npy"));
        assert!(line(&["embed", "--model", "x.onnx", "a"]).contains("is no model source"));
        assert!(line(&["serve", "--memory", "6 gigs"]).contains("is no size"));
        assert!(line(&["imagine", "--size", "7", "a fox"]).contains("is no size"));
        assert!(line(&["imagine", "--mask", "a.png", "a fox"]).contains("--image <FILE>"));
        assert!(line(&["fly"]).contains("unrecognized subcommand 'fly'"), "{}", line(&["fly"]));
        assert!(line(&[]).starts_with("error: "), "{}", line(&[]));
        for arguments in [&["embed", "--formt"][..], &["fly"], &[], &["ps", "--server"]] {
            assert!(!line(arguments).contains('\n'));
        }
    }

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }
}
