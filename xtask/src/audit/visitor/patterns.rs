//! Patterns: which variables they bind.

use syn::{Pat, ext::IdentExt as _};

use super::Visitor;
use crate::audit::{names::canon::Canon, scope::Variable};

/// The pattern without its type and parentheses.
pub(super) fn plain(pattern: &Pat) -> &Pat {
    match pattern {
        Pat::Type(typed) => plain(&typed.pat),
        Pat::Paren(paren) => plain(&paren.pat),
        other => other,
    }
}

/// The variable at the root of `name`, `name.into_iter()`, `&mut name.field` and the like.
pub(super) fn root_variable(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Path(path) => path.path.get_ident().map(|name| name.unraw().to_string()),
        syn::Expr::MethodCall(call) => root_variable(&call.receiver),
        syn::Expr::Field(field) => root_variable(&field.base),
        syn::Expr::Reference(reference) => root_variable(&reference.expr),
        syn::Expr::Paren(paren) => root_variable(&paren.expr),
        _ => None,
    }
}

impl Visitor<'_> {
    /// Binds the variables of a pattern in the innermost frame.
    pub(super) fn bind(&mut self, pattern: &Pat, held: Option<Canon>, calls: &[usize], parameter: bool) {
        match pattern {
            Pat::Ident(name) => {
                let variable = Variable { held, calls: calls.to_vec(), parameter };
                if let Some(frame) = self.frames.last_mut() {
                    frame.variables.insert(name.ident.unraw().to_string(), variable);
                }
                if let Some((_, inner)) = &name.subpat {
                    self.bind(inner, None, calls, parameter);
                }
            }
            Pat::Type(typed) => {
                let declared = self.written_type(&typed.ty);
                self.bind(&typed.pat, declared.or(held), calls, parameter);
            }
            Pat::Paren(paren) => self.bind(&paren.pat, held, calls, parameter),
            Pat::Reference(reference) => self.bind(&reference.pat, held, calls, parameter),
            Pat::Guard(guard) => self.bind(&guard.pat, held, calls, parameter),
            Pat::Or(or) => {
                for case in &or.cases {
                    self.bind(case, held.clone(), calls, parameter);
                }
            }
            Pat::Tuple(tuple) => {
                for element in &tuple.elems {
                    self.bind(element, None, calls, parameter);
                }
            }
            Pat::TupleStruct(tuple) => {
                // What `Ok` and `Some` hold is what the expression's type was taken for.
                let held = held.filter(|_| {
                    tuple.path.segments.last().is_some_and(|last| last.ident == "Ok" || last.ident == "Some")
                });
                for element in &tuple.elems {
                    self.bind(element, held.clone(), calls, parameter);
                }
            }
            Pat::Slice(slice) => {
                for element in &slice.elems {
                    self.bind(element, None, calls, parameter);
                }
            }
            Pat::Struct(fields) => {
                for field in &fields.fields {
                    self.bind(&field.pat, None, calls, parameter);
                }
            }
            _ => {}
        }
    }

    /// A variable is given a new value.
    pub(super) fn assigned(&mut self, name: &str, held: Option<Canon>, calls: &[usize]) {
        for frame in self.frames.iter_mut().rev() {
            if let Some(variable) = frame.variables.get_mut(name) {
                variable.held = held.or_else(|| variable.held.take());
                variable.calls.extend_from_slice(calls);
                return;
            }
            if frame.item_barrier || frame.module_barrier {
                return;
            }
        }
    }
}
