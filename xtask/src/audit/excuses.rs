//! Excuses: `// audit: allow(rule) reason` on a line or above it. Few rules may be excused, the reason is mandatory, and
//! how many excuses each rule has is pinned in a file, so that the number may fall unnoticed but never rise.

use std::collections::BTreeMap;

use super::{
    comments,
    finding::{Finding, Position, Rule},
};

/// Where the numbers are pinned, from the root.
pub(crate) const PINS: &str = "xtask/audit-excuses.toml";

/// One excuse.
#[derive(Debug)]
pub(crate) struct Excuse {
    file: String,
    position: Position,
    rule: Rule,
    /// The line it speaks for.
    line: usize,
    used: bool,
}

/// The excuses of a file; what is written wrongly is a finding.
pub(crate) fn read(file: &str, text: &str, skipped: &[(usize, usize)]) -> (Vec<Excuse>, Vec<Finding>) {
    let mut excuses = Vec::new();
    let mut findings = Vec::new();
    let comments = comments::line_comments(text);
    for comment in &comments {
        let Some(words) = comment.text.trim().strip_prefix("audit:") else {
            continue;
        };
        let line = comment.position.line;
        if skipped.iter().any(|(first, last)| (*first..=*last).contains(&line)) {
            continue;
        }
        let wrong = |message: String| Finding::error(Rule::Excuse, file, comment.position, message);
        let parsed = words.trim().strip_prefix("allow(").and_then(|rest| rest.split_once(')'));
        let Some((name, reason)) = parsed else {
            findings.push(wrong(format!(
                "`audit:{words}` is no excuse: it is not of the form `allow(rule) reason`"
            )));
            continue;
        };
        match Rule::named(name.trim()) {
            None => findings.push(wrong(format!("there is no rule `{}`", name.trim()))),
            Some(rule) if !rule.excusable() => {
                let allowed: Vec<&str> =
                    Rule::ALL.iter().filter(|rule| rule.excusable()).map(|rule| rule.name()).collect();
                findings.push(wrong(format!("`{rule}` may not be excused, only {}", allowed.join(", "))));
            }
            Some(rule) if !reason.chars().any(char::is_alphanumeric) => {
                findings.push(wrong(format!("the excuse for `{rule}` gives no reason")));
            }
            Some(rule) => {
                let mut target = line;
                if comment.alone {
                    // It speaks for the next line that is not a comment by itself.
                    target += 1;
                    while comments.iter().any(|other| other.alone && other.position.line == target) {
                        target += 1;
                    }
                }
                excuses.push(Excuse {
                    file: file.to_owned(),
                    position: comment.position,
                    rule,
                    line: target,
                    used: false,
                });
            }
        }
    }
    (excuses, findings)
}

/// Takes out the findings that are excused, and says how many.
pub(crate) fn apply(findings: Vec<Finding>, excuses: &mut [Excuse]) -> (Vec<Finding>, usize) {
    let before = findings.len();
    let left: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| {
            let excuse = excuses.iter_mut().find(|excuse| {
                excuse.rule == finding.rule
                    && excuse.line == finding.position.line
                    && excuse.file == finding.file
            });
            excuse.map(|excuse| excuse.used = true).is_none()
        })
        .collect();
    let excused = before - left.len();
    (left, excused)
}

/// Warns of excuses that excuse nothing, where their rule was looked for.
pub(crate) fn unused(excuses: &[Excuse], is_this_workspace: bool) -> Vec<Finding> {
    excuses
        .iter()
        .filter(|excuse| !excuse.used && (is_this_workspace || excuse.rule != Rule::StrayCompute))
        .map(|excuse| {
            let message = format!("the excuse for `{}` excuses nothing", excuse.rule);
            Finding::error(Rule::Excuse, &excuse.file, excuse.position, message)
                .with_help("remove it")
                .into_warning()
        })
        .collect()
}

/// Compares the numbers of excuses with the pins, each rule absent there pinned to none.
pub(crate) fn check_pins(excuses: &[Excuse], pins: &str) -> Vec<Finding> {
    let pinned: BTreeMap<String, usize> = match toml::from_str(pins) {
        Ok(pinned) => pinned,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let message = format!("not a table of rules and numbers: {}", error.message());
            return vec![Finding::error(Rule::ParseError, PINS, Position::at(pins, offset), message)];
        }
    };
    let mut findings = Vec::new();
    for name in pinned.keys() {
        if !Rule::named(name).is_some_and(Rule::excusable) {
            let message = format!("`{name}` is no rule that may be excused");
            findings.push(Finding::error(Rule::Excuse, PINS, Position::START, message));
        }
    }
    for rule in Rule::ALL.into_iter().filter(|rule| rule.excusable()) {
        let pin = pinned.get(rule.name()).copied().unwrap_or(0);
        let of_rule: Vec<&Excuse> = excuses.iter().filter(|excuse| excuse.rule == rule).collect();
        for excuse in of_rule.iter().skip(pin) {
            let message = format!("{} excuses for `{rule}` where {PINS} pins {pin}", of_rule.len());
            let help = "do without it, or raise the pin in the same change and say why";
            findings
                .push(Finding::error(Rule::Excuse, &excuse.file, excuse.position, message).with_help(help));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: Rule, line: usize) -> Finding {
        Finding::error(rule, "a.rs", Position { line, column: 5 }, "x")
    }

    #[test]
    fn an_excuse_speaks_for_its_line_or_the_next() {
        let text = "f(); // audit: allow(detached-task) ends with the process\n\
                    // audit: allow(unbounded-channel) bounded by its senders,\n\
                    // of which there are two\n\
                    g();\n\
                    // audit: allow(detached-task) for nothing\n\
                    \n\
                    h();\n";
        let (mut excuses, wrong) = read("a.rs", text, &[]);
        assert!(wrong.is_empty());
        let findings = vec![
            finding(Rule::DetachedTask, 1),
            finding(Rule::UnboundedChannel, 1),
            finding(Rule::UnboundedChannel, 4),
            finding(Rule::DetachedTask, 7),
        ];
        let (left, excused) = apply(findings, &mut excuses);
        assert_eq!(excused, 2);
        assert_eq!(left, [finding(Rule::UnboundedChannel, 1), finding(Rule::DetachedTask, 7)]);
        let unused = unused(&excuses, false);
        assert_eq!(unused.len(), 1);
        assert_eq!(unused[0].position.line, 5);
    }

    #[test]
    fn excuses_need_a_rule_that_may_be_excused_and_a_reason() {
        for text in [
            "// audit: allow(block-on) because",
            "// audit: allow(nonsense) because",
            "// audit: allow(detached-task)",
            "// audit: allow(detached-task) --",
            "// audit: allow detached-task because",
        ] {
            let (excuses, wrong) = read("a.rs", text, &[]);
            assert!(excuses.is_empty(), "{text}");
            assert_eq!(wrong.len(), 1, "{text}");
        }
        let (_, wrong) = read("a.rs", "let s = \"// audit: allow(block-on) x\"; // audited elsewhere", &[]);
        assert!(wrong.is_empty());
        let (_, wrong) = read("a.rs", "\n// audit: allow(block-on) x", &[(1, 3)]);
        assert!(wrong.is_empty());
    }

    #[test]
    fn numbers_may_fall_but_not_rise() {
        let text = "// audit: allow(detached-task) one\n1;\n// audit: allow(detached-task) two\n2;\n";
        let (excuses, _) = read("a.rs", text, &[]);
        assert_eq!(check_pins(&excuses, "detached-task = 3\n"), []);
        assert_eq!(check_pins(&excuses, "detached-task = 2\n"), []);
        let risen = check_pins(&excuses, "detached-task = 1\n");
        assert_eq!(risen.len(), 1);
        assert_eq!(risen[0].position.line, 3);
        assert_eq!(check_pins(&excuses, "").len(), 2);
        assert_eq!(check_pins(&[], "block-on = 1").len(), 1);
        assert_eq!(check_pins(&[], "detached-task = -1")[0].rule, Rule::ParseError);
    }
}
