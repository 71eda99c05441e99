//! What the audit says: rules, and findings with their places.

use std::fmt;

/// One thing the audit looks for. [`Rule::name`] is the contract with readers of its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    BlockOn,
    BlockingChannelOp,
    CrateEdge,
    CrossbeamChannel,
    DetachedTask,
    Excuse,
    ForeignSelect,
    ParseError,
    SharedRuntime,
    StrayCompute,
    SyncChannel,
    SyncWorker,
    ThreadSpawn,
    UnboundedChannel,
}

impl Rule {
    /// Every rule, in the order of their names.
    pub(crate) const ALL: [Self; 14] = [
        Self::BlockOn,
        Self::BlockingChannelOp,
        Self::CrateEdge,
        Self::CrossbeamChannel,
        Self::DetachedTask,
        Self::Excuse,
        Self::ForeignSelect,
        Self::ParseError,
        Self::SharedRuntime,
        Self::StrayCompute,
        Self::SyncChannel,
        Self::SyncWorker,
        Self::ThreadSpawn,
        Self::UnboundedChannel,
    ];

    /// The name in reports and in excuses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BlockOn => "block-on",
            Self::BlockingChannelOp => "blocking-channel-op",
            Self::CrateEdge => "crate-edge",
            Self::CrossbeamChannel => "crossbeam-channel",
            Self::DetachedTask => "detached-task",
            Self::Excuse => "excuse",
            Self::ForeignSelect => "foreign-select",
            Self::ParseError => "parse-error",
            Self::SharedRuntime => "shared-runtime",
            Self::StrayCompute => "stray-compute",
            Self::SyncChannel => "sync-channel",
            Self::SyncWorker => "sync-worker",
            Self::ThreadSpawn => "thread-spawn",
            Self::UnboundedChannel => "unbounded-channel",
        }
    }

    /// The rule of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// What the rule finds, in one sentence.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Self::BlockOn => "A runtime or executor is blocked on",
            Self::BlockingChannelOp => "A channel or lock of tokio is used in its blocking form",
            Self::CrateEdge => "A dependency outside the table of crates",
            Self::CrossbeamChannel => "A crossbeam channel is used",
            Self::DetachedTask => "A task is spawned and its handle dropped",
            Self::Excuse => {
                "An excuse that is not allowed, has no reason, excuses nothing or exceeds its pin"
            }
            Self::ForeignSelect => "A select! that is not tokio's",
            Self::ParseError => "A file does not parse",
            Self::SharedRuntime => "A runtime is shared or built in a library",
            Self::StrayCompute => "spawn_blocking outside pool_core::compute",
            Self::SyncChannel => "A channel that blocks or is not tokio's",
            Self::SyncWorker => "A worker that is not an async task",
            Self::ThreadSpawn => "A thread is spawned",
            Self::UnboundedChannel => "A channel without a bound",
        }
    }

    /// What to do instead.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::BlockOn => "make the caller async and .await the future",
            Self::BlockingChannelOp => "use the async form (send, recv, lock) and .await it",
            Self::CrateEdge => "keep to the crates table: a library knows only what lies below it",
            Self::CrossbeamChannel => "use a bounded tokio::sync::mpsc, or tokio::sync::oneshot for a reply",
            Self::DetachedTask => {
                "keep the JoinHandle and await it, or spawn into a JoinSet that its owner drains"
            }
            Self::Excuse => {
                "write `// audit: allow(rule) reason`, for a rule that may be excused, on the line or the line above"
            }
            Self::ForeignSelect => "use tokio::select! and poll the futures by &mut",
            Self::ParseError => "make the file parse, so that it can be audited",
            Self::SharedRuntime => {
                "run on the caller's runtime: take no runtime in a library, and let the binary's main build it"
            }
            Self::StrayCompute => "send the work through pool_core::compute, which owns the lanes",
            Self::SyncChannel => "use a bounded tokio::sync::mpsc, or tokio::sync::oneshot for a reply",
            Self::SyncWorker => "make it an async fn and start it with tokio::spawn or a JoinSet",
            Self::ThreadSpawn => {
                "make it an async fn started by tokio::spawn; heavy work goes through pool_core::compute"
            }
            Self::UnboundedChannel => {
                "use tokio::sync::mpsc::channel with a bound, and say beside it why that number"
            }
        }
    }

    /// Whether `// audit: allow(rule) reason` may silence it.
    pub(crate) fn excusable(self) -> bool {
        matches!(
            self,
            Self::BlockingChannelOp | Self::DetachedTask | Self::StrayCompute | Self::UnboundedChannel
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a finding fails the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Severity {
    /// The word in reports; SARIF's levels have the same names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A position in a file: line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// The first character of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// Where a span begins.
    pub(crate) fn of(span: proc_macro2::Span) -> Self {
        let start = span.start();
        Self { line: start.line.max(1), column: start.column + 1 }
    }

    /// The position of a byte offset in a text.
    pub(crate) fn at(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// One line of the report. Ordered as reports are: by file, place and rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the root, with forward slashes.
    pub(crate) file: String,
    pub(crate) position: Position,
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Finding {
    /// An error with the rule's own help.
    pub(crate) fn error(rule: Rule, file: &str, position: Position, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position,
            rule,
            severity: Severity::Error,
            message: message.into(),
            help: rule.help().to_owned(),
        }
    }

    /// The same with another help.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The same as a warning.
    pub(crate) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_listed_in_the_order_of_their_names() {
        let names = Rule::ALL.map(Rule::name);
        assert!(names.is_sorted());
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(rule));
        }
    }

    #[test]
    fn columns_count_characters() {
        let text = "a\nééx";
        assert_eq!(Position::at(text, text.len() - 1), Position { line: 2, column: 3 });
        assert_eq!(Position::at(text, 0), Position::START);
    }
}
