//! Metrics of the process, read from the operating system on request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::journal::LastLoad;
use crate::net::tls::seconds_until;
use crate::stats::ProcessMetric;
use crate::stats::process::{cpu_time, open_fds, resident_bytes};

/// The process, as far as the proxy counts it.
#[derive(Debug)]
pub(super) struct Process {
    /// Worker threads.
    pub(super) workers: usize,
    /// Time since the start.
    pub(super) uptime: Duration,
    /// Connections ever made, and open.
    pub(super) connections: (u64, u64),
    /// What became of the configuration file.
    pub(super) last_load: LastLoad,
    /// When the certificate of the stats port expires, if it has one.
    pub(super) stats_tls_ends: Option<SystemTime>,
}

impl Process {
    /// The value of a metric as text; `None` if the operating system does not report it.
    pub(super) fn value(&self, metric: ProcessMetric) -> Option<String> {
        match metric {
            ProcessMetric::BuildInfo => Some("1".to_owned()),
            ProcessMetric::Workers => Some(self.workers.to_string()),
            ProcessMetric::Uptime => Some(self.uptime.as_secs_f64().to_string()),
            ProcessMetric::ConfigApplied => {
                let is_applied = self.last_load.refusal.is_none();
                Some(u8::from(is_applied).to_string())
            }
            ProcessMetric::ConfigAppliedAt => {
                let since = self.last_load.applied.duration_since(UNIX_EPOCH).ok()?;
                Some(since.as_secs().to_string())
            }
            ProcessMetric::StatsTlsExpiry => {
                let left = seconds_until(self.stats_tls_ends?, SystemTime::now());
                Some(left.to_string())
            }
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
