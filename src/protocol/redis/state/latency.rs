//! Samples of the durations of slow requests.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::observe::unix_seconds;

/// Number of samples that are kept per event, as in Redis.
const SAMPLES: usize = 160;

/// The sampled events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Command,
    FastCommand,
}

impl Event {
    pub(crate) const ALL: [Self; 2] = [Self::Command, Self::FastCommand];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
        }
    }
}

/// The samples of one pool.
#[derive(Debug, Default)]
pub(crate) struct Monitor(Mutex<[Series; Event::ALL.len()]>);

/// The maximum of each second.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) samples: VecDeque<Sample>,
    /// The maximum since the last reset, in milliseconds.
    pub(crate) longest: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) millis: u64,
}

impl Monitor {
    pub(crate) fn note(&self, event: Event, millis: u64) {
        let at = unix_seconds();
        let mut all = self.lock();
        for (series, _) in all.iter_mut().zip(Event::ALL).filter(|(_, e)| *e == event) {
            series.longest = series.longest.max(millis);
            match series.samples.back_mut() {
                Some(last) if last.at == at => last.millis = last.millis.max(millis),
                _ => {
                    if series.samples.len() == SAMPLES {
                        series.samples.pop_front();
                    }
                    series.samples.push_back(Sample { at, millis });
                }
            }
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, [Series; Event::ALL.len()]> {
        // Numbers only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_history_keeps_the_maximum_per_second() {
        let monitor = Monitor::default();
        for millis in [5, 9, 7] {
            monitor.note(Event::FastCommand, millis);
        }
        let all = monitor.lock();
        assert!(all[0].samples.is_empty());
        let longest = all[1].samples.iter().map(|sample| sample.millis).max();
        assert_eq!((longest, all[1].longest), (Some(9), 9));
    }
}
