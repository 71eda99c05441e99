use super::definition::{ToolCall, Tools};
use super::format::ToolFormat;
use crate::stop::overlap;

/// May stand before a call that is a whole answer.
pub(super) const PYTHON: &str = "<|python_tag|>";

/// Reads calls of tools from an answer as it is written. What is no call stays text.
#[derive(Clone, Debug)]
pub(crate) struct ToolParser {
    format: ToolFormat,
    tools: Tools,
    held: String,
    state: State,
    /// Opening marks so far.
    opened: usize,
    calls: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing but white space since the beginning or the last call.
    Blank,
    /// In plain text.
    Text,
    /// Behind an opening mark.
    Call,
}

impl ToolParser {
    pub(crate) fn new(format: ToolFormat, tools: Tools) -> Self {
        Self { format, tools, held: String::new(), state: State::Blank, opened: 0, calls: 0 }
    }

    /// The format it reads.
    pub(crate) fn format(&self) -> ToolFormat {
        self.format
    }

    /// What has come of a call whose opening mark has.
    pub(crate) fn begun(&self) -> Option<&str> {
        (self.state == State::Call && !self.format.open().is_empty()).then_some(self.held.as_str())
    }

    /// How many opening marks have come.
    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    /// Adds text, and gives the plain text and the calls that are certain now.
    pub(crate) fn push(&mut self, text: &str) -> (String, Vec<ToolCall>) {
        self.held.push_str(text);
        let (mut plain, mut calls) = (String::new(), Vec::new());
        loop {
            let went_on = match self.state {
                State::Blank => self.begin(),
                State::Text => self.read_text(&mut plain),
                State::Call => self.read_call(&mut plain, &mut calls),
            };
            if !went_on {
                return (plain, calls);
            }
        }
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> (String, Vec<ToolCall>) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Call => self.conclude(&held, ""),
            // The line breaks after a call are no text.
            State::Blank if self.calls > 0 && held.trim().is_empty() => (String::new(), Vec::new()),
            State::Blank | State::Text => (held, Vec::new()),
        }
    }

    /// Looks what comes after white space: a call, and then the white space is no text, or text.
    fn begin(&mut self) -> bool {
        let open = self.format.open();
        let start = self.held.trim_start();
        if start.is_empty() {
            return false;
        }
        if open.is_empty() {
            // Calls have no mark of their own: the whole answer is one, or it is text.
            if start.len() < PYTHON.len() && PYTHON.starts_with(start) {
                return false;
            }
            let is_call = self.calls == 0 && (start.starts_with('{') || start.starts_with(PYTHON));
            self.state = if is_call { State::Call } else { State::Text };
            return true;
        }
        if start.starts_with(open) {
            let end = self.held.len() - start.len() + open.len();
            self.held.drain(..end);
            self.state = State::Call;
            self.opened += 1;
            return true;
        }
        if open.starts_with(start) {
            return false;
        }
        self.state = State::Text;
        true
    }

    fn read_text(&mut self, plain: &mut String) -> bool {
        let open = self.format.open();
        if open.is_empty() {
            plain.push_str(&std::mem::take(&mut self.held));
            return false;
        }
        if let Some(at) = self.held.find(open) {
            plain.push_str(&self.held[..at]);
            self.held.drain(..at + open.len());
            self.state = State::Call;
            self.opened += 1;
            return true;
        }
        let rest = self.held.split_off(self.held.len() - overlap(&self.held, open));
        plain.push_str(&std::mem::replace(&mut self.held, rest));
        false
    }

    fn read_call(&mut self, plain: &mut String, calls: &mut Vec<ToolCall>) -> bool {
        let Some(close) = self.format.close() else { return false };
        let Some(at) = self.held.find(close) else { return false };
        let rest = self.held.split_off(at + close.len());
        let mut body = std::mem::replace(&mut self.held, rest);
        body.truncate(at);
        let (text, read) = self.conclude(&body, close);
        self.state = if read.is_empty() { State::Text } else { State::Blank };
        plain.push_str(&text);
        calls.extend(read);
        true
    }

    /// Calls, or the text as it stood if it is none.
    fn conclude(&mut self, body: &str, close: &str) -> (String, Vec<ToolCall>) {
        let known = |calls: &Vec<ToolCall>| calls.iter().all(|call| self.tools.has(&call.name));
        match self.format.read(body).filter(known) {
            Some(calls) => {
                self.calls += calls.len();
                (String::new(), calls)
            }
            None => (format!("{}{body}{close}", self.format.open()), Vec::new()),
        }
    }
}
