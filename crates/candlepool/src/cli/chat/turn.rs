//! What somebody types: a message for the model, or a command for the program.

/// A line of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Turn<'a> {
    /// Nothing.
    Blank,
    /// What the model is told.
    Message(&'a str),
    /// What the program is told.
    Command(Command<'a>),
    /// A command that there is none of, and why.
    Wrong(String),
}

/// What the program can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command<'a> {
    /// Forget the conversation.
    Reset,
    /// Show the system prompt.
    ShowSystem,
    /// Set the system prompt; `None`: have none.
    SetSystem(Option<&'a str>),
    /// Tell what there is.
    Help,
    /// Leave.
    Exit,
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/reset        forget the conversation, and keep the system prompt
/system TEXT  set the system prompt; /system shows it, /system \"\" removes it
/help         this
/exit         leave; so does Ctrl-D
Ctrl-C ends an answer. A line that begins with a space is a message, whatever follows.";

impl<'a> Turn<'a> {
    /// A slash at the very beginning makes a command.
    pub(super) fn parse(line: &'a str) -> Self {
        let text = line.trim();
        if text.is_empty() {
            return Self::Blank;
        }
        if !line.starts_with('/') {
            return Self::Message(text);
        }
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim_start();
        let command = match name {
            "/reset" => Command::Reset,
            "/help" => Command::Help,
            "/exit" => Command::Exit,
            "/system" => {
                return Self::Command(match rest {
                    "" => Command::ShowSystem,
                    "\"\"" => Command::SetSystem(None),
                    text => Command::SetSystem(Some(text)),
                });
            }
            _ => {
                return Self::Wrong(format!(
                    "unknown command {name}: /help lists them; begin the line with a space to send it as it is"
                ));
            }
        };
        if rest.is_empty() {
            Self::Command(command)
        } else {
            Self::Wrong(format!("{name} takes nothing after it; /help lists the commands"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_beginning_makes_a_command() {
        for (line, wanted) in [
            ("", Turn::Blank),
            (" \t ", Turn::Blank),
            ("What is 1/2?", Turn::Message("What is 1/2?")),
            ("  two\nlines \r", Turn::Message("two\nlines")),
            (" /reset", Turn::Message("/reset")),
            ("/reset", Turn::Command(Command::Reset)),
            ("/exit \t", Turn::Command(Command::Exit)),
            ("/help", Turn::Command(Command::Help)),
            ("/system", Turn::Command(Command::ShowSystem)),
            ("/system ", Turn::Command(Command::ShowSystem)),
            ("/system \"\"", Turn::Command(Command::SetSystem(None))),
            ("/system  Speak\nplainly. ", Turn::Command(Command::SetSystem(Some("Speak\nplainly.")))),
        ] {
            assert_eq!(Turn::parse(line), wanted, "{line:?}");
        }
        for (line, wanted) in [
            ("/resett", "unknown command /resett: "),
            ("/", "unknown command /: "),
            ("/etc/passwd is a file", "unknown command /etc/passwd: "),
            ("/Reset", "unknown command /Reset: "),
            ("/reset now", "/reset takes nothing after it"),
        ] {
            let Turn::Wrong(told) = Turn::parse(line) else { panic!("{line:?}") };
            assert!(told.starts_with(wanted), "{told}");
        }
    }
}
