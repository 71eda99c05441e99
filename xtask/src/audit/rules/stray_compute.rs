//! `stray-compute`: `spawn_blocking` anywhere in this workspace but in `pool_core::compute`.

use super::Context;
use crate::audit::{
    events::Callee,
    finding::{Finding, Rule},
    names::canon,
};

const NAMES: [&str; 2] = ["spawn_blocking", "spawn_blocking_on"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.is_this_workspace {
        return Vec::new();
    }
    let paths = context.events.paths.iter().filter(|path| {
        let last = path.canon.last().map(String::as_str).unwrap_or_default();
        canon::starts_with(&path.canon, &["tokio"])
            && NAMES.contains(&last)
            && !in_compute(context, path.module)
    });
    let paths = paths.map(|path| (path.at, canon::show(&path.canon)));
    let methods = context.events.calls.iter().filter_map(|call| {
        let Callee::Method { name, receiver } = &call.callee else {
            return None;
        };
        let stray = NAMES.contains(&name.as_str())
            && !context.is_own_method(receiver.as_deref(), name)
            && !in_compute(context, call.module);
        stray.then(|| (call.at, format!(".{name}()")))
    });
    paths
        .chain(methods)
        .map(|(at, what)| {
            context.finding(Rule::StrayCompute, at, format!("`{what}` runs work beside the compute lanes"))
        })
        .collect()
}

fn in_compute(context: &Context<'_>, module: usize) -> bool {
    let path = &context.graph.modules[module].path;
    context.graph.crate_of(module).name == "pool_core" && path.first().is_some_and(|first| first == "compute")
}
