//! `block-on`: `block_on` of any runtime or executor, `block_in_place`, `block_on_stream`.

use super::Context;
use crate::audit::{
    events::Callee,
    finding::{Finding, Rule},
    names::canon,
};

const BLOCKING: [&str; 3] = ["block_on", "block_in_place", "block_on_stream"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let paths = context.events.paths.iter().filter_map(|path| {
        let last = path.canon.last()?;
        (BLOCKING.contains(&last.as_str()) && !canon::is_local(&path.canon)).then(|| {
            context.finding(
                Rule::BlockOn,
                path.at,
                format!("`{}` blocks the thread it runs on", canon::show(&path.canon)),
            )
        })
    });
    let methods = context.events.calls.iter().filter_map(|call| {
        let Callee::Method { name, receiver } = &call.callee else {
            return None;
        };
        (BLOCKING.contains(&name.as_str()) && !context.is_own_method(receiver.as_deref(), name)).then(|| {
            context.finding(Rule::BlockOn, call.at, format!("`.{name}()` blocks the thread it runs on"))
        })
    });
    paths.chain(methods).collect()
}
