//! What a `Cargo.toml` says: its package, its targets' paths and its dependencies with their places.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::finding::{Finding, Position, Rule};

/// A parsed manifest.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// Relative to the root, with forward slashes.
    pub(crate) relative: String,
    /// `package.name` and its place.
    pub(crate) package: Option<(String, Position)>,
    pub(crate) is_workspace: bool,
    /// `lib.path`, `lib.name`.
    pub(crate) lib_path: Option<String>,
    pub(crate) lib_name: Option<String>,
    /// `path` of each `[[bin]]`.
    pub(crate) bin_paths: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// Which table a dependency stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Normal,
    Dev,
    Build,
    /// `workspace.dependencies`.
    Workspace,
}

/// One dependency as written.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The name in the table.
    pub(crate) key: String,
    /// `package = "..."`.
    pub(crate) package: Option<String>,
    /// `workspace = true`.
    pub(crate) inherits: bool,
    pub(crate) table: Table,
    pub(crate) position: Position,
}

impl Dependency {
    /// The package it means, where the workspace's own table is known.
    pub(crate) fn package<'a>(&'a self, workspace: Option<&'a Manifest>) -> &'a str {
        if let Some(package) = &self.package {
            return package;
        }
        if self.inherits
            && let Some(inherited) = workspace.and_then(|workspace| {
                let mut own = workspace.dependencies.iter();
                own.find(|dependency| dependency.table == Table::Workspace && dependency.key == self.key)
            })
            && let Some(package) = &inherited.package
        {
            return package;
        }
        &self.key
    }
}

impl Manifest {
    /// Parses a manifest; a finding says where and why it does not.
    pub(crate) fn parse(relative: &str, text: &str) -> Result<Self, Finding> {
        let document = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Finding::error(Rule::ParseError, relative, Position::at(text, offset), error.message().to_owned())
        })?;
        let document = document.get_ref();
        let mut manifest = Self { relative: relative.to_owned(), ..Self::default() };
        if let Some(package) = table(document, "package").or_else(|| table(document, "project")) {
            manifest.package = entry(package, "name").and_then(|(key, value)| {
                Some((value.as_str()?.to_owned(), Position::at(text, key.span().start)))
            });
        }
        if let Some(lib) = table(document, "lib") {
            manifest.lib_path = string(lib, "path");
            manifest.lib_name = string(lib, "name");
        }
        if let Some((_, DeValue::Array(bins))) = entry(document, "bin") {
            manifest.bin_paths =
                bins.iter().filter_map(|bin| string(bin.get_ref().as_table()?, "path")).collect();
        }
        manifest.add_dependencies(text, document);
        if let Some(targets) = table(document, "target") {
            for target in targets.values().filter_map(|target| target.get_ref().as_table()) {
                manifest.add_dependencies(text, target);
            }
        }
        if let Some(workspace) = table(document, "workspace") {
            manifest.is_workspace = true;
            if let Some(dependencies) = table(workspace, "dependencies") {
                manifest.add_table(text, dependencies, Table::Workspace);
            }
        }
        Ok(manifest)
    }

    fn add_dependencies(&mut self, text: &str, of: &DeTable<'_>) {
        for (name, kind) in [
            ("dependencies", Table::Normal),
            ("dev-dependencies", Table::Dev),
            ("dev_dependencies", Table::Dev),
            ("build-dependencies", Table::Build),
            ("build_dependencies", Table::Build),
        ] {
            if let Some(dependencies) = table(of, name) {
                self.add_table(text, dependencies, kind);
            }
        }
    }

    fn add_table(&mut self, text: &str, dependencies: &DeTable<'_>, kind: Table) {
        for (key, value) in dependencies {
            let details = value.get_ref().as_table();
            self.dependencies.push(Dependency {
                key: key.get_ref().to_string(),
                package: details.and_then(|details| string(details, "package")),
                inherits: details
                    .and_then(|details| entry(details, "workspace"))
                    .is_some_and(|(_, value)| value.as_bool() == Some(true)),
                table: kind,
                position: Position::at(text, key.span().start),
            });
        }
    }
}

fn entry<'t, 'i>(
    of: &'t DeTable<'i>,
    name: &str,
) -> Option<(&'t Spanned<toml::de::DeString<'i>>, &'t DeValue<'i>)> {
    of.iter().find(|(key, _)| key.get_ref() == name).map(|(key, value)| (key, value.get_ref()))
}

fn table<'t, 'i>(of: &'t DeTable<'i>, name: &str) -> Option<&'t DeTable<'i>> {
    entry(of, name)?.1.as_table()
}

fn string(of: &DeTable<'_>, name: &str) -> Option<String> {
    Some(entry(of, name)?.1.as_str()?.to_owned())
}

/// The crates a manifest may not name, and the rule that says so.
const FORBIDDEN: [(&str, Rule); 4] = [
    ("crossbeam-channel", Rule::CrossbeamChannel),
    ("flume", Rule::SyncChannel),
    ("async-channel", Rule::SyncChannel),
    ("kanal", Rule::SyncChannel),
];

/// Finds dependencies on forbidden channels.
pub(crate) fn check(manifest: &Manifest, workspace: Option<&Manifest>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in &manifest.dependencies {
        let package = dependency.package(workspace).replace('_', "-");
        if let Some((_, rule)) = FORBIDDEN.iter().find(|(name, _)| *name == package) {
            let renamed =
                if dependency.key == package { String::new() } else { format!(" as `{}`", dependency.key) };
            findings.push(Finding::error(
                *rule,
                &manifest.relative,
                dependency.position,
                format!("depends on `{package}`{renamed}"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read() {
        let text = r#"
[workspace.dependencies]
chan = { package = "crossbeam-channel", version = "0.5" }
[package]
name = "p"
[dependencies]
crossbeam = "0.8"
chan.workspace = true
[dev-dependencies]
flume = "0.11"
[target.'cfg(unix)'.build-dependencies.pipes]
package = "kanal"
version = "0.1"
"#;
        let manifest = Manifest::parse("Cargo.toml", text).unwrap();
        let found: Vec<(usize, usize, Rule)> = check(&manifest, Some(&manifest))
            .iter()
            .map(|finding| (finding.position.line, finding.position.column, finding.rule))
            .collect();
        let expected = [
            (8, 1, Rule::CrossbeamChannel),
            (10, 1, Rule::SyncChannel),
            (11, 40, Rule::SyncChannel),
            (3, 1, Rule::CrossbeamChannel),
        ];
        assert_eq!(found, expected);
        assert_eq!(manifest.package, Some(("p".to_owned(), Position { line: 5, column: 1 })));
    }

    #[test]
    fn a_broken_manifest_is_a_parse_error() {
        let finding = Manifest::parse("Cargo.toml", "[package\nname = 1").unwrap_err();
        assert_eq!(finding.rule, Rule::ParseError);
        assert_eq!(finding.position.line, 1);
    }
}
