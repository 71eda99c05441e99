//! The SARIF report against the published schema of SARIF 2.1.0.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{audit_json, fixtures, xtask};

fn sarif(root: &Path) -> Value {
    let output = xtask(&["audit", "--root", root.to_str().unwrap(), "--format", "sarif"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn validator() -> jsonschema::Validator {
    let schema = fs::read_to_string(fixtures().join("sarif/sarif-2.1.0.json")).unwrap();
    let mut schema: Value = serde_json::from_str(&schema).unwrap();
    // Published with an unbalanced bracket in this pattern, which the validator refuses; the report gives no language.
    for holder in ["run", "toolComponent"] {
        schema["definitions"][holder]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    }
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn reports_are_valid() {
    let validator = validator();
    for entry in fs::read_dir(fixtures().join("audit")).unwrap() {
        let rule = entry.unwrap().path();
        for kind in ["fires", "near-miss"].into_iter().filter(|kind| rule.join(kind).is_dir()) {
            let report = sarif(&rule.join(kind));
            let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}/{kind}: {errors:#?}", rule.display());
        }
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let validator = validator();
    let mut report = sarif(&fixtures().join("audit/thread-spawn/fires"));
    assert!(validator.is_valid(&report));
    report["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&report));
}

#[test]
fn results_say_what_the_json_report_says() {
    let root = fixtures().join("audit/excuse/fires");
    let report = sarif(&root);
    let rules = report["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    let results = report["runs"][0]["results"].as_array().unwrap();
    let findings = audit_json(&root, &[]);
    assert_eq!(results.len(), findings.len());
    for (result, finding) in results.iter().zip(&findings) {
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(result["ruleId"], finding["rule"]);
        assert_eq!(result["level"], finding["severity"]);
        assert_eq!(location["artifactLocation"]["uri"], finding["file"]);
        assert_eq!(location["region"]["startLine"], finding["line"]);
        assert_eq!(location["region"]["startColumn"], finding["column"]);
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], finding["rule"]);
    }
}
