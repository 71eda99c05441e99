//! The crates and modules of the audited tree, and what is known of the types in them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{
    Names,
    canon::{self, Canon},
    resolve::Globs,
};
use crate::audit::finding::Position;

/// What a crate is built into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CrateKind {
    Library,
    Binary,
    BuildScript,
    /// Tests, benches and examples.
    Test,
}

/// One crate of the tree.
#[derive(Debug)]
pub(crate) struct Crate {
    /// The name in paths.
    pub(crate) name: String,
    pub(crate) kind: CrateKind,
    /// Its root module.
    pub(crate) root: usize,
    /// Names that its manifest gives to other crates, and theirs.
    pub(crate) renames: HashMap<String, String>,
    /// Crates whose macros are in scope everywhere.
    pub(crate) macro_use: Vec<String>,
    /// Files beside its modules that no `mod` declares are taken for its own.
    pub(super) adopts: bool,
}

/// One module of the tree.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) krate: usize,
    pub(crate) parent: Option<usize>,
    /// From the crate's root.
    pub(crate) path: Vec<String>,
    pub(crate) names: Names,
    /// Inline modules, by the place of their names.
    pub(crate) inline: HashMap<(usize, Position), usize>,
    /// Where its glob imports lead.
    pub(super) glob_targets: RefCell<Globs>,
    /// Where the files of its child modules lie.
    pub(super) child_folder: PathBuf,
}

/// All crates and modules, and what the audit knows of types in them.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) crates: Vec<Crate>,
    pub(crate) modules: Vec<Module>,
    /// Library crates by their names in paths.
    pub(crate) roots_by_name: HashMap<String, usize>,
    /// The module that each file is.
    pub(crate) module_of_file: HashMap<usize, usize>,
    /// Files that only tests reach.
    pub(crate) test_files: HashSet<usize>,
    /// What a function returns, by its canonical path.
    pub(super) returns: HashMap<Canon, Canon>,
    /// What a field holds, by its type's canonical path and its name.
    pub(super) fields: HashMap<(Canon, String), Canon>,
}

impl Graph {
    /// The root module of a module's crate.
    pub(crate) fn root_of(&self, module: usize) -> usize {
        self.crates[self.modules[module].krate].root
    }

    /// The crate of a module.
    pub(crate) fn crate_of(&self, module: usize) -> &Crate {
        &self.crates[self.modules[module].krate]
    }

    pub(crate) fn module_canon(&self, module: usize) -> Canon {
        let module = &self.modules[module];
        let mut canon = vec![canon::local_root(module.krate)];
        canon.extend_from_slice(&module.path);
        canon
    }

    /// What a function of the tree returns.
    pub(crate) fn returned_by(&self, function: &[String]) -> Option<&Canon> {
        self.returns.get(function)
    }

    /// What a field of a type of the tree holds.
    pub(crate) fn field_type(&self, of: &[String], field: &str) -> Option<&Canon> {
        self.fields.get(&(of.to_vec(), field.to_owned()))
    }
}
