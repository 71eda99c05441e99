//! What names mean: the names each module and block declares, the crates and modules of the audited tree, and the
//! resolution of paths through them. It never judges what a path leads to.

mod build;
pub(crate) mod canon;
pub(crate) mod graph;
pub(crate) mod resolve;

use std::collections::HashMap;

use proc_macro2::Span;
use syn::{Item, UseTree, ext::IdentExt as _};

use super::cfg;

/// Where a name is looked up: types and modules, values, macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    Type,
    Value,
    Macro,
}

/// A path as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// It began with `::`.
    pub(crate) absolute: bool,
    pub(crate) segments: Vec<String>,
}

impl Written {
    pub(crate) fn relative(segments: Vec<String>) -> Self {
        Self { absolute: false, segments }
    }

    /// A path without its generic arguments.
    pub(crate) fn of(path: &syn::Path) -> Self {
        Self {
            absolute: path.leading_colon.is_some(),
            segments: path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect(),
        }
    }

    /// The type's path, seen through references, parentheses and the wrappers that methods look through.
    pub(crate) fn of_type(ty: &syn::Type) -> Option<Self> {
        match ty {
            syn::Type::Path(path) => {
                let last = path.path.segments.last()?;
                let wraps =
                    ["Arc", "Box", "Option", "Pin", "Rc", "Result"].iter().any(|name| last.ident == name);
                if wraps
                    && let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
                    && let Some(syn::GenericArgument::Type(inner)) = arguments.args.first()
                {
                    return Self::of_type(inner);
                }
                path.qself.is_none().then(|| Self::of(&path.path))
            }
            syn::Type::Reference(reference) => Self::of_type(&reference.elem),
            syn::Type::Paren(paren) => Self::of_type(&paren.elem),
            syn::Type::Group(group) => Self::of_type(&group.elem),
            _ => None,
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A module of the audited tree.
    Module(usize),
    /// An item declared here.
    Item(Namespace),
    /// A generic parameter: some type, it cannot be told which.
    Parameter,
    /// `type Name = path;`
    Alias(Written),
    /// `use path as name;` or `extern crate`.
    Import(Written),
}

/// The names that a module or block declares.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: HashMap<String, Vec<Entry>>,
    globs: Vec<Written>,
}

impl Names {
    pub(crate) fn declare(&mut self, name: String, entry: Entry) {
        self.entries.entry(name).or_default().push(entry);
    }

    pub(crate) fn entries(&self, name: &str) -> &[Entry] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn globs(&self) -> &[Written] {
        &self.globs
    }

    pub(crate) fn declares_macro(&self, name: &str) -> bool {
        self.entries(name).iter().any(|entry| matches!(entry, Entry::Item(Namespace::Macro)))
    }

    /// Adds what one item declares. Modules are declared as plain items: the graph adds those it follows itself.
    pub(crate) fn collect(&mut self, item: &Item, include_tests: bool) {
        use Namespace::{Macro, Type, Value};
        if !include_tests && cfg::is_test_only(cfg::item_attributes(item)) {
            return;
        }
        let mut item_in = |name: &syn::Ident, namespaces: &[Namespace]| {
            for namespace in namespaces {
                self.declare(name.unraw().to_string(), Entry::Item(*namespace));
            }
        };
        match item {
            Item::Const(item) => item_in(&item.ident, &[Value]),
            Item::Static(item) => item_in(&item.ident, &[Value]),
            Item::Fn(item) => item_in(&item.sig.ident, &[Value]),
            Item::Enum(item) => item_in(&item.ident, &[Type]),
            Item::Union(item) => item_in(&item.ident, &[Type]),
            Item::Trait(item) => item_in(&item.ident, &[Type]),
            Item::TraitAlias(item) => item_in(&item.ident, &[Type]),
            Item::Struct(item) if matches!(item.fields, syn::Fields::Named(_)) => {
                item_in(&item.ident, &[Type])
            }
            Item::Struct(item) => item_in(&item.ident, &[Type, Value]),
            Item::Mod(item) => item_in(&item.ident, &[Type]),
            Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    item_in(name, &[Macro]);
                }
            }
            Item::Type(item) => match &*item.ty {
                syn::Type::Path(target) if target.qself.is_none() => {
                    self.declare(item.ident.unraw().to_string(), Entry::Alias(Written::of(&target.path)));
                }
                _ => item_in(&item.ident, &[Type]),
            },
            Item::ForeignMod(item) => {
                for foreign in &item.items {
                    match foreign {
                        syn::ForeignItem::Fn(item) => item_in(&item.sig.ident, &[Value]),
                        syn::ForeignItem::Static(item) => item_in(&item.ident, &[Value]),
                        syn::ForeignItem::Type(item) => item_in(&item.ident, &[Type]),
                        _ => {}
                    }
                }
            }
            Item::ExternCrate(item) => {
                let name = item.rename.as_ref().map_or(&item.ident, |(_, rename)| rename);
                let target = if item.ident == "self" {
                    Written::relative(vec!["crate".to_owned()])
                } else {
                    Written { absolute: true, segments: vec![item.ident.unraw().to_string()] }
                };
                self.declare(name.unraw().to_string(), Entry::Import(target));
            }
            Item::Use(item) => {
                for node in use_nodes(item) {
                    match node.role {
                        UseRole::Prefix => {}
                        UseRole::Glob => self.globs.push(node.path),
                        UseRole::Leaf(name) => {
                            if name != "_" {
                                self.declare(name, Entry::Import(node.path));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// One segment of a `use` tree with the path that leads to it.
#[derive(Debug)]
pub(crate) struct UseNode {
    pub(crate) path: Written,
    /// The path of the node above, empty at the top.
    pub(crate) parent: Written,
    pub(crate) role: UseRole,
    /// Where the run of segments that this one belongs to begins: after the last `{` or `,`.
    pub(crate) start: Span,
}

/// What a node of a `use` tree is.
#[derive(Debug)]
pub(crate) enum UseRole {
    /// A segment on the way.
    Prefix,
    /// The path is imported under this name.
    Leaf(String),
    /// Everything in the path is imported.
    Glob,
}

/// All nodes of a `use` item, each path spelled out.
pub(crate) fn use_nodes(item: &syn::ItemUse) -> Vec<UseNode> {
    let mut nodes = Vec::new();
    let root = Written { absolute: item.leading_colon.is_some(), segments: Vec::new() };
    add_use_nodes(&item.tree, &root, item.leading_colon.map(|colons| colons.spans[0]), &mut nodes);
    nodes
}

fn add_use_nodes(tree: &UseTree, above: &Written, start: Option<Span>, nodes: &mut Vec<UseNode>) {
    let below = |ident: &syn::Ident| {
        let mut path = above.clone();
        // `a::{self}` is `a` itself; a lone `self` is the module.
        if ident != "self" || path.segments.is_empty() {
            path.segments.push(ident.unraw().to_string());
        }
        path
    };
    match tree {
        UseTree::Path(tree) => {
            let path = below(&tree.ident);
            let start = start.unwrap_or_else(|| tree.ident.span());
            nodes.push(UseNode { path: path.clone(), parent: above.clone(), role: UseRole::Prefix, start });
            add_use_nodes(&tree.tree, &path, Some(start), nodes);
        }
        UseTree::Name(tree) => {
            let path = below(&tree.ident);
            let name = path.segments.last().cloned().unwrap_or_default();
            nodes.push(UseNode {
                path,
                parent: above.clone(),
                role: UseRole::Leaf(name),
                start: start.unwrap_or_else(|| tree.ident.span()),
            });
        }
        UseTree::Rename(tree) => nodes.push(UseNode {
            path: below(&tree.ident),
            parent: above.clone(),
            role: UseRole::Leaf(tree.rename.unraw().to_string()),
            start: start.unwrap_or_else(|| tree.ident.span()),
        }),
        UseTree::Glob(tree) => nodes.push(UseNode {
            path: above.clone(),
            parent: above.clone(),
            role: UseRole::Glob,
            start: start.unwrap_or_else(|| tree.star_token.spans[0]),
        }),
        UseTree::Group(tree) => {
            for inner in &tree.items {
                add_use_nodes(inner, above, None, nodes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_trees_are_spelled_out() {
        let item: syn::ItemUse =
            syn::parse_str("use a::{self, b::{c as d, self as e}, f::*, _x as _};").unwrap();
        let leaves: Vec<(String, String)> = use_nodes(&item)
            .into_iter()
            .filter_map(|node| match node.role {
                UseRole::Prefix => None,
                UseRole::Leaf(name) => Some((node.path.segments.join("::"), name)),
                UseRole::Glob => Some((node.path.segments.join("::"), "*".to_owned())),
            })
            .collect();
        let leaf = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(
            leaves,
            [leaf("a", "a"), leaf("a::b::c", "d"), leaf("a::b", "e"), leaf("a::f", "*"), leaf("a::_x", "_")]
        );
    }
}
