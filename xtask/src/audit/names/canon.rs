//! The one name under which the audit knows an external item, however a crate re-exports it, and which items it must
//! know by name to see them through a glob import.

/// Where a path leads outside the audited tree, or an item inside it (then the first segment begins with `@`).
pub(crate) type Canon = Vec<String>;

/// The marks of crates of the audited tree: `@` and a number.
pub(crate) fn local_root(krate: usize) -> String {
    format!("@{krate}")
}

/// Whether a canonical path lies in the audited tree.
pub(crate) fn is_local(path: &[String]) -> bool {
    path.first().is_some_and(|root| root.starts_with('@'))
}

/// Whether the path begins with these segments.
pub(crate) fn starts_with(path: &[String], prefix: &[&str]) -> bool {
    path.len() >= prefix.len() && path.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
}

/// Whether the path is exactly these segments.
pub(crate) fn is(path: &[String], wanted: &[&str]) -> bool {
    path.len() == wanted.len() && starts_with(path, wanted)
}

/// Written with `::`.
pub(crate) fn show(path: &[String]) -> String {
    let shown = if is_local(path) { path.get(1..).unwrap_or_default() } else { path };
    if shown.is_empty() { "crate".to_owned() } else { shown.join("::") }
}

/// Re-exports that lead to the same item: the first is replaced by the second.
const SAME: &[(&[&str], &[&str])] = &[
    (&["core"], &["std"]),
    (&["alloc"], &["std"]),
    // A schedule explorer's stand-in for tokio: what is forbidden there is forbidden here.
    (&["shuttle_tokio"], &["tokio"]),
    (&["crossbeam", "channel"], &["crossbeam_channel"]),
    (&["futures_util"], &["futures"]),
    (&["futures_executor"], &["futures", "executor"]),
    (&["tokio", "task", "spawn"], &["tokio", "spawn"]),
    (&["tokio", "task", "join_set"], &["tokio", "task"]),
    (&["tokio", "sync", "mpsc", "unbounded"], &["tokio", "sync", "mpsc"]),
];

/// The canonical form of an external path.
pub(crate) fn normalise(mut path: Canon) -> Canon {
    // `std::thread` and its like come under several roots, each rewritten once at most.
    for _ in 0..SAME.len() {
        let Some((from, to)) = SAME.iter().find(|(from, _)| starts_with(&path, from)) else {
            break;
        };
        path.splice(..from.len(), to.iter().map(|segment| (*segment).to_owned()));
    }
    path
}

/// Items, and the modules on the way to them, that a glob import of an external module brings in.
const KNOWN: &[&str] = &[
    "async_channel::bounded",
    "async_channel::unbounded",
    "async_std::task::block_on",
    "crossbeam::channel",
    "crossbeam::select",
    "crossbeam_channel::Receiver",
    "crossbeam_channel::Select",
    "crossbeam_channel::Sender",
    "crossbeam_channel::after",
    "crossbeam_channel::at",
    "crossbeam_channel::bounded",
    "crossbeam_channel::never",
    "crossbeam_channel::select",
    "crossbeam_channel::select_biased",
    "crossbeam_channel::tick",
    "crossbeam_channel::unbounded",
    "flume::Receiver",
    "flume::Sender",
    "flume::bounded",
    "flume::unbounded",
    "futures::executor::block_on",
    "futures::executor::block_on_stream",
    "futures::select",
    "futures::select_biased",
    "futures_lite::future::block_on",
    "kanal::bounded",
    "kanal::bounded_async",
    "kanal::unbounded",
    "kanal::unbounded_async",
    "pollster::block_on",
    "smol::block_on",
    "std::sync::mpsc::Receiver",
    "std::sync::mpsc::Sender",
    "std::sync::mpsc::SyncSender",
    "std::sync::mpsc::channel",
    "std::sync::mpsc::sync_channel",
    "std::thread::Builder",
    "std::thread::spawn",
    "tokio::runtime::Builder",
    "tokio::runtime::Handle",
    "tokio::runtime::Runtime",
    "tokio::select",
    "tokio::spawn",
    "tokio::sync::Mutex",
    "tokio::sync::mpsc::Receiver",
    "tokio::sync::mpsc::Sender",
    "tokio::sync::mpsc::channel",
    "tokio::sync::mpsc::unbounded_channel",
    "tokio::sync::oneshot",
    "tokio::task::Builder",
    "tokio::task::JoinHandle",
    "tokio::task::JoinSet",
    "tokio::task::LocalSet",
    "tokio::task::block_in_place",
    "tokio::task::spawn_blocking",
    "tokio::task::spawn_local",
];

/// Whether an external path is one of [`KNOWN`] or a module on the way to one.
pub(crate) fn is_known(path: &[String]) -> bool {
    let shown = path.join("::");
    KNOWN.iter().any(|known| {
        known.strip_prefix(shown.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// Crates that are forbidden whoever writes them, so a crate of the audited tree with such a name hides none of its uses.
pub(crate) const FORBIDDEN_CRATES: &[&str] =
    &["async_channel", "crossbeam", "crossbeam_channel", "flume", "kanal"];

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(path: &str) -> Canon {
        path.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn re_exports_have_one_name() {
        for (written, meant) in [
            ("crossbeam::channel::bounded", "crossbeam_channel::bounded"),
            ("shuttle_tokio::task::spawn", "tokio::spawn"),
            ("futures_executor::block_on", "futures::executor::block_on"),
            ("crossbeam::queue::SegQueue", "crossbeam::queue::SegQueue"),
            ("core::future::Future", "std::future::Future"),
        ] {
            assert_eq!(normalise(canon(written)), canon(meant));
        }
    }

    #[test]
    fn globs_bring_in_what_is_known() {
        assert!(is_known(&canon("tokio::task")));
        assert!(is_known(&canon("std::thread::spawn")));
        assert!(!is_known(&canon("std::thread::sleep")));
        assert!(!is_known(&canon("tokio::tas")));
    }
}
