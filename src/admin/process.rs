//! What the operating system knows of this process, read when it is asked for.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::stats::ProcessMetric;

/// What the proxy knows of itself.
#[derive(Debug)]
pub(super) struct Process {
    /// Worker threads.
    pub(super) workers: usize,
    /// Time since the start.
    pub(super) uptime: Duration,
    /// Connections ever made, and open.
    pub(super) connections: (u64, u64),
}

impl Process {
    /// The value of a metric as text; `None` where the operating system does not tell.
    pub(super) fn value(&self, metric: ProcessMetric) -> Option<String> {
        match metric {
            ProcessMetric::BuildInfo => Some("1".to_owned()),
            ProcessMetric::Workers => Some(self.workers.to_string()),
            ProcessMetric::Uptime => Some(self.uptime.as_secs_f64().to_string()),
            ProcessMetric::TotalConnections => Some(self.connections.0.to_string()),
            ProcessMetric::CurrentConnections => Some(self.connections.1.to_string()),
            ProcessMetric::ResidentMemory => resident_bytes().map(|bytes| bytes.to_string()),
            ProcessMetric::OpenFds => open_fds().map(|fds| fds.to_string()),
            ProcessMetric::MaxFds => rlimit::Resource::NOFILE
                .get_soft()
                .ok()
                .map(|limit| limit.to_string()),
            ProcessMetric::CpuSeconds => cpu_time().map(|time| time.as_secs_f64().to_string()),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Linux 6.2 and later tell the number as the directory's size; with ten thousand clients the walk is slow.
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => u64::try_from(fs::read_dir(DIRECTORY).ok()?.count()).ok(),
        fds => Some(fds),
    }
}

fn cpu_time() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn open_files_are_counted() {
        let files: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(open_fds().unwrap() >= 100, "{} files are open", files.len());
    }

    #[test]
    fn memory_and_cpu_time_are_known() {
        assert!(resident_bytes().unwrap() > 100_000);
        let before = cpu_time().unwrap();
        assert!(before > Duration::ZERO);
        assert!(cpu_time().unwrap() >= before);
    }
}
