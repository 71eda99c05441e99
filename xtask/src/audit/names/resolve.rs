//! Where a path leads: through the blocks around it, its module, the modules of its crate and of the other crates of
//! the tree, to an item of the tree or out of it. Alternatives under different `cfg`s are all followed.

use std::{collections::HashSet, rc::Rc};

use super::{
    Entry, Names, Namespace, Written,
    canon::{self, Canon, FORBIDDEN_CRATES},
    graph::Graph,
};
use crate::audit::scope::Frame;

/// Where the names of a path are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) module: usize,
    /// The blocks around the path, innermost last.
    pub(crate) frames: &'a [Frame],
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Module(usize),
    Path(Canon),
}

/// Names already looked up on the way, by module (or block, counted down from the top): it breaks cycles of imports.
type Seen = HashSet<(usize, String)>;

/// Where a module's glob imports lead, found once.
#[derive(Debug, Default)]
pub(crate) enum Globs {
    #[default]
    Unknown,
    /// Being found: a circle of globs gives nothing the second time.
    Open,
    Known(Rc<[Target]>),
}

impl Graph {
    /// The canonical paths that a path may lead to: none where its name is unknown.
    pub(crate) fn resolve(&self, site: Site<'_>, written: &Written, namespace: Namespace) -> Vec<Canon> {
        self.canons(self.targets(site, written, namespace, false, &mut Seen::new()))
    }

    /// The same for a path in a `use` item, where a lone name may be a crate and any namespace counts.
    pub(crate) fn resolve_import(&self, site: Site<'_>, written: &Written) -> Vec<Canon> {
        let mut canons = Vec::new();
        for namespace in [Namespace::Type, Namespace::Value, Namespace::Macro] {
            for canon in self.canons(self.targets(site, written, namespace, true, &mut Seen::new())) {
                if !canons.contains(&canon) {
                    canons.push(canon);
                }
            }
        }
        canons
    }

    fn canons(&self, targets: Vec<Target>) -> Vec<Canon> {
        let mut canons: Vec<Canon> = Vec::with_capacity(targets.len());
        for target in targets {
            let canon = match target {
                Target::Module(module) => self.module_canon(module),
                Target::Path(canon) => canon,
            };
            if !canons.contains(&canon) {
                canons.push(canon);
            }
        }
        canons
    }

    fn targets(
        &self,
        site: Site<'_>,
        written: &Written,
        namespace: Namespace,
        import: bool,
        seen: &mut Seen,
    ) -> Vec<Target> {
        let Some((first, rest)) = written.segments.split_first() else {
            return Vec::new();
        };
        if written.absolute {
            return self.in_crate(site.module, first, rest, namespace, seen);
        }
        match first.as_str() {
            "crate" => return self.walk(self.root_of(site.module), rest, namespace, seen),
            "self" if import || !rest.is_empty() => return self.walk(site.module, rest, namespace, seen),
            "super" => {
                let Some(parent) = self.modules[site.module].parent else {
                    return Vec::new();
                };
                return self.walk(parent, rest, namespace, seen);
            }
            "Self" => {
                let own = site.frames.iter().rev().find_map(|frame| frame.self_type.as_ref());
                return own.map_or_else(Vec::new, |own| vec![Target::Path([own.as_slice(), rest].concat())]);
            }
            _ => {}
        }
        let first_namespace = if rest.is_empty() { namespace } else { Namespace::Type };
        let mut hits = self.in_scope(site, first, first_namespace, seen);
        if hits.is_empty() && first_namespace == Namespace::Macro {
            hits = self.textual_macro(site.module, first);
        }
        if !hits.is_empty() {
            return self.extend(hits, rest, namespace, seen);
        }
        if import || !rest.is_empty() {
            self.in_crate(site.module, first, rest, namespace, seen)
        } else {
            Vec::new()
        }
    }

    /// The first name of a path: in the blocks from the inside out, then in the module.
    fn in_scope(&self, site: Site<'_>, name: &str, namespace: Namespace, seen: &mut Seen) -> Vec<Target> {
        for (depth, frame) in site.frames.iter().enumerate().rev() {
            let block = Site { module: site.module, frames: &site.frames[..=depth] };
            let hits = self.in_names(&frame.names, usize::MAX - depth, block, name, namespace, seen);
            if !hits.is_empty() || frame.module_barrier {
                return hits;
            }
        }
        self.in_module(site.module, name, namespace, seen)
    }

    fn in_module(&self, module: usize, name: &str, namespace: Namespace, seen: &mut Seen) -> Vec<Target> {
        let site = Site { module, frames: &[] };
        self.in_names(&self.modules[module].names, module, site, name, namespace, seen)
    }

    fn in_names(
        &self,
        names: &Names,
        key: usize,
        site: Site<'_>,
        name: &str,
        namespace: Namespace,
        seen: &mut Seen,
    ) -> Vec<Target> {
        if !seen.insert((key, name.to_owned())) {
            return Vec::new();
        }
        let mut hits = Vec::new();
        let here = || {
            let mut canon = self.module_canon(site.module);
            canon.push(name.to_owned());
            Target::Path(canon)
        };
        for entry in names.entries(name) {
            match entry {
                Entry::Module(module) if namespace == Namespace::Type => hits.push(Target::Module(*module)),
                Entry::Item(declared) if *declared == namespace => hits.push(here()),
                Entry::Parameter if namespace == Namespace::Type => {
                    hits.push(Target::Path(vec![format!("?{name}")]));
                }
                Entry::Alias(path) if namespace == Namespace::Type => {
                    let aliased = self.targets(site, path, namespace, false, seen);
                    if aliased.is_empty() {
                        hits.push(here());
                    }
                    hits.extend(aliased);
                }
                Entry::Import(path) => hits.extend(self.targets(site, path, namespace, true, seen)),
                _ => {}
            }
        }
        if !hits.is_empty() {
            return hits;
        }
        if names.globs().is_empty() {
            return hits;
        }
        for target in self.globs(names, key, site, seen).iter() {
            match target {
                Target::Module(module) => hits.extend(self.in_module(*module, name, namespace, seen)),
                Target::Path(path) if !canon::is_local(path) => {
                    let path = canon::normalise([path.as_slice(), &[name.to_owned()]].concat());
                    if canon::is_known(&path) {
                        hits.push(Target::Path(path));
                    }
                }
                Target::Path(_) => {}
            }
        }
        hits
    }

    /// Where the glob imports of a module or block lead.
    fn globs(&self, names: &Names, key: usize, site: Site<'_>, seen: &mut Seen) -> Rc<[Target]> {
        let find = |seen: &mut Seen| -> Rc<[Target]> {
            names
                .globs()
                .iter()
                .flat_map(|glob| self.targets(site, glob, Namespace::Type, true, seen))
                .collect()
        };
        let Some(cell) = self.modules.get(key).map(|module| &module.glob_targets) else {
            return find(seen);
        };
        match &*cell.borrow() {
            Globs::Known(targets) => return Rc::clone(targets),
            Globs::Open => return Rc::new([]),
            Globs::Unknown => {}
        }
        cell.replace(Globs::Open);
        let targets = find(&mut Seen::new());
        cell.replace(Globs::Known(Rc::clone(&targets)));
        targets
    }

    /// Macros reach modules below them by text order, and a whole crate by `#[macro_use] extern crate`.
    fn textual_macro(&self, module: usize, name: &str) -> Vec<Target> {
        let mut above = self.modules[module].parent;
        while let Some(ancestor) = above {
            if self.modules[ancestor].names.declares_macro(name) {
                let mut canon = self.module_canon(ancestor);
                canon.push(name.to_owned());
                return vec![Target::Path(canon)];
            }
            above = self.modules[ancestor].parent;
        }
        self.crates[self.modules[module].krate]
            .macro_use
            .iter()
            .map(|krate| canon::normalise(vec![krate.clone(), name.to_owned()]))
            .filter(|canon| canon::is_known(canon))
            .map(Target::Path)
            .collect()
    }

    /// What lies below the targets.
    fn extend(
        &self,
        targets: Vec<Target>,
        rest: &[String],
        namespace: Namespace,
        seen: &mut Seen,
    ) -> Vec<Target> {
        if rest.is_empty() {
            return targets;
        }
        let mut hits = Vec::new();
        for target in targets {
            match target {
                Target::Module(module) => hits.extend(self.walk(module, rest, namespace, seen)),
                Target::Path(mut path) => {
                    path.extend_from_slice(rest);
                    hits.push(Target::Path(if canon::is_local(&path) {
                        path
                    } else {
                        canon::normalise(path)
                    }));
                }
            }
        }
        hits
    }

    /// A path inside a module of the tree.
    fn walk(&self, module: usize, path: &[String], namespace: Namespace, seen: &mut Seen) -> Vec<Target> {
        let Some((name, rest)) = path.split_first() else {
            return vec![Target::Module(module)];
        };
        match name.as_str() {
            "self" => return self.walk(module, rest, namespace, seen),
            "super" => {
                let parent = self.modules[module].parent;
                return parent.map_or_else(Vec::new, |parent| self.walk(parent, rest, namespace, seen));
            }
            _ => {}
        }
        if seen.contains(&(module, name.clone())) {
            return Vec::new();
        }
        let first_namespace = if rest.is_empty() { namespace } else { Namespace::Type };
        let hits = self.in_module(module, name, first_namespace, seen);
        if hits.is_empty() {
            // Declared in another namespace, it is not what was asked for; declared nowhere, a macro may make it.
            if !self.modules[module].names.entries(name).is_empty() {
                return Vec::new();
            }
            let mut canon = self.module_canon(module);
            canon.extend_from_slice(path);
            return vec![Target::Path(canon)];
        }
        self.extend(hits, rest, namespace, seen)
    }

    /// A path whose first segment is the name of a crate.
    fn in_crate(
        &self,
        module: usize,
        name: &str,
        rest: &[String],
        namespace: Namespace,
        seen: &mut Seen,
    ) -> Vec<Target> {
        let krate = &self.crates[self.modules[module].krate];
        // `extern crate a as b;` at the root names the crate everywhere.
        let declared = self.modules[krate.root].names.entries(name).iter().find_map(|entry| match entry {
            Entry::Import(path) if path.absolute && path.segments.len() == 1 => path.segments.first(),
            _ => None,
        });
        let name = declared.map_or(name, String::as_str);
        let name = krate.renames.get(name).map_or(name, String::as_str);
        if !FORBIDDEN_CRATES.contains(&name)
            && let Some(root) = self.roots_by_name.get(name)
        {
            return self.walk(*root, rest, namespace, seen);
        }
        let mut path = vec![name.to_owned()];
        path.extend_from_slice(rest);
        vec![Target::Path(canon::normalise(path))]
    }
}
