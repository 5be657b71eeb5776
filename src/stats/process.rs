//! Metrics of the process, read from the operating system on request. `None` if it does not report them.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Resident memory in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Open file descriptors.
#[must_use]
pub fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Linux 6.2 and later report the number as the directory's size; with ten thousand clients the walk is slow.
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => u64::try_from(fs::read_dir(DIRECTORY).ok()?.count()).ok(),
        fds => Some(fds),
    }
}

/// The processor time of all threads, user and system together.
#[must_use]
pub fn cpu_time() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}

/// Processor time as `/proc` counts it: in hundredths of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// In the kernel, for this process.
    pub system: Duration,
    /// In user space.
    pub user: Duration,
}

/// The processor time of all threads, user and system separately.
#[must_use]
pub fn cpu_times() -> Option<CpuTimes> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in brackets, and may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || -> Option<Duration> {
        let ticks: u64 = fields.next()?.parse().ok()?;
        let millis = ticks.checked_mul(1000)? / clock_ticks_per_second();
        Some(Duration::from_millis(millis))
    };
    let user = next()?;
    let system = next()?;
    Some(CpuTimes { system, user })
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
        let times = cpu_times().unwrap();
        assert!(times.user + times.system <= cpu_time().unwrap() + Duration::from_millis(20));
    }
}
