//! `crossbeam-channel`, `sync-channel`, `unbounded-channel`: channels that block or have no bound.

use super::Context;
use crate::audit::{
    finding::{Finding, Rule},
    names::canon,
};

/// Everything in these modules is forbidden.
const MODULES: [(&[&str], Rule, &str); 5] = [
    (
        &["crossbeam_channel"],
        Rule::CrossbeamChannel,
        "a crossbeam channel blocks the thread that waits on it",
    ),
    (&["std", "sync", "mpsc"], Rule::SyncChannel, "a channel of std blocks the thread that waits on it"),
    (&["flume"], Rule::SyncChannel, "flume is not tokio's channel"),
    (&["async_channel"], Rule::SyncChannel, "async-channel is not tokio's channel"),
    (&["kanal"], Rule::SyncChannel, "kanal is not tokio's channel"),
];

const UNBOUNDED: &[&str] = &["tokio", "sync", "mpsc", "unbounded_channel"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in &context.events.paths {
        for (module, rule, why) in MODULES {
            let said_above = path.parent.as_ref().is_some_and(|parent| canon::starts_with(parent, module));
            if canon::starts_with(&path.canon, module) && !said_above {
                findings.push(context.finding(
                    rule,
                    path.at,
                    format!("`{}`: {why}", canon::show(&path.canon)),
                ));
            }
        }
        if canon::is(&path.canon, UNBOUNDED) {
            let message =
                format!("`{}` has no bound: a slow reader lets it grow for ever", canon::show(&path.canon));
            findings.push(context.finding(Rule::UnboundedChannel, path.at, message));
        }
    }
    findings
}
