//! `foreign-select`: `select!` and `select_biased!` of any crate but tokio. Functions called `select` are none.

use super::Context;
use crate::audit::{
    finding::{Finding, Rule},
    names::canon,
};

const NAMES: [&str; 2] = ["select", "select_biased"];

/// Macros that an import can only mean.
const IMPORTED: [&[&str]; 6] = [
    &["crossbeam", "select"],
    &["crossbeam_channel", "select"],
    &["crossbeam_channel", "select_biased"],
    &["futures", "select"],
    &["futures", "select_biased"],
    &["futures", "select_macro", "select"],
];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let invoked = context.events.macros.iter().filter(|invoked| is_foreign(&invoked.canon)).map(|invoked| {
        let message = format!("`{}!` is not tokio's", canon::show(&invoked.canon));
        context.finding(Rule::ForeignSelect, invoked.at, message)
    });
    let imported = context.events.paths.iter().filter(|path| {
        path.parent.is_some() && IMPORTED.iter().any(|imported| canon::is(&path.canon, imported))
    });
    let imported = imported.map(|path| {
        let message = format!("`{}!` is not tokio's", canon::show(&path.canon));
        context.finding(Rule::ForeignSelect, path.at, message)
    });
    invoked.chain(imported).collect()
}

fn is_foreign(path: &[String]) -> bool {
    let Some(name) = path.last() else { return false };
    // `futures::future::select` and `futures::stream::select` are functions: the macro of that name is another's.
    let is_function =
        ["future", "stream"].iter().any(|module| canon::starts_with(path, &["futures", module]));
    NAMES.contains(&name.as_str())
        && path.len() > 1
        && !canon::is_local(path)
        && !canon::starts_with(path, &["tokio"])
        && !is_function
}
