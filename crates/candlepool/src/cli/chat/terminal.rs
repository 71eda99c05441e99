//! A conversation at a terminal.

use super::editor::{LineEditor, Typed};
use super::{Taken, Talk};
use crate::failure::told;
use crate::stderr::tell;

/// Answers line by line until somebody leaves.
pub(super) async fn hold(mut talk: Talk, model: &str) -> anyhow::Result<()> {
    let mut editor = LineEditor::open(talk.pool.engine().lanes().clone()).await?;
    tell(&format!("{model}: /help lists the commands, Ctrl-D leaves")).await;
    let mut interrupted = false;
    loop {
        let typed;
        (editor, typed) = editor.read().await?;
        if let Some(trouble) = editor.trouble() {
            tell(&told(trouble)).await;
        }
        let line = match typed {
            Typed::Line(line) => line,
            Typed::Interrupted if !interrupted => {
                interrupted = true;
                tell("Ctrl-C once more leaves, as Ctrl-D and /exit do").await;
                continue;
            }
            Typed::Interrupted | Typed::End => return Ok(()),
        };
        interrupted = false;
        match talk.take(&line, interrupt()).await? {
            Taken::Done => {}
            Taken::CutOff => tell("(cut off: the answer has as many tokens as it may)").await,
            Taken::Failed(why) => tell(&told(format!("error: {why}"))).await,
            Taken::Leave => return Ok(()),
        }
    }
}

/// Waits for a Ctrl-C that comes after this is first polled. From then on the signal ends the process no more.
async fn interrupt() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C cannot be listened to, so it stops no answer");
        std::future::pending().await
    }
}
