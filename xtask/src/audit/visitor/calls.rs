//! Calls: what they call, what stands in their arguments, and whose value nobody keeps.

use proc_macro2::Span;
use syn::{Expr, ext::IdentExt as _, visit::Visit as _};

use super::{Visitor, patterns, start_of};
use crate::audit::{
    events::{At, Call, Callee, Dropped},
    names::{Namespace, Written, canon},
    scope,
};

/// Methods of a task's handle that leave it behind.
const GLANCING: [&str; 3] = ["abort_handle", "id", "is_finished"];

/// Methods that keep their argument in the receiver.
const COLLECTING: [&str; 5] = ["extend", "insert", "push", "push_back", "push_front"];

impl Visitor<'_> {
    pub(super) fn enter_call(&mut self, call: &syn::ExprCall) {
        let callee = self.callee(&call.func);
        self.visit_expr(&call.func);
        if let Some((callee, span)) = callee {
            let is_drop = match &callee {
                Callee::Path { canons, name } => {
                    name == "drop" && canons.iter().all(|canon| canon::is(canon, &["std", "mem", "drop"]))
                }
                Callee::Method { .. } => false,
            };
            if is_drop && let Some(argument) = call.args.first() {
                self.dropped(argument, "its handle is dropped by `drop`");
            }
            let takes_closure = matches!(call.args.first(), Some(Expr::Closure(_)));
            self.in_call(callee, span, takes_closure, |visitor| {
                call.args.iter().for_each(|argument| visitor.visit_expr(argument));
            });
        } else {
            call.args.iter().for_each(|argument| self.visit_expr(argument));
        }
    }

    pub(super) fn enter_method_call(&mut self, call: &syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        if GLANCING.contains(&call.method.unraw().to_string().as_str()) {
            self.dropped(&call.receiver, "its handle is only glanced at and dropped");
        }
        let receiver = self.type_of(&call.receiver);
        let callee = Callee::Method { name: call.method.unraw().to_string(), receiver };
        let takes_closure = matches!(call.args.first(), Some(Expr::Closure(_)));
        if let Some(turbofish) = &call.turbofish {
            self.visit_angle_bracketed_generic_arguments(turbofish);
        }
        let collects = COLLECTING.contains(&callee.name());
        let first_call = self.events.calls.len() + 1;
        self.in_call(callee, call.method.span(), takes_closure, |visitor| {
            call.args.iter().for_each(|argument| visitor.visit_expr(argument));
        });
        if collects && let Some(name) = patterns::root_variable(&call.receiver) {
            let calls = self.pending_calls(first_call);
            self.assigned(&name, None, &calls);
        }
    }

    /// Notes a call and walks its arguments.
    pub(super) fn in_call(
        &mut self,
        callee: Callee,
        span: Span,
        takes_closure: bool,
        walk: impl FnOnce(&mut Self),
    ) {
        let index = self.events.calls.len();
        let at = self.at(span);
        self.events.calls.push(Call {
            at,
            module: self.module,
            callee,
            parents: self.calls.last().copied().into_iter().collect(),
            function: self.function,
            takes_closure,
            body: self.body,
            awaits: self.awaits,
        });
        self.calls.push(index);
        walk(self);
        self.calls.pop();
    }

    /// What a call's function expression names, and where.
    fn callee(&self, function: &Expr) -> Option<(Callee, Span)> {
        match function {
            Expr::Paren(paren) => self.callee(&paren.expr),
            Expr::Group(group) => self.callee(&group.expr),
            Expr::Path(path) => {
                let last = path.path.segments.last()?;
                let name = last.ident.unraw().to_string();
                let canons = if let Some(qself) = &path.qself {
                    self.qualified(qself, &path.path)
                } else if path
                    .path
                    .get_ident()
                    .is_some_and(|name| scope::variable(&self.frames, &name.to_string()).is_some())
                {
                    // A closure in a variable is nobody's function.
                    return None;
                } else {
                    self.resolve(&Written::of(&path.path), Namespace::Value)
                };
                let start =
                    path.qself.as_ref().map_or_else(|| start_of(&path.path), |qself| qself.lt_token.span);
                Some((Callee::Path { canons, name }, start))
            }
            _ => None,
        }
    }

    /// Notes the calls whose value an expression yields and nobody keeps.
    pub(super) fn dropped(&mut self, expression: &Expr, how: &'static str) {
        match expression {
            Expr::Paren(paren) => self.dropped(&paren.expr, how),
            Expr::Group(group) => self.dropped(&group.expr, how),
            Expr::Block(block) => self.dropped_tail(&block.block, how),
            Expr::Unsafe(block) => self.dropped_tail(&block.block, how),
            Expr::If(branches) => {
                self.dropped_tail(&branches.then_branch, how);
                if let Some((_, otherwise)) = &branches.else_branch {
                    self.dropped(otherwise, how);
                }
            }
            Expr::Match(branches) => {
                for arm in &branches.arms {
                    self.dropped(&arm.body, how);
                }
            }
            Expr::Call(call) => {
                if let Some((callee, span)) = self.callee(&call.func) {
                    let at = self.at(span);
                    self.note_dropped(at, callee, how);
                }
            }
            Expr::MethodCall(call) => {
                let receiver = self.type_of(&call.receiver);
                let at = self.at(call.method.span());
                self.note_dropped(
                    at,
                    Callee::Method { name: call.method.unraw().to_string(), receiver },
                    how,
                );
            }
            _ => {}
        }
    }

    fn dropped_tail(&mut self, block: &syn::Block, how: &'static str) {
        if let Some(syn::Stmt::Expr(tail, None)) = block.stmts.last() {
            self.dropped(tail, how);
        }
    }

    fn note_dropped(&mut self, at: At, callee: Callee, how: &'static str) {
        self.events.dropped.push(Dropped { at, callee, how });
    }
}
