//! `crate-edge`: which crate of this workspace may depend on which, and which outside crates stop at which doors.
//!
//! The table knows every crate of the design, built yet or not; a crate it does not know is an error. It holds for
//! normal, build and development dependencies alike: a test that needs what its crate may not see belongs in `e2e`.

use super::{
    finding::{Finding, Position, Rule},
    manifest::{Manifest, Table},
    project::{Edge, Package},
};

/// The crates that hold product code.
const PRODUCT: [&str; 15] = [
    "builtin-models",
    "candlepool",
    "chat-realtime",
    "generation",
    "image-embedding",
    "imaging",
    "kernels",
    "language-model",
    "llava-vision",
    "model-source",
    "nn",
    "pool-core",
    "text-embedding",
    "text-to-image",
    "text-to-text",
];

/// Which workspace crates a crate may depend on: `None` if the table does not know the crate.
fn allowed(krate: &str) -> Option<&'static [&'static str]> {
    Some(match krate {
        "candlepool" => &[
            "builtin-models",
            "chat-realtime",
            "generation",
            "image-embedding",
            "imaging",
            "kernels",
            "language-model",
            "llava-vision",
            "model-source",
            "nn",
            "pool-core",
            "text-embedding",
            "text-to-image",
            "text-to-text",
        ],
        "text-embedding" => &["model-source", "nn", "pool-core"],
        "text-to-text" => &["generation", "language-model", "pool-core"],
        "image-embedding" | "text-to-image" => &["imaging", "model-source", "nn", "pool-core"],
        "llava-vision" => &["generation", "imaging", "language-model", "model-source", "nn", "pool-core"],
        "language-model" => &["generation", "model-source", "nn", "pool-core"],
        "nn" => &["kernels", "pool-core"],
        "model-source" => &["builtin-models", "pool-core"],
        "builtin-models" | "chat-realtime" | "generation" | "imaging" | "kernels" => &["pool-core"],
        "pool-core" | "xtask" => &[],
        // Whole-system tests reach the system through its public face, whichever crate shows it.
        "e2e" => &PRODUCT,
        _ => return None,
    })
}

/// An outside crate and the crates it may not enter, or the only ones it may.
struct Door {
    /// A name, or a prefix where it ends in `-`.
    outside: &'static str,
    admits: fn(krate: &str, table: Table) -> bool,
    why: &'static str,
}

const DOORS: [Door; 9] = [
    Door { outside: "candle-", admits: may_hold_tensors, why: "this crate holds no tensor library" },
    Door { outside: "ndarray", admits: may_hold_tensors, why: "this crate holds no tensor library" },
    Door { outside: "ort", admits: may_hold_tensors, why: "this crate holds no tensor library" },
    Door { outside: "tch", admits: may_hold_tensors, why: "this crate holds no tensor library" },
    Door {
        outside: "anyhow",
        admits: |krate, table| table == Table::Dev || matches!(krate, "candlepool" | "e2e" | "xtask"),
        why: "only the binary, xtask and tests use anyhow; a library has an error type of its own",
    },
    Door { outside: "axum", admits: may_serve_http, why: "only candlepool serves HTTP" },
    Door { outside: "actix-web", admits: may_serve_http, why: "only candlepool serves HTTP" },
    Door { outside: "hyper", admits: may_serve_http, why: "only candlepool serves HTTP" },
    Door { outside: "warp", admits: may_serve_http, why: "only candlepool serves HTTP" },
];

fn may_hold_tensors(krate: &str, _: Table) -> bool {
    !matches!(krate, "builtin-models" | "chat-realtime" | "imaging" | "kernels" | "pool-core")
}

fn may_serve_http(krate: &str, table: Table) -> bool {
    table == Table::Dev || matches!(krate, "candlepool" | "e2e")
}

/// Checks every dependency of every workspace package; `manifest_of` finds a package's parsed manifest, if it lies in
/// the audited tree.
pub(crate) fn check<'m>(
    packages: &[Package],
    manifest_of: impl Fn(&Package) -> Option<&'m Manifest>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(manifest) = manifest_of(package) else {
            continue;
        };
        let Some(allowed) = allowed(&package.name) else {
            let position = manifest.package.as_ref().map_or(Position::START, |(_, position)| *position);
            let message = format!("the crates table does not know `{}`", package.name);
            findings.push(
                Finding::error(Rule::CrateEdge, &manifest.relative, position, message)
                    .with_help("add it to the table of allowed edges together with the architecture page"),
            );
            continue;
        };
        for edge in &package.dependencies {
            let inside =
                packages.iter().any(|other| other.name == edge.to) || self::allowed(&edge.to).is_some();
            let wrong = if inside {
                (edge.to != package.name && !allowed.contains(&edge.to.as_str())).then(|| {
                    format!(
                        "`{}` may not depend on `{}`: {}",
                        package.name,
                        edge.to,
                        list(&package.name, allowed)
                    )
                })
            } else {
                closed_door(&package.name, edge)
                    .map(|why| format!("`{}` may not depend on `{}`: {why}", package.name, edge.to))
            };
            if let Some(message) = wrong {
                findings.push(Finding::error(
                    Rule::CrateEdge,
                    &manifest.relative,
                    place(manifest, edge),
                    message,
                ));
            }
        }
    }
    findings
}

fn closed_door(krate: &str, edge: &Edge) -> Option<&'static str> {
    DOORS
        .iter()
        .filter(|door| {
            if door.outside.ends_with('-') {
                edge.to.starts_with(door.outside)
            } else {
                edge.to == door.outside
            }
        })
        .find(|door| !(door.admits)(krate, edge.table))
        .map(|door| door.why)
}

fn list(krate: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        format!("`{krate}` depends on no crate of the workspace")
    } else {
        format!("of the workspace it may see {}", allowed.join(", "))
    }
}

/// Where the manifest names the dependency.
fn place(manifest: &Manifest, edge: &Edge) -> Position {
    let mut named = manifest.dependencies.iter().filter(|dependency| dependency.key == edge.key);
    let exact = named.clone().find(|dependency| dependency.table == edge.table);
    exact.or_else(|| named.next()).map_or(Position::START, |dependency| dependency.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings for one package with the given dependencies.
    fn findings(package: &str, manifest: &str, edges: &[(&str, Table)]) -> Vec<(usize, String)> {
        let manifest = Manifest::parse("Cargo.toml", manifest).unwrap();
        let edges =
            edges.iter().map(|(to, table)| Edge { to: (*to).into(), key: (*to).into(), table: *table });
        let packages = [Package {
            name: package.into(),
            manifest_path: "Cargo.toml".into(),
            dependencies: edges.collect(),
        }];
        check(&packages, |_| Some(&manifest))
            .into_iter()
            .map(|finding| (finding.position.line, finding.message))
            .collect()
    }

    #[test]
    fn edges_outside_the_table_are_found_at_their_lines() {
        let manifest = "[package]\nname = \"text-embedding\"\n[dependencies]\nnn = { path = \"x\" }\n\
                        text-to-text.path = \"y\"\n[dev-dependencies]\ncandlepool.path = \"z\"\n";
        let found = findings(
            "text-embedding",
            manifest,
            &[("nn", Table::Normal), ("text-to-text", Table::Normal), ("candlepool", Table::Dev)],
        );
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn modalities_share_what_is_below_them_and_never_see_each_other() {
        for (modality, other) in [("text-to-text", "llava-vision"), ("llava-vision", "text-to-text")] {
            let manifest = format!("[package]\nname = \"{modality}\"");
            assert_eq!(findings(modality, &manifest, &[("language-model", Table::Normal)]), []);
            assert_eq!(findings(modality, &manifest, &[(other, Table::Normal)]).len(), 1);
            assert_eq!(findings("language-model", &manifest, &[(modality, Table::Normal)]).len(), 1);
        }
    }

    #[test]
    fn outside_crates_stop_at_their_doors() {
        let cases = [
            ("pool-core", "candle-core", Table::Normal, true),
            ("imaging", "candle-nn", Table::Dev, true),
            ("nn", "candle-core", Table::Normal, false),
            ("text-embedding", "anyhow", Table::Normal, true),
            ("text-embedding", "anyhow", Table::Dev, false),
            ("xtask", "anyhow", Table::Normal, false),
            ("model-source", "axum", Table::Dev, false),
            ("model-source", "axum", Table::Normal, true),
            ("candlepool", "axum", Table::Normal, false),
            ("xtask", "pool-core", Table::Dev, true),
            ("e2e", "text-embedding", Table::Normal, false),
            ("e2e", "xtask", Table::Normal, true),
            ("nn", "tokio", Table::Normal, false),
        ];
        for (krate, to, table, wrong) in cases {
            let found = findings(krate, "[package]\nname = \"x\"", &[(to, table)]);
            assert_eq!(!found.is_empty(), wrong, "{krate} -> {to}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_crate_is_an_error() {
        let found = findings("helpers", "[package]\nname = \"helpers\"", &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 2);
    }

    #[test]
    fn the_table_is_acyclic_and_knows_its_own_crates() {
        for krate in PRODUCT.iter().chain(&["e2e", "xtask"]) {
            let mut open = allowed(krate).unwrap().to_vec();
            while let Some(below) = open.pop() {
                assert_ne!(below, *krate, "{krate} would depend on itself");
                open.extend_from_slice(allowed(below).unwrap());
            }
        }
    }
}
