//! `shared-runtime`: a `shared_runtime()`, or a runtime built in a library.

use super::Context;
use crate::audit::{
    finding::{Finding, Rule},
    names::{canon, graph::CrateKind},
};

const NAME: &str = "shared_runtime";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in &context.events.functions {
        if function.name == NAME {
            let message = format!("`{NAME}` gives one runtime to all, outside anyone's ownership");
            findings.push(context.finding(Rule::SharedRuntime, function.at, message));
        }
    }
    for call in &context.events.calls {
        if call.callee.name() == NAME {
            findings.push(context.finding(Rule::SharedRuntime, call.at, format!("`{NAME}()` is called")));
        }
    }
    for path in &context.events.paths {
        let krate = context.graph.crate_of(path.module);
        if builds_runtime(&path.canon) && krate.kind == CrateKind::Library {
            let message = format!("`{}` builds a runtime in a library", canon::show(&path.canon));
            findings.push(context.finding(Rule::SharedRuntime, path.at, message));
        }
    }
    findings
}

fn builds_runtime(path: &[String]) -> bool {
    let [.., name] = path else { return false };
    canon::is(path, &["tokio", "runtime", "Runtime", "new"])
        || canon::is(path, &["tokio", "runtime", "LocalRuntime", "new"])
        || (path.len() == 4
            && canon::starts_with(path, &["tokio", "runtime", "Builder"])
            && name.starts_with("new_"))
}
