use std::fs;
use std::path::Path;

use crate::types::Bytes;

#[cfg(test)]
mod tests;

/// Four fifths of the memory this process may use: of the smallest of its control groups' limits and the machine's
/// memory. [`Bytes::MAX`] where neither can be told, as on systems other than Linux.
///
/// It reads a few small files of the kernel's, so call it at start-up, before anything that must not wait.
pub fn detect_limit() -> Bytes {
    let read = |path: &Path| fs::read_to_string(path).ok();
    match smallest_limit(read) {
        Some(bytes) => Bytes(bytes / 5 * 4),
        None => Bytes::MAX,
    }
}

/// The smallest limit that the files, as `read` gives them, tell of.
fn smallest_limit(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| parse_meminfo(&text));
    let membership =
        read(Path::new("/proc/self/cgroup")).map(|text| parse_membership(&text)).unwrap_or_default();
    let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let groups = membership.iter().flat_map(|group| {
        let mount = parse_mount(&mounts, group.hierarchy);
        ancestors(group, mount.as_ref())
    });
    let limits = groups.filter_map(|file| read(Path::new(&file)).and_then(|text| parse_limit(&text)));
    limits.chain(machine).min()
}

/// Which interface a control group has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hierarchy {
    /// Version 2, the unified one: `memory.max`.
    Unified,
    /// The memory controller of version 1: `memory.limit_in_bytes`.
    Memory,
}

impl Hierarchy {
    const fn limit_file(self) -> &'static str {
        match self {
            Self::Unified => "memory.max",
            Self::Memory => "memory.limit_in_bytes",
        }
    }

    const fn usual_mount(self) -> &'static str {
        match self {
            Self::Unified => "/sys/fs/cgroup",
            Self::Memory => "/sys/fs/cgroup/memory",
        }
    }
}

/// A control group this process is in.
#[derive(PartialEq, Eq, Debug)]
struct Group {
    hierarchy: Hierarchy,
    path: String,
}

/// Where a hierarchy is mounted, and which of its groups the mount shows at its top.
#[derive(PartialEq, Eq, Debug)]
struct Mount {
    root: String,
    point: String,
}

/// Reads `/proc/self/cgroup`: lines of `id:controllers:path`, where version 2 has id 0 and no controllers.
fn parse_membership(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let hierarchy = if controllers.is_empty() {
            Hierarchy::Unified
        } else if controllers.split(',').any(|controller| controller == "memory") {
            Hierarchy::Memory
        } else {
            return None;
        };
        path.starts_with('/').then(|| Group { hierarchy, path: path.to_owned() })
    };
    text.lines().filter_map(group).collect()
}

/// Finds a hierarchy in `/proc/self/mountinfo`: `id parent device root point options... - type source options`.
fn parse_mount(text: &str, hierarchy: Hierarchy) -> Option<Mount> {
    text.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, _source, options) = (system.next()?, system.next()?, system.next().unwrap_or_default());
        let is_it = match hierarchy {
            Hierarchy::Unified => kind == "cgroup2",
            Hierarchy::Memory => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        };
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        is_it.then(|| Mount { root: unescape(root), point: unescape(point) })
    })
}

/// The kernel writes blanks and backslashes of paths as three octal digits.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The limit files of a group and of all those above it that the mount shows: each binds.
fn ancestors(group: &Group, mount: Option<&Mount>) -> Vec<String> {
    let (root, point) = match mount {
        Some(mount) => (mount.root.as_str(), mount.point.as_str()),
        None => ("/", group.hierarchy.usual_mount()),
    };
    // Within a container the mount's root is often the group itself, while the path is the host's, or the reverse.
    let below = group.path.strip_prefix(root.trim_end_matches('/')).unwrap_or(&group.path);
    let file = group.hierarchy.limit_file();
    let mut files = vec![format!("{point}/{file}")];
    let mut directory = point.trim_end_matches('/').to_owned();
    for name in below.split('/').filter(|name| !name.is_empty() && *name != "..") {
        directory = format!("{directory}/{name}");
        files.push(format!("{directory}/{file}"));
    }
    files
}

/// A limit file's number; `None` for `max` (version 2) and for anything else that is no number. Version 1 says
/// "unlimited" by an enormous number, which the machine's memory undercuts.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`.
fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
