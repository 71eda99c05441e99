//! Builds the graph: follows `mod` declarations from the crates' root files, collects what each module declares, and
//! attaches the files that no declaration reaches.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
};

use syn::{Item, ext::IdentExt as _};

use super::{
    Entry, Names, Namespace, Written,
    graph::{Crate, CrateKind, Graph, Module},
    resolve::Site,
};
use crate::audit::{cfg, finding::Position, macros, project::Target, source::Source};

impl Graph {
    /// Follows the modules of all targets, libraries first, and then attaches the files that none reaches.
    pub(crate) fn build(sources: &[Source], targets: &[Target], include_tests: bool) -> Self {
        let mut builder = Builder {
            graph: Self::default(),
            sources,
            by_path: sources.iter().enumerate().map(|(file, source)| (source.path.as_path(), file)).collect(),
            include_tests,
            signatures: Vec::new(),
            field_types: Vec::new(),
        };
        let mut ordered: Vec<&Target> = targets.iter().collect();
        ordered.sort_by_key(|target| target.kind);
        for target in ordered {
            if let Some(file) = builder.by_path.get(target.root.as_path()).copied() {
                builder.add_crate(target, file);
            }
        }
        builder.add_orphans(targets);
        builder.finish()
    }
}

struct Signature {
    module: usize,
    /// The type of the `impl` around it.
    of: Option<Written>,
    name: String,
    returns: Written,
}

struct FieldType {
    module: usize,
    of: String,
    name: String,
    holds: Written,
}

struct Builder<'a> {
    graph: Graph,
    sources: &'a [Source],
    by_path: HashMap<&'a Path, usize>,
    include_tests: bool,
    signatures: Vec<Signature>,
    field_types: Vec<FieldType>,
}

/// Where the items being collected stand.
#[derive(Clone, Copy)]
struct Place {
    module: usize,
    file: usize,
    test: bool,
    /// Directly in a file, not in an inline module of it.
    top: bool,
}

impl Builder<'_> {
    fn add_crate(&mut self, target: &Target, file: usize) {
        let krate = self.graph.crates.len();
        let folder = self.sources[file].path.parent().map(Path::to_path_buf).unwrap_or_default();
        let known = self.graph.module_of_file.get(&file).copied();
        let root = known.unwrap_or(self.graph.modules.len());
        self.graph.crates.push(Crate {
            name: target.name.clone(),
            kind: target.kind,
            root,
            renames: target.renames.clone(),
            macro_use: Vec::new(),
            adopts: target.adopts,
        });
        if target.kind == CrateKind::Library {
            self.graph.roots_by_name.entry(target.name.clone()).or_insert(root);
        }
        if known.is_none() {
            self.add_file(file, krate, None, Vec::new(), folder, target.kind == CrateKind::Test);
        }
    }

    fn add_file(
        &mut self,
        file: usize,
        krate: usize,
        parent: Option<usize>,
        path: Vec<String>,
        child_folder: PathBuf,
        test: bool,
    ) -> usize {
        let module = self.add_module(krate, parent, path, child_folder);
        self.graph.module_of_file.insert(file, module);
        let sources = self.sources;
        if let Ok(ast) = &sources[file].ast {
            let test = test || cfg::is_test_only(&ast.attrs);
            if test {
                self.graph.test_files.insert(file);
            }
            self.collect(&ast.items, Place { module, file, test, top: true });
        } else if test {
            self.graph.test_files.insert(file);
        }
        module
    }

    fn add_module(
        &mut self,
        krate: usize,
        parent: Option<usize>,
        path: Vec<String>,
        child_folder: PathBuf,
    ) -> usize {
        self.graph.modules.push(Module {
            krate,
            parent,
            path,
            names: Names::default(),
            inline: HashMap::new(),
            glob_targets: RefCell::default(),
            child_folder,
        });
        self.graph.modules.len() - 1
    }

    fn collect(&mut self, items: &[Item], place: Place) {
        for item in items {
            let test = place.test || cfg::is_test_only(cfg::item_attributes(item));
            let place = Place { test, ..place };
            if let Item::Mod(module) = item {
                self.add_child(module, place);
                continue;
            }
            if test && !self.include_tests {
                continue;
            }
            match item {
                Item::Macro(item) if item.ident.is_none() => {
                    let items = macros::items_within(&item.mac.tokens);
                    self.collect(&items, place);
                }
                Item::ExternCrate(item)
                    if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_use")) =>
                {
                    let krate = self.graph.modules[place.module].krate;
                    self.graph.crates[krate].macro_use.push(item.ident.unraw().to_string());
                }
                _ => {}
            }
            self.graph.modules[place.module].names.collect(item, true);
            self.note_types(item, place.module);
        }
    }

    fn add_child(&mut self, item: &syn::ItemMod, place: Place) {
        let name = item.ident.unraw().to_string();
        let parent = &self.graph.modules[place.module];
        let krate = parent.krate;
        let mut path = parent.path.clone();
        path.push(name.clone());
        let folder = parent.child_folder.clone();
        let explicit = path_attribute(&item.attrs);
        let child = if let Some((_, items)) = &item.content {
            let child_folder = folder.join(explicit.as_deref().unwrap_or(&name));
            let child = self.add_module(krate, Some(place.module), path, child_folder);
            let key = (place.file, Position::of(item.ident.span()));
            self.graph.modules[place.module].inline.insert(key, child);
            self.collect(items, Place { module: child, top: false, ..place });
            Some(child)
        } else {
            self.file_of_child(&name, explicit.as_deref(), &folder, place).map(|(file, child_folder)| {
                match self.graph.module_of_file.get(&file) {
                    Some(known) => *known,
                    None => self.add_file(file, krate, Some(place.module), path, child_folder, place.test),
                }
            })
        };
        // A module whose file is not in the tree is still a module, not a crate of that name.
        let entry = child.map_or(Entry::Item(Namespace::Type), Entry::Module);
        if !place.test || self.include_tests {
            self.graph.modules[place.module].names.declare(name, entry);
        }
    }

    /// The file of `mod name;`, and where its own children lie.
    fn file_of_child(
        &self,
        name: &str,
        explicit: Option<&str>,
        folder: &Path,
        place: Place,
    ) -> Option<(usize, PathBuf)> {
        if let Some(explicit) = explicit {
            let beside = self.sources[place.file].path.parent().unwrap_or(folder);
            let path = lexical(&if place.top { beside } else { folder }.join(explicit));
            let file = *self.by_path.get(path.as_path())?;
            return Some((file, path.parent().map(Path::to_path_buf).unwrap_or_default()));
        }
        let flat = folder.join(format!("{name}.rs"));
        let nested = folder.join(name).join("mod.rs");
        let file = self.by_path.get(flat.as_path()).or_else(|| self.by_path.get(nested.as_path()))?;
        Some((*file, folder.join(name)))
    }

    /// Attaches files that no `mod` reaches: to the module whose children lie in their folder, or else as crates.
    fn add_orphans(&mut self, targets: &[Target]) {
        let mut orphans: Vec<usize> =
            (0..self.sources.len()).filter(|file| !self.graph.module_of_file.contains_key(file)).collect();
        orphans.sort_by_key(|file| {
            let path = &self.sources[*file].path;
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let rank = match stem.as_str() {
                "lib" => 0,
                "main" => 1,
                "mod" => 2,
                _ => 3,
            };
            (path.components().count() - usize::from(rank == 2), rank, path.clone())
        });
        for file in orphans {
            if self.graph.module_of_file.contains_key(&file) {
                continue;
            }
            let path = self.sources[file].path.clone();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let is_root = matches!(stem.as_str(), "lib" | "main" | "build");
            let (own_folder, child_folder, name) = if stem == "mod" {
                let name =
                    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                (folder.parent().map(Path::to_path_buf).unwrap_or_default(), folder.clone(), name)
            } else {
                (folder.clone(), folder.join(&stem), stem)
            };
            let above = (0..self.graph.modules.len()).find(|module| {
                let module = &self.graph.modules[*module];
                module.child_folder == own_folder && self.graph.crates[module.krate].adopts
            });
            if let (Some(above), false) = (above, is_root) {
                let parent = &self.graph.modules[above];
                let (krate, mut module_path) = (parent.krate, parent.path.clone());
                module_path.push(name.clone());
                let child = self.add_file(file, krate, Some(above), module_path, child_folder, false);
                let names = &mut self.graph.modules[above].names;
                if names.entries(&name).is_empty() {
                    names.declare(name, Entry::Module(child));
                }
            } else {
                let nearest = targets
                    .iter()
                    .filter(|target| path.starts_with(&target.package_folder))
                    .max_by_key(|target| target.package_folder.components().count());
                let target = Target {
                    name: format!("{name}#{file}"),
                    kind: orphan_kind(&self.sources[file], &name),
                    root: path.clone(),
                    package_folder: nearest.map(|target| target.package_folder.clone()).unwrap_or_default(),
                    renames: nearest.map(|target| target.renames.clone()).unwrap_or_default(),
                    adopts: is_root,
                };
                self.add_crate(&target, file);
            }
        }
    }

    /// Notes what functions return and fields hold.
    fn note_types(&mut self, item: &Item, module: usize) {
        match item {
            Item::Fn(item) => self.note_signature(&item.sig, None, module),
            Item::Impl(item) => {
                let of = Written::of_type(&item.self_ty);
                for inner in &item.items {
                    if let syn::ImplItem::Fn(function) = inner {
                        self.note_signature(&function.sig, of.clone(), module);
                    }
                }
            }
            Item::Struct(item) => {
                for (index, field) in item.fields.iter().enumerate() {
                    if let Some(holds) = Written::of_type(&field.ty) {
                        let name = field
                            .ident
                            .as_ref()
                            .map_or_else(|| index.to_string(), |name| name.unraw().to_string());
                        self.field_types.push(FieldType {
                            module,
                            of: item.ident.unraw().to_string(),
                            name,
                            holds,
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn note_signature(&mut self, signature: &syn::Signature, of: Option<Written>, module: usize) {
        if let syn::ReturnType::Type(_, returned) = &signature.output
            && let Some(returns) = Written::of_type(returned)
        {
            self.signatures.push(Signature {
                module,
                of,
                name: signature.ident.unraw().to_string(),
                returns,
            });
        }
    }

    /// Resolves the types noted, now that all names are known.
    fn finish(mut self) -> Graph {
        let graph = &self.graph;
        let resolve = |module: usize, written: &Written| {
            let site = Site { module, frames: &[] };
            graph.resolve(site, written, Namespace::Type).into_iter().next()
        };
        let mut returns = HashMap::new();
        for signature in &self.signatures {
            let of = signature.of.as_ref().and_then(|of| resolve(signature.module, of));
            if signature.of.is_some() && of.is_none() {
                continue;
            }
            let returned = match signature.returns.segments.split_first() {
                Some((first, [])) if first == "Self" => of.clone(),
                _ => resolve(signature.module, &signature.returns),
            };
            let mut function = of.unwrap_or_else(|| graph.module_canon(signature.module));
            function.push(signature.name.clone());
            if let Some(returned) = returned {
                returns.insert(function, returned);
            }
        }
        let mut fields = HashMap::new();
        for field in &self.field_types {
            if let Some(holds) = resolve(field.module, &field.holds) {
                let mut of = graph.module_canon(field.module);
                of.push(field.of.clone());
                fields.insert((of, field.name.clone()), holds);
            }
        }
        self.graph.returns = returns;
        self.graph.fields = fields;
        self.graph
    }
}

/// What a file that belongs to no crate is: it tells by its `fn main`.
fn orphan_kind(source: &Source, name: &str) -> CrateKind {
    let has_main = source.ast.as_ref().is_ok_and(|ast| {
        ast.items.iter().any(|item| matches!(item, Item::Fn(function) if function.sig.ident == "main"))
    });
    match (name, has_main) {
        ("lib", _) => CrateKind::Library,
        ("main", _) | (_, true) => CrateKind::Binary,
        _ => CrateKind::Library,
    }
}

/// The value of `#[path = "..."]`, also inside `cfg_attr`.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    fn of(meta: &syn::Meta) -> Option<String> {
        match meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
                _ => None,
            },
            syn::Meta::List(list) if list.path.is_ident("cfg_attr") => {
                let parser = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
                list.parse_args_with(parser).ok()?.iter().skip(1).find_map(of)
            }
            _ => None,
        }
    }
    attributes.iter().find_map(|attribute| of(&attribute.meta))
}

/// The path with `.` and `..` folded, as far as its text tells.
fn lexical(path: &Path) -> PathBuf {
    let mut folded = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                folded.pop();
            }
            other => folded.push(other),
        }
    }
    folded
}
