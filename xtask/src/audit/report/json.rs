//! An array of objects, one a finding.

use serde::Serialize;

use crate::audit::finding::Finding;

#[derive(Serialize)]
struct Row<'a> {
    rule: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    help: &'a str,
    severity: &'a str,
}

pub(super) fn render(findings: &[Finding]) -> serde_json::Result<String> {
    let rows: Vec<Row<'_>> = findings
        .iter()
        .map(|finding| Row {
            rule: finding.rule.name(),
            file: &finding.file,
            line: finding.position.line,
            column: finding.position.column,
            message: &finding.message,
            help: &finding.help,
            severity: finding.severity.name(),
        })
        .collect();
    Ok(serde_json::to_string_pretty(&rows)? + "\n")
}
