//! SARIF 2.1.0: one run, every rule described, one result a finding.

use serde_json::{Value, json};

use crate::audit::finding::{Finding, Rule};

pub(super) fn render(findings: &[Finding]) -> String {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.name(),
                "shortDescription": { "text": rule.summary() },
                "help": { "text": rule.help() },
                "defaultConfiguration": { "level": "error" },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cargo xtask audit",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": { "ROOT": { "description": { "text": "The folder that was audited." } } },
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn result(finding: &Finding) -> Value {
    json!({
        "ruleId": finding.rule.name(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == finding.rule),
        "level": finding.severity.name(),
        "message": { "text": format!("{}; {}", finding.message, finding.help) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": relative_uri(&finding.file), "uriBaseId": "ROOT" },
            "region": { "startLine": finding.position.line, "startColumn": finding.position.column },
        } }],
    })
}

/// A relative path as a URI reference: RFC 3986's unreserved characters and `/` stay, the rest is percent-encoded.
fn relative_uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::relative_uri;

    #[test]
    fn uris_escape_what_is_not_allowed_in_them() {
        assert_eq!(relative_uri("a b/é%.rs"), "a%20b/%C3%A9%25.rs");
        assert_eq!(relative_uri("crates/pool-core/src/lib.rs"), "crates/pool-core/src/lib.rs");
    }
}
