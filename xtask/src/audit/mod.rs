//! `cargo xtask audit`: proves that a tree of Rust code holds none of what would block or outlive its runtime.
//!
//! Files are parsed, so comments and strings never count; every path is resolved through imports, re-exports, aliases and
//! macros to the item it leads to ([`names`]); the walk over the code turns it into events ([`visitor`]); the rules judge
//! those ([`rules`]). Nothing is compiled and nothing in the tree is run.

mod cfg;
mod comments;
mod edges;
mod events;
mod excuses;
mod finding;
mod macros;
mod manifest;
mod names;
mod project;
mod report;
#[cfg(test)]
mod robustness;
mod rules;
mod scope;
mod source;
mod visitor;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, bail};

use self::{
    events::Events,
    finding::{Finding, Rule, Severity},
    manifest::Manifest,
    names::graph::Graph,
    project::Project,
    report::Format,
    rules::Context,
    source::Source,
    visitor::Visitor,
};

/// The exit status of wrong usage.
const USAGE: u8 = 2;

/// Bytes; only what is used is ever backed by memory.
const DEEP_STACK: usize = 256 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cargo workspace or folder of Rust files to audit [default: this workspace]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The form of the report on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Audit tests, benches and examples too
    #[arg(long)]
    include_tests: bool,
}

/// Audits and prints the report: 1 on any error, 2 on wrong usage.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = match args.root {
        Some(root) => root,
        None => crate::python::workspace_root(),
    };
    let root = match root.canonicalize() {
        Ok(canonical) if canonical.is_dir() => canonical,
        Ok(_) => return Ok(usage(&format!("--root {}: not a folder", root.display()))),
        Err(error) => return Ok(usage(&format!("--root {}: {error}", root.display()))),
    };
    let audit = on_deep_stack(|| Audit::of(&root, args.include_tests))?;
    print(&report::render(args.format, &audit.findings)?)?;
    let count = |severity| audit.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if args.format == Format::Text {
        eprintln!(
            "audited {} files: {errors} errors, {warnings} warnings, {} excused",
            audit.files, audit.excused
        );
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Parser and walk recurse as deep as the code is nested, which no code of other people's is bound to keep shallow.
fn on_deep_stack(audit: impl FnOnce() -> anyhow::Result<Audit> + Send) -> anyhow::Result<Audit> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(DEEP_STACK).spawn_scoped(scope, audit);
        let thread = thread.context("cannot start the thread that audits")?;
        thread
            .join()
            .unwrap_or_else(|_| bail!("the audit itself failed; please report the code that it failed on"))
    })
}

fn usage(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(USAGE)
}

/// A reader that has seen enough is no error.
fn print(report: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(report.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// What an audit came to.
#[derive(Debug)]
struct Audit {
    /// Sorted.
    findings: Vec<Finding>,
    files: usize,
    excused: usize,
}

impl Audit {
    fn of(root: &Path, include_tests: bool) -> anyhow::Result<Self> {
        let listing = source::list(root, include_tests)?;
        let mut findings = Vec::new();
        let mut manifests: Vec<(PathBuf, Manifest)> = Vec::new();
        for listed in listing.manifests {
            let text = fs::read(&listed.path).with_context(|| format!("cannot read {}", listed.relative))?;
            match Manifest::parse(&listed.relative, &String::from_utf8_lossy(&text)) {
                Ok(manifest) => {
                    manifests
                        .push((listed.path.parent().map(Path::to_path_buf).unwrap_or_default(), manifest));
                }
                Err(finding) => findings.push(finding),
            }
        }
        let project = Project::load(root, &manifests);
        let sources =
            listing.sources.into_iter().map(Source::read).collect::<anyhow::Result<Vec<Source>>>()?;
        let graph = Graph::build(&sources, &project.targets, include_tests);
        let (events, excuses_and_errors) = walk(&sources, &graph, include_tests);
        let (mut excuses, wrong) = excuses_and_errors;
        findings.extend(wrong);

        let is_this_workspace = project.is_this_workspace;
        findings.extend(rules::check(&Context {
            sources: &sources,
            graph: &graph,
            events: &events,
            is_this_workspace,
        }));
        let workspace = workspace_manifest(&project, &manifests);
        for (_, manifest) in &manifests {
            findings.extend(manifest::check(manifest, workspace));
        }
        if is_this_workspace {
            findings.extend(edges::check(&project.packages, |package| {
                let folder = package.manifest_path.parent()?;
                manifests.iter().find(|(of, _)| of == folder).map(|(_, manifest)| manifest)
            }));
        }
        findings.sort();
        findings.dedup_by(|next, kept| {
            (next.rule, &next.file, next.position) == (kept.rule, &kept.file, kept.position)
        });
        let (mut findings, excused) = excuses::apply(findings, &mut excuses);
        findings.extend(excuses::unused(&excuses, is_this_workspace));
        // A part of this workspace is held to the pins of the whole.
        let pinned_at = project.workspace_root.as_deref().filter(|_| is_this_workspace).unwrap_or(root);
        match fs::read_to_string(pinned_at.join(excuses::PINS)) {
            Ok(pins) => findings.extend(excuses::check_pins(&excuses, &pins)),
            // Another tree has no pins; this one must.
            Err(_) if is_this_workspace => findings.extend(excuses::check_pins(&excuses, "")),
            Err(_) => {}
        }
        findings.sort();
        Ok(Self { findings, files: sources.len(), excused })
    }
}

/// Turns every file that is audited into events, and collects its excuses.
fn walk(
    sources: &[Source],
    graph: &Graph,
    include_tests: bool,
) -> (Events, (Vec<excuses::Excuse>, Vec<Finding>)) {
    let mut events = Events::default();
    let mut all_excuses = Vec::new();
    let mut findings = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        if !include_tests && graph.test_files.contains(&file) {
            continue;
        }
        match &source.ast {
            Ok(ast) => {
                if let Some(module) = graph.module_of_file.get(&file) {
                    Visitor::walk(graph, &mut events, include_tests, file, *module, ast);
                }
                let skipped = events.skipped.get(&file).map(Vec::as_slice).unwrap_or_default();
                let (excuses, wrong) = excuses::read(&source.relative, &source.text, skipped);
                all_excuses.extend(excuses);
                findings.extend(wrong);
            }
            Err((position, message)) => {
                findings.push(Finding::error(Rule::ParseError, &source.relative, *position, message.clone()));
            }
        }
    }
    (events, (all_excuses, findings))
}

/// The manifest whose `workspace.dependencies` the others inherit.
fn workspace_manifest<'m>(project: &Project, manifests: &'m [(PathBuf, Manifest)]) -> Option<&'m Manifest> {
    let at_root =
        project.workspace_root.as_ref().and_then(|root| manifests.iter().find(|(folder, _)| folder == root));
    at_root
        .or_else(|| manifests.iter().find(|(_, manifest)| manifest.is_workspace))
        .map(|(_, manifest)| manifest)
}
