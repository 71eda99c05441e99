//! `detached-task`: a task of tokio's whose handle nobody keeps. A `JoinSet` owns its tasks.

use super::Context;
use crate::audit::{
    events::Callee,
    finding::{Finding, Rule},
    names::canon,
};

const SPAWNS: [&[&str]; 6] = [
    &["tokio", "spawn"],
    &["tokio", "task", "spawn_local"],
    &["tokio", "runtime", "Handle", "spawn"],
    &["tokio", "runtime", "Runtime", "spawn"],
    &["tokio", "task", "Builder", "spawn"],
    &["tokio", "task", "LocalSet", "spawn_local"],
];

const HANDLE: &[&str] = &["tokio", "task", "JoinHandle"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let dropped = context.events.dropped.iter().filter(|dropped| match &dropped.callee {
        Callee::Path { canons, .. } => canons.iter().any(|canon| gives_handle(context, canon)),
        Callee::Method { name, receiver: Some(receiver) } => {
            let mut method = receiver.clone();
            method.push(name.clone());
            gives_handle(context, &method)
        }
        Callee::Method { receiver: None, .. } => false,
    });
    dropped
        .map(|dropped| {
            let message = format!("`{}` starts a task and {}", dropped.callee.name(), dropped.how);
            context.finding(Rule::DetachedTask, dropped.at, message)
        })
        .collect()
}

/// Whether a function is one of tokio's spawns, or one of the tree that returns a handle.
fn gives_handle(context: &Context<'_>, function: &[String]) -> bool {
    SPAWNS.iter().any(|spawn| canon::is(function, spawn))
        || context.graph.returned_by(function).is_some_and(|returned| canon::is(returned, HANDLE))
}
