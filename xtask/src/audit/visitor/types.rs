//! The type of an expression, as far as names alone tell: variables, constructors, builders, fields.

use syn::Expr;

use super::Visitor;
use crate::audit::{
    names::{Namespace, Written, canon, canon::Canon},
    scope,
};

/// Methods that leave the type as it is, or open what wraps it.
const TRANSPARENT: [&str; 10] = [
    "as_mut",
    "as_ref",
    "borrow",
    "borrow_mut",
    "by_ref",
    "clone",
    "expect",
    "to_owned",
    "unwrap",
    "unwrap_or_default",
];

impl Visitor<'_> {
    /// A type as written.
    pub(super) fn written_type(&self, ty: &syn::Type) -> Option<Canon> {
        let written = Written::of_type(ty)?;
        self.resolve(&written, Namespace::Type).into_iter().next()
    }

    pub(super) fn type_of(&self, expression: &Expr) -> Option<Canon> {
        match expression {
            Expr::Paren(inner) => self.type_of(&inner.expr),
            Expr::Group(inner) => self.type_of(&inner.expr),
            Expr::Reference(inner) => self.type_of(&inner.expr),
            Expr::Try(inner) => self.type_of(&inner.expr),
            Expr::Await(inner) => self.type_of(&inner.base),
            Expr::Unary(inner) => self.type_of(&inner.expr),
            Expr::Cast(cast) => self.written_type(&cast.ty),
            Expr::Path(path) => {
                let variable =
                    path.path.get_ident().and_then(|name| scope::variable(&self.frames, &name.to_string()));
                match variable {
                    Some(variable) => variable.held.clone(),
                    // A unit struct.
                    None => {
                        let types = self.resolve(&Written::of(&path.path), Namespace::Type);
                        types.into_iter().find(|ty| canon::is_local(ty))
                    }
                }
            }
            Expr::Struct(literal) => {
                self.resolve(&Written::of(&literal.path), Namespace::Type).into_iter().next()
            }
            Expr::Field(field) => {
                let of = self.type_of(&field.base)?;
                let name = match &field.member {
                    syn::Member::Named(name) => name.to_string(),
                    syn::Member::Unnamed(index) => index.index.to_string(),
                };
                self.graph.field_type(&of, &name).cloned()
            }
            Expr::Call(call) => {
                let Expr::Path(path) = &*call.func else {
                    return None;
                };
                let canons = match &path.qself {
                    Some(qself) => self.qualified(qself, &path.path),
                    None => self.resolve(&Written::of(&path.path), Namespace::Value),
                };
                canons.into_iter().find_map(|canon| self.returned(&canon))
            }
            Expr::MethodCall(call) => {
                let receiver = self.type_of(&call.receiver)?;
                let name = call.method.to_string();
                if TRANSPARENT.contains(&name.as_str()) {
                    return Some(receiver);
                }
                let mut method = receiver.clone();
                method.push(name.clone());
                method_of_known_type(&receiver, &name).or_else(|| self.graph.returned_by(&method).cloned())
            }
            _ => None,
        }
    }

    /// What a function gives: as declared in the tree, or the type whose constructor it is by its name.
    fn returned(&self, function: &Canon) -> Option<Canon> {
        if let Some(returned) = self.graph.returned_by(function) {
            return Some(returned.clone());
        }
        let (name, of) = function.split_last()?;
        let is_type = of.last()?.chars().next().is_some_and(char::is_uppercase);
        let constructs =
            ["new", "default", "with", "from", "try_new", "build", "current", "spawn_new", "load", "open"]
                .iter()
                .any(|prefix| {
                    name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_'))
                });
        (is_type && constructs).then(|| of.to_vec())
    }
}

/// What the methods of std's and tokio's builders and handles give.
fn method_of_known_type(receiver: &[String], method: &str) -> Option<Canon> {
    let owned = |path: &[&str]| path.iter().map(|segment| (*segment).to_owned()).collect::<Canon>();
    if canon::is(receiver, &["std", "thread", "Builder"]) {
        return matches!(method, "name" | "stack_size").then(|| receiver.to_vec());
    }
    if canon::is(receiver, &["tokio", "runtime", "Builder"]) {
        return Some(if method == "build" {
            owned(&["tokio", "runtime", "Runtime"])
        } else {
            receiver.to_vec()
        });
    }
    if canon::is(receiver, &["tokio", "runtime", "Runtime"]) && method == "handle" {
        return Some(owned(&["tokio", "runtime", "Handle"]));
    }
    if canon::is(receiver, &["tokio", "task", "Builder"]) && method == "name" {
        return Some(receiver.to_vec());
    }
    None
}
