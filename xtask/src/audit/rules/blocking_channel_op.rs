//! `blocking-channel-op`: `blocking_send`, `blocking_recv`, `blocking_lock` and their variants.

use super::Context;
use crate::audit::{
    events::Callee,
    finding::{Finding, Rule},
    names::canon,
};

const BLOCKING: [&str; 5] =
    ["blocking_lock", "blocking_lock_owned", "blocking_recv", "blocking_recv_many", "blocking_send"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let paths = context.events.paths.iter().filter_map(|path| {
        let last = path.canon.last()?;
        (path.canon.len() > 1 && BLOCKING.contains(&last.as_str()) && !canon::is_local(&path.canon)).then(
            || {
                let message = format!("`{}` blocks the thread it runs on", canon::show(&path.canon));
                context.finding(Rule::BlockingChannelOp, path.at, message)
            },
        )
    });
    let methods = context.events.calls.iter().filter_map(|call| {
        let Callee::Method { name, receiver } = &call.callee else {
            return None;
        };
        (BLOCKING.contains(&name.as_str()) && !context.is_own_method(receiver.as_deref(), name)).then(|| {
            context.finding(
                Rule::BlockingChannelOp,
                call.at,
                format!("`.{name}()` blocks the thread it runs on"),
            )
        })
    });
    paths.chain(methods).collect()
}
