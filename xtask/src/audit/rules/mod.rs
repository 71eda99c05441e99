//! The rules: each a pure function from what happens in the code to what is wrong with it.

mod block_on;
mod blocking_channel_op;
mod channels;
mod detached_task;
mod foreign_select;
mod shared_runtime;
mod stray_compute;
mod sync_worker;
mod thread_spawn;

use super::{
    events::{At, Events},
    finding::{Finding, Rule},
    names::graph::Graph,
    source::Source,
};

/// What the rules see.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) graph: &'a Graph,
    pub(crate) events: &'a Events,
    /// The tree is this very workspace.
    pub(crate) is_this_workspace: bool,
}

impl Context<'_> {
    fn finding(&self, rule: Rule, at: At, message: impl Into<String>) -> Finding {
        Finding::error(rule, &self.sources[at.file].relative, at.position, message)
    }

    /// Whether a type of the tree has a method of this name itself, so that a call of it is no call of a foreign one.
    fn is_own_method(&self, receiver: Option<&[String]>, name: &str) -> bool {
        receiver.is_some_and(|receiver| {
            let mut functions = self.events.functions.iter();
            functions.any(|function| function.name == name && function.of.as_deref() == Some(receiver))
        })
    }
}

/// All findings in the code, unsorted.
pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let rules: [fn(&Context<'_>) -> Vec<Finding>; 9] = [
        block_on::check,
        blocking_channel_op::check,
        channels::check,
        detached_task::check,
        foreign_select::check,
        shared_runtime::check,
        stray_compute::check,
        sync_worker::check,
        thread_spawn::check,
    ];
    rules.iter().flat_map(|rule| rule(context)).collect()
}
