//! The memory that the process may use.

use std::fs;

/// Files with the limit of the control group of the process, of version 2 and 1 of the interface, as a container sees them.
const GROUP_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The memory of the machine, or the limit of the control group if that is less, in bytes; `None` if neither is known.
#[must_use]
pub fn system_memory() -> Option<usize> {
    let group = GROUP_LIMITS
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter_map(|text| text.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total);
    group.chain(machine).min()
}

/// Reads the total of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read() {
        let text = "MemTotal:       24612345 kB\nMemFree:          123456 kB\n";
        assert_eq!(total(text), Some(24_612_345 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(system_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
