//! Items: modules, functions, `impl`s, imports, macros.

use syn::{Item, ext::IdentExt as _, visit, visit::Visit as _};

use super::Visitor;
use crate::audit::{
    cfg,
    events::{Function, PathUse},
    finding::Position,
    macros,
    names::{Entry, Names, Namespace, UseRole, Written, canon::Canon, use_nodes},
    scope::{Frame, Variable},
};

impl Visitor<'_> {
    pub(super) fn enter_item(&mut self, item: &Item) {
        match item {
            Item::Mod(item) => self.enter_module(item),
            Item::Use(item) => self.enter_use(item),
            Item::ExternCrate(item) => {
                let written = Written { absolute: true, segments: vec![item.ident.unraw().to_string()] };
                let canons = self.graph.resolve_import(self.site(), &written);
                self.path_used(canons, item.ident.span());
            }
            Item::Fn(item) => self.enter_function(&item.attrs, &item.sig, Some(&item.block)),
            Item::Impl(item) => {
                let self_type = Written::of_type(&item.self_ty)
                    .and_then(|written| self.resolve(&written, Namespace::Type).into_iter().next());
                self.visit_generic_item(&item.generics, self_type, |visitor| {
                    visit::visit_item_impl(visitor, item)
                });
            }
            Item::Trait(item) => {
                let self_type = Some(vec!["?Self".to_owned()]);
                self.visit_generic_item(&item.generics, self_type, |visitor| {
                    visit::visit_item_trait(visitor, item)
                });
            }
            Item::Struct(item) => {
                self.visit_generic_item(&item.generics, None, |visitor| {
                    visit::visit_item_struct(visitor, item)
                });
            }
            Item::Enum(item) => {
                self.visit_generic_item(&item.generics, None, |visitor| {
                    visit::visit_item_enum(visitor, item)
                });
            }
            Item::Type(item) => {
                self.visit_generic_item(&item.generics, None, |visitor| {
                    visit::visit_item_type(visitor, item)
                });
            }
            Item::Macro(item) if item.ident.is_some() => {
                for body in macros::rules_bodies(&item.mac.tokens) {
                    self.visit_macro_body(body);
                }
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn enter_module(&mut self, item: &syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let key = (self.file, Position::of(item.ident.span()));
        let Some(module) = self.graph.modules[self.module].inline.get(&key).copied() else {
            // Inside a function: the graph does not follow it.
            let mut names = Names::default();
            for inner in items {
                names.collect(inner, self.include_tests);
            }
            let frame = Frame { names, module_barrier: true, ..Frame::default() };
            self.in_frame(frame, |visitor| items.iter().for_each(|inner| visitor.visit_item(inner)));
            return;
        };
        let outer_module = std::mem::replace(&mut self.module, module);
        let outer_frames = std::mem::take(&mut self.frames);
        for inner in items {
            self.visit_item(inner);
        }
        self.module = outer_module;
        self.frames = outer_frames;
    }

    fn enter_use(&mut self, item: &syn::ItemUse) {
        for node in use_nodes(item) {
            if matches!(node.role, UseRole::Glob) {
                continue;
            }
            let parent = self.graph.resolve_import(self.site(), &node.parent).into_iter().next();
            let at = self.at(node.start);
            for canon in self.graph.resolve_import(self.site(), &node.path) {
                self.events.paths.push(PathUse { at, module: self.module, canon, parent: parent.clone() });
            }
        }
    }

    fn visit_generic_item(
        &mut self,
        generics: &syn::Generics,
        self_type: Option<Canon>,
        walk: impl FnOnce(&mut Self),
    ) {
        let frame = Frame { names: parameters(generics), self_type, item_barrier: true, ..Frame::default() };
        self.in_frame(frame, walk);
    }

    pub(super) fn enter_function(
        &mut self,
        attributes: &[syn::Attribute],
        signature: &syn::Signature,
        block: Option<&syn::Block>,
    ) {
        let name = signature.ident.unraw().to_string();
        let of = self.frames.last().and_then(|frame| frame.self_type.clone());
        let mut canon = of.clone().unwrap_or_else(|| self.graph.module_canon(self.module));
        canon.push(name.clone());
        let outer_function = self.function;
        if block.is_some() {
            let at = self.at(signature.ident.span());
            self.events.functions.push(Function {
                at,
                name,
                canon,
                is_async: signature.asyncness.is_some(),
                is_test: cfg::is_test_only(attributes),
                of,
            });
            self.function = Some(self.events.functions.len() - 1);
        }
        let outer_calls = std::mem::take(&mut self.calls);
        let frame = Frame { names: parameters(&signature.generics), item_barrier: true, ..Frame::default() };
        self.in_frame(frame, |visitor| {
            visit::visit_signature(visitor, signature);
            for input in &signature.inputs {
                match input {
                    syn::FnArg::Receiver(_) => {
                        let held = visitor.frames.iter().rev().find_map(|frame| frame.self_type.clone());
                        let own = Variable { held, calls: Vec::new(), parameter: false };
                        if let Some(frame) = visitor.frames.last_mut() {
                            frame.variables.insert("self".to_owned(), own);
                        }
                    }
                    syn::FnArg::Typed(input) => {
                        let held = visitor.written_type(&input.ty);
                        visitor.bind(&input.pat, held, &[], true);
                    }
                }
            }
            if let Some(block) = block {
                visitor.in_body(|visitor| visitor.visit_block(block));
            }
        });
        self.calls = outer_calls;
        self.function = outer_function;
    }
}

/// The names of generic parameters.
fn parameters(generics: &syn::Generics) -> Names {
    let mut names = Names::default();
    for parameter in &generics.params {
        match parameter {
            syn::GenericParam::Type(parameter) => {
                names.declare(parameter.ident.unraw().to_string(), Entry::Parameter);
            }
            syn::GenericParam::Const(parameter) => {
                names.declare(parameter.ident.unraw().to_string(), Entry::Item(Namespace::Value));
            }
            _ => {}
        }
    }
    names
}
