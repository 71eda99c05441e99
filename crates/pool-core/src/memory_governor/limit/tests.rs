use std::collections::HashMap;

use super::*;

const MEMINFO: &str = "MemTotal:       24604452 kB\nMemFree:         1000 kB\n";
const MACHINE: u64 = 24_604_452 * 1024;

fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    smallest_limit(|path| files.get(path.to_str()?).map(|text| (*text).to_owned()))
}

#[test]
fn without_control_groups_it_is_the_machine() {
    assert_eq!(limit_of(&[("/proc/meminfo", MEMINFO)]), Some(MACHINE));
    assert_eq!(limit_of(&[]), None);
    assert_eq!(limit_of(&[("/proc/meminfo", "MemTotal: lots kB\n")]), None);
}

#[test]
fn version_2_binds_at_every_level() {
    let files = |own: &'static str, parent: &'static str| {
        [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/system.slice/candlepool.service\n"),
            (
                "/proc/self/mountinfo",
                "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            ),
            ("/sys/fs/cgroup/system.slice/memory.max", parent),
            ("/sys/fs/cgroup/system.slice/candlepool.service/memory.max", own),
        ]
    };
    assert_eq!(limit_of(&files("1073741824\n", "max\n")), Some(1 << 30));
    assert_eq!(limit_of(&files("max\n", "2147483648\n")), Some(2 << 30));
    assert_eq!(limit_of(&files("4294967296\n", "2147483648\n")), Some(2 << 30));
    assert_eq!(limit_of(&files("max\n", "max\n")), Some(MACHINE));
    assert_eq!(limit_of(&files("9999999999999999\n", "max\n")), Some(MACHINE));
}

#[test]
fn in_a_container_the_mount_shows_the_own_group_at_its_top() {
    // With a control group namespace the path is the root.
    let private = [
        ("/proc/meminfo", MEMINFO),
        ("/proc/self/cgroup", "0::/\n"),
        ("/proc/self/mountinfo", "1 2 0:3 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
        ("/sys/fs/cgroup/memory.max", "536870912\n"),
    ];
    assert_eq!(limit_of(&private), Some(512 << 20));
    // Without one the path is the host's, and the mount's root says which part of it is shown.
    let host = [
        ("/proc/meminfo", MEMINFO),
        ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n"),
        ("/proc/self/mountinfo", "1 2 0:3 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
    ];
    assert_eq!(limit_of(&host), Some(256 << 20));
}

#[test]
fn version_1_says_unlimited_by_a_huge_number() {
    let files = |own: &'static str| {
        [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "12:pids:/x\n4:memory,hugetlb:/user.slice/a b\n1:name=systemd:/x\n0::/x\n"),
            ("/sys/fs/cgroup/memory/user.slice/a b/memory.limit_in_bytes", own),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]
    };
    assert_eq!(limit_of(&files("9223372036854771712\n")), Some(MACHINE));
    assert_eq!(limit_of(&files("1048576\n")), Some(1 << 20));
}

#[test]
fn mounts_with_blanks_are_found() {
    let text = "1 2 0:3 /a\\040b /mnt/c\\134g rw shared:1 master:2 - cgroup2 none rw\nnonsense\n";
    let mount = Mount { root: "/a b".to_owned(), point: "/mnt/c\\g".to_owned() };
    assert_eq!(parse_mount(text, Hierarchy::Unified), Some(mount));
    assert_eq!(parse_mount(text, Hierarchy::Memory), None);
}

#[test]
fn nonsense_is_no_group() {
    assert_eq!(parse_membership("\n:\n0:\n0::relative\n7:cpu:/x\n"), vec![]);
    let odd = Group { hierarchy: Hierarchy::Unified, path: "/../x".to_owned() };
    assert_eq!(parse_membership("0::/../x\n"), vec![odd]);
}

#[test]
fn this_machine_has_a_limit() {
    let limit = detect_limit();
    assert!(limit > Bytes(16 << 20), "{limit}");
    if cfg!(target_os = "linux") {
        assert!(limit < Bytes::MAX);
    }
}
