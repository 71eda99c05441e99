//! What a measurement was taken on, and how much of it others used meanwhile.

use std::thread::available_parallelism;

/// Threads that each side gets: all there are.
pub(super) fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Cores, instruction sets and memory, in a line.
pub(super) fn described() -> String {
    let mut parts = vec![format!("{} cores ({})", threads(), std::env::consts::ARCH)];
    #[cfg(target_arch = "x86_64")]
    parts.extend(
        [
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
            ("VNNI", std::arch::is_x86_feature_detected!("avx512vnni")),
        ]
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| (*name).to_owned()),
    );
    parts.extend(memory().map(|gib| format!("{gib:.0} GiB of memory")));
    parts.join(", ")
}

fn memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))?;
    Some(kib.trim().parse::<f64>().ok()? / f64::from(1 << 20))
}

/// Ticks of the processor: all of them, those not idle, and those of one process.
#[derive(Clone, Copy)]
pub(super) struct Ticks {
    all: u64,
    busy: u64,
    own: u64,
}

impl Ticks {
    /// Of now, where the system tells.
    pub(super) fn of(process: u32) -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user's.
        let ticks: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let process = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, in parentheses, may hold anything; user and system time are the 12th and 13th after it.
        let own = process.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
        Some(Self { all, busy: all - idle, own: own.filter_map(|n| n.parse::<u64>().ok()).sum() })
    }

    /// The share of the machine that other processes used since.
    pub(super) fn others_since(self, earlier: Self) -> f64 {
        let busy = (self.busy - earlier.busy).saturating_sub(self.own - earlier.own);
        busy as f64 / (self.all - earlier.all).max(1) as f64
    }
}
