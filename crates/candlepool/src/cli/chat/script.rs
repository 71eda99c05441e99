//! A conversation that is piped in: each line a turn.

use std::future::pending;

use anyhow::bail;
use pool_core::Engine;

use super::{Taken, Talk};
use crate::cli::input::{Input, InputFormat};
use crate::failure::told;
use crate::stderr::tell;

/// The lines of standard input, the first of them read.
pub(super) struct Script {
    input: Input,
    engine: Engine,
    lines: u64,
    first: Option<Result<String, String>>,
}

impl Script {
    /// Waits for the first line that is not blank; `None`: there is none.
    pub(super) async fn begin(engine: &Engine) -> anyhow::Result<Option<Self>> {
        let input = Input::stdin(InputFormat::Lines);
        let mut script = Self { input, engine: engine.clone(), lines: 0, first: None };
        while let Some(line) = script.read().await? {
            if line.as_ref().map_or(true, |line| !line.trim().is_empty()) {
                script.first = Some(line);
                return Ok(Some(script));
            }
        }
        Ok(None)
    }

    /// The next line, or why it cannot be read.
    async fn read(&mut self) -> anyhow::Result<Option<Result<String, String>>> {
        let Some((raw, _)) = self.input.next().await? else { return Ok(None) };
        self.lines += 1;
        Ok(Some(raw.read(&self.engine).await.text))
    }

    /// Takes turn after turn. One that fails leaves the rest, and is the command's failure in the end.
    pub(super) async fn play(mut self, mut talk: Talk) -> anyhow::Result<()> {
        let mut failed = 0_u64;
        let mut next = self.first.take();
        while let Some(line) = next {
            let taken = match line {
                Ok(line) => talk.take(&line, pending()).await?,
                Err(why) => Taken::Failed(why),
            };
            match taken {
                Taken::Done | Taken::CutOff => {}
                Taken::Failed(why) => {
                    failed += 1;
                    tell(&told(format!("error: line {}: {why}", self.lines))).await;
                }
                Taken::Leave => break,
            }
            next = self.read().await?;
        }
        if failed > 0 {
            bail!("{failed} of {} lines failed; each is told of above", self.lines);
        }
        Ok(())
    }
}
