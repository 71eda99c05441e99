//! Which attributes take an item out of production code: `#[cfg(test)]` in all its forms, `#[test]`, `#[bench]`.

use syn::{Attribute, Meta, Token, punctuated::Punctuated};

/// Whether the item, statement or expression with these attributes exists in tests only.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("cfg") {
            return attribute
                .parse_args::<Meta>()
                .is_ok_and(|predicate| outside_tests(&predicate) == Some(false));
        }
        // `#[test]`, `#[tokio::test]`, `#[rstest]` and the like. `cfg_attr(..., test)` cannot be told, so it counts not.
        let last = attribute.path().segments.last().map(|segment| segment.ident.to_string());
        matches!(last.as_deref(), Some("test" | "bench" | "rstest" | "test_case" | "quickcheck"))
    })
}

/// What a `cfg` predicate is where `test` is not set: known, or `None` where it hangs on something else.
fn outside_tests(predicate: &Meta) -> Option<bool> {
    if let Meta::Path(path) = predicate {
        return if path.is_ident("test") { Some(false) } else { None };
    }
    let Meta::List(list) = predicate else { return None };
    let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let values: Vec<Option<bool>> = inner.iter().map(outside_tests).collect();
    if list.path.is_ident("not") {
        values.first().copied().flatten().map(|value| !value)
    } else if list.path.is_ident("all") {
        if values.contains(&Some(false)) {
            Some(false)
        } else if values.iter().all(|value| *value == Some(true)) {
            Some(true)
        } else {
            None
        }
    } else if list.path.is_ident("any") {
        if values.contains(&Some(true)) {
            Some(true)
        } else if values.iter().all(|value| *value == Some(false)) {
            Some(false)
        } else {
            None
        }
    } else {
        None
    }
}

/// The attributes of an item.
pub(crate) fn item_attributes(item: &syn::Item) -> &[Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of an expression that may stand as a statement or hold statements.
pub(crate) fn expression_attributes(expression: &syn::Expr) -> &[Attribute] {
    use syn::Expr;
    match expression {
        Expr::Assign(inner) => &inner.attrs,
        Expr::Async(inner) => &inner.attrs,
        Expr::Await(inner) => &inner.attrs,
        Expr::Block(inner) => &inner.attrs,
        Expr::Call(inner) => &inner.attrs,
        Expr::Closure(inner) => &inner.attrs,
        Expr::ForLoop(inner) => &inner.attrs,
        Expr::If(inner) => &inner.attrs,
        Expr::Loop(inner) => &inner.attrs,
        Expr::Macro(inner) => &inner.attrs,
        Expr::Match(inner) => &inner.attrs,
        Expr::MethodCall(inner) => &inner.attrs,
        Expr::Paren(inner) => &inner.attrs,
        Expr::Path(inner) => &inner.attrs,
        Expr::Return(inner) => &inner.attrs,
        Expr::Struct(inner) => &inner.attrs,
        Expr::Try(inner) => &inner.attrs,
        Expr::Tuple(inner) => &inner.attrs,
        Expr::Unsafe(inner) => &inner.attrs,
        Expr::While(inner) => &inner.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_only(item: &str) -> bool {
        let item: syn::Item = syn::parse_str(item).unwrap();
        is_test_only(item_attributes(&item))
    }

    #[test]
    fn only_what_never_reaches_production_is_left_out() {
        assert!(test_only("#[cfg(test)] mod m {}"));
        assert!(test_only("#[cfg(all(test, unix))] mod m {}"));
        assert!(test_only("#[cfg(any(test))] mod m {}"));
        assert!(test_only("#[cfg(not(not(test)))] mod m {}"));
        assert!(test_only("#[test] fn f() {}"));
        assert!(test_only("#[tokio::test(start_paused = true)] async fn f() {}"));
        assert!(!test_only("#[cfg(not(test))] mod m {}"));
        assert!(!test_only("#[cfg(any(test, feature = \"x\"))] mod m {}"));
        assert!(!test_only("#[cfg(feature = \"test\")] mod m {}"));
        assert!(!test_only("#[cfg(unix)] fn f() {}"));
        assert!(!test_only("#[doc = \"test\"] fn test() {}"));
    }
}
