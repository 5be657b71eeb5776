//! The watchdog of the service manager: it hears from this process as long as all workers turn.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::StatsCollector;
use crate::systemd::{Notifier, Watchdog};

/// Starts to notify the service manager, if it wants that.
pub(super) fn start(notifier: &Notifier, workers: StatsCollector) -> Option<AbortOnDropHandle<()>> {
    let watchdog = Watchdog::from_environment()?;
    let task = tokio::spawn(notify(watchdog.within / 2, notifier.clone(), workers));
    Some(AbortOnDropHandle::new(task))
}

async fn notify(every: Duration, notifier: Notifier, workers: StatsCollector) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if timeout(every, workers.turned()).await.is_ok() {
            notifier.alive();
        } else {
            tracing::error!(within = ?every, "a worker does not turn; the watchdog is not told that it does");
        }
    }
}
