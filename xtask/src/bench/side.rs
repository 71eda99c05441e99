//! One side of a comparison: a process that keeps its model loaded and answers a line of JSON by a line of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::machine::Ticks;

pub(super) struct Side {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it said of itself.
    pub(super) described: Value,
}

/// An answer, and what part of the machine others took meanwhile.
pub(super) struct Measured {
    side: &'static str,
    answer: Value,
    pub(super) others: Option<f64>,
}

impl Measured {
    /// A number of the answer.
    pub(super) fn number(&self, key: &str) -> Result<f64> {
        let number = self.answer[key].as_f64();
        number.with_context(|| format!("{} gave no {key}: {}", self.side, self.answer))
    }
}

impl Side {
    /// Starts it, and waits until its model is loaded.
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("a child's input is piped")?;
        let output = BufReader::new(child.stdout.take().context("a child's output is piped")?);
        let mut side = Self { name, child, input, output, described: Value::Null };
        side.described = side.line()?;
        Ok(side)
    }

    /// Has it measure once.
    pub(super) fn measure(&mut self, asked: &Value) -> Result<Measured> {
        let before = Ticks::of(self.child.id());
        writeln!(self.input, "{asked}").with_context(|| format!("{} has ended", self.name))?;
        let answer = self.line()?;
        let others = before.zip(Ticks::of(self.child.id())).map(|(before, now)| now.others_since(before));
        Ok(Measured { side: self.name, answer, others })
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "{} has ended without an answer; its errors are above", self.name);
        serde_json::from_str(&line).with_context(|| format!("{} gave no JSON: {line}", self.name))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It only answers questions: nothing is lost, and it may not outlive this run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
