//! Notices that files of TLS have changed, and reads them. The configuration file is not read for that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::app::file_watch::{Settling, Stamp, stamp};
use crate::app::pools::RunningPools;
use crate::app::tls_renewal::Renewed;
use crate::config::PoolTls;
use crate::control;

/// The interval at which the files are looked at. A change counts once they have been the same for one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The interval of warnings about certificates that expire soon.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The state of each file; `None` if it is missing.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Looks at the files of TLS of all pools.
#[derive(Debug)]
pub(super) struct TlsWatch {
    looks: Interval,
    settling: Settling<Stamps>,
    warned: Instant,
}

impl TlsWatch {
    pub(super) fn new() -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            looks,
            settling: Settling::new(None),
            warned: Instant::now(),
        }
    }

    /// Has the files read again: others may be in use than those that were looked at.
    pub(super) fn forget(&mut self) {
        self.settling.forget();
    }

    /// Waits until files have changed, and reads those of all pools. Cancel safe.
    pub(super) async fn renewed(&mut self, pools: &RunningPools) -> Vec<Renewed> {
        loop {
            self.looks.tick().await;
            let configs = pools.tls();
            if configs.is_empty() {
                continue;
            }
            if self.warned.elapsed() >= WARN_EVERY {
                self.warned = Instant::now();
                for (pool, tls) in &configs {
                    for warning in control::expiry_warnings(tls) {
                        tracing::warn!(pool, "{warning}");
                    }
                }
            }
            let paths: Vec<_> = configs.iter().flat_map(|(_, tls)| paths(tls)).collect();
            // A file may be on another machine that does not answer.
            let Ok(found) = spawn_blocking(move || stamps(paths)).await else {
                continue;
            };
            if self.settling.has_changed_to(found) {
                let Ok(renewed) = spawn_blocking(move || load(configs)).await else {
                    continue;
                };
                self.settling.accept();
                return renewed;
            }
        }
    }
}

fn paths(tls: &PoolTls) -> Vec<PathBuf> {
    tls.files().map(|file| file.path.clone()).collect()
}

fn stamps(paths: Vec<PathBuf>) -> Stamps {
    let stamps = paths.into_iter().map(|path| {
        let stamp = stamp(&path);
        (path, stamp)
    });
    stamps.collect()
}

fn load(configs: Vec<(String, PoolTls)>) -> Vec<Renewed> {
    let renewed = configs.into_iter().map(|(pool, mut tls)| {
        let loaded = tls.load();
        (pool, loaded.map(|()| tls))
    });
    renewed.collect()
}
