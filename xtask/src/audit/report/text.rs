//! `file:line:column: severity[rule]: message`, then what to do.

use std::fmt::Write;

use crate::audit::finding::Finding;

pub(super) fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let Finding { file, position, rule, severity, message, help } = finding;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{file}:{line}:{column}: {severity}[{rule}]: {message}\n    help: {help}",
            line = position.line,
            column = position.column,
            severity = severity.name(),
        );
    }
    out
}
