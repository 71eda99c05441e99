//! `thread-spawn`: `std::thread::spawn` and `thread::Builder::spawn`. Scoped threads end with their scope and are allowed.

use super::Context;
use crate::audit::{
    events::Callee,
    finding::{Finding, Rule},
    names::canon,
};

const SPAWNS: [&[&str]; 3] = [
    &["std", "thread", "spawn"],
    &["std", "thread", "Builder", "spawn"],
    &["std", "thread", "Builder", "spawn_unchecked"],
];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let paths =
        context.events.paths.iter().filter(|path| SPAWNS.iter().any(|spawn| canon::is(&path.canon, spawn)));
    let paths = paths.map(|path| (path.at, canon::show(&path.canon)));
    let methods = context.events.calls.iter().filter_map(|call| {
        let Callee::Method { name, receiver: Some(receiver) } = &call.callee else {
            return None;
        };
        let mut method = receiver.clone();
        method.push(name.clone());
        SPAWNS.iter().any(|spawn| canon::is(&method, spawn)).then(|| (call.at, canon::show(&method)))
    });
    paths
        .chain(methods)
        .map(|(at, what)| {
            context.finding(Rule::ThreadSpawn, at, format!("`{what}` starts a thread of its own"))
        })
        .collect()
}
