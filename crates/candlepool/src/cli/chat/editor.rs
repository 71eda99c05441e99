//! Lines typed at a terminal, with editing and a history.
//!
//! Owns the terminal while a line is typed. Reading one blocks its thread, so it happens in the engine's lane for reading
//! and writing; nothing else of a conversation needs that lane's other slot for long.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pool_core::compute::Lanes;
use rustyline::error::ReadlineError;
use rustyline::{Behavior, Config, DefaultEditor};

/// Names the history's file; empty for none.
const HISTORY: &str = "CANDLEPOOL_CHAT_HISTORY";
/// The oldest lines go beyond so many.
const LONGEST_HISTORY: usize = 1000;
const PROMPT: &str = "> ";

/// Reads lines from the terminal.
pub(super) struct LineEditor {
    lanes: Lanes,
    editor: DefaultEditor,
    /// Where the history is kept, if not in memory alone.
    history: Option<PathBuf>,
    trouble: Option<String>,
}

/// What somebody did at the terminal.
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    End,
}

impl LineEditor {
    /// Takes up the history of earlier conversations.
    pub(super) async fn open(lanes: Lanes) -> anyhow::Result<Self> {
        let history = history_file();
        let open = {
            let lanes = lanes.clone();
            move || {
                // The terminal itself, so that prompts do not stand among answers that go to a file.
                let config = Config::builder().behavior(Behavior::PreferTerm);
                let config = config.max_history_size(LONGEST_HISTORY)?.auto_add_history(true).build();
                let editor = DefaultEditor::with_config(config)?;
                let mut editor = Self { lanes, editor, history, trouble: None };
                editor.load_history();
                Ok::<_, ReadlineError>(editor)
            }
        };
        lanes.io(open).await?.context("cannot use the terminal")
    }

    /// The next line.
    pub(super) async fn read(mut self) -> anyhow::Result<(Self, Typed)> {
        let lanes = self.lanes.clone();
        let read = lanes.io(move || {
            let typed = self.editor.readline(PROMPT);
            self.save_history();
            (self, typed)
        });
        let (editor, typed) = read.await?;
        let typed = match typed {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Interrupted) => Typed::Interrupted,
            Err(ReadlineError::Eof) => Typed::End,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        };
        Ok((editor, typed))
    }

    /// What is wrong with the history's file, if it has not been told yet.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn load_history(&mut self) {
        let Some(file) = &self.history else { return };
        match self.editor.load_history(file) {
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::NotFound => {}
            loaded => self.check(loaded),
        }
    }

    /// After each line, so that it is there whatever ends the program.
    fn save_history(&mut self) {
        let Some(file) = &self.history else { return };
        let saved = make_folder(file).map_err(ReadlineError::Io);
        let saved = saved.and_then(|()| self.editor.append_history(file));
        self.check(saved);
    }

    /// A file that cannot be used is told of once, and left alone.
    fn check(&mut self, used: Result<(), ReadlineError>) {
        if let (Err(error), Some(file)) = (used, &self.history) {
            let file = file.display();
            self.trouble = Some(format!(
                "the history is kept in memory only: cannot use {file}: {error}; set {HISTORY} to another file"
            ));
            self.history = None;
        }
    }
}

fn history_file() -> Option<PathBuf> {
    match std::env::var_os(HISTORY) {
        Some(file) => Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty()),
        None => {
            let folder = dirs::state_dir().or_else(dirs::data_local_dir);
            folder.map(|folder| folder.join("candlepool").join("chat_history"))
        }
    }
}

/// What is typed is nobody else's business; the file itself is made for its owner alone by the library.
fn make_folder(file: &Path) -> std::io::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
