//! What is observed of the requests of the pools, as the admin API tells it.

use std::time::Duration;

use tokio::time::sleep;

use crate::admin::api::answers::observed::{
    BigKey, BigKeyKind, BigKeys, HotKey, HotKeys, PoolHotKeys, SlowLog, SlowRequest, Tapped,
};
use crate::admin::api::requests::observed::{ENTRIES, EntriesOf, HotKeysOf, TapOf};
use crate::admin::api::{Answer, ControlError, ObserveRequests};
use crate::app::admin_control::AppControl;
use crate::app::admin_control::tap::tap;
use crate::observe::{Big, BigKind, BigName, HotKeysReport, SlowEntry, unix_seconds};
use crate::runtime::PoolSetup;

/// The maximum number of hot keys.
const KEYS_MOST: usize = 1000;

impl ObserveRequests for AppControl {
    fn hot_keys(&self, wanted: HotKeysOf) -> Answer<'_, HotKeys> {
        Box::pin(async move {
            let setups = self.find(wanted.pool.as_deref())?;
            Ok(hot_keys(&setups, &wanted).await)
        })
    }

    fn big_keys(&self, wanted: EntriesOf) -> Answer<'_, BigKeys> {
        Box::pin(async move {
            let setups = self.find(wanted.pool.as_deref())?;
            Ok(big_keys(&setups, &wanted))
        })
    }

    fn tap(&self, wanted: TapOf) -> Answer<'_, Tapped> {
        Box::pin(async move {
            let setups = self.find(Some(&wanted.pool))?;
            match setups.first() {
                Some(setup) => tap(setup, wanted).await,
                None => Err(ControlError::UnknownPool(wanted.pool)),
            }
        })
    }

    fn slow_log(&self, wanted: EntriesOf) -> Answer<'_, SlowLog> {
        Box::pin(async move {
            let setups = self.find(wanted.pool.as_deref())?;
            Ok(slow_log(&setups, &wanted))
        })
    }
}

async fn hot_keys(setups: &[PoolSetup], wanted: &HotKeysOf) -> HotKeys {
    let most = wanted.count.unwrap_or(ENTRIES).min(KEYS_MOST);
    let reports: Vec<_> = match wanted.for_ms {
        None => setups
            .iter()
            .map(|setup| setup.observation.hot_keys(most))
            .collect(),
        Some(ms) => {
            let counts = setups.iter().map(|setup| setup.observation.count_exactly());
            let counts: Vec<_> = counts.collect();
            sleep(Duration::from_millis(ms)).await;
            counts.iter().map(|count| count.report(most)).collect()
        }
    };
    let pools = setups.iter().zip(reports);
    HotKeys {
        pools: pools
            .map(|(setup, report)| pool_hot_keys(&setup.name, report))
            .collect(),
    }
}

fn pool_hot_keys(pool: &str, report: HotKeysReport) -> PoolHotKeys {
    let keys = report.keys.into_iter().map(|hot| HotKey {
        key: hot.key.escaped(),
        truncated: hot.key.is_truncated(),
        requests_per_second: tenths(hot.requests_per_second),
        error_per_second: tenths(hot.error_per_second),
        share: (hot.share * 1e4).round() / 1e4,
    });
    PoolHotKeys {
        pool: pool.to_owned(),
        requests_per_second: tenths(report.requests_per_second),
        window_seconds: tenths(report.window.as_secs_f64()),
        sampled_one_in: report.sampled_one_in,
        keys: keys.collect(),
    }
}

/// More digits than one behind the point would be noise.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn big_keys(setups: &[PoolSetup], wanted: &EntriesOf) -> BigKeys {
    let most = wanted.count.unwrap_or(ENTRIES);
    let now = unix_seconds();
    let entries = setups.iter().flat_map(|setup| {
        let entries = setup.observation.big_keys(most).into_iter();
        entries.map(|(name, big)| big_key(&setup.name, &name, big, now))
    });
    let mut big: Vec<_> = entries.collect();
    big.sort_by_key(|entry| std::cmp::Reverse(entry.bytes));
    big.truncate(most);
    BigKeys { big }
}

fn big_key(pool: &str, name: &BigName, big: Big, now: u64) -> BigKey {
    BigKey {
        pool: pool.to_owned(),
        server: big.server,
        kind: match name.kind {
            BigKind::Request => BigKeyKind::Request,
            BigKind::Reply => BigKeyKind::Reply,
        },
        command: name.command.escaped(),
        key: name.key.escaped(),
        truncated: name.key.is_truncated(),
        keys: big.keys,
        bytes: big.bytes,
        times: big.times,
        age_seconds: now.saturating_sub(big.at),
    }
}

fn slow_log(setups: &[PoolSetup], wanted: &EntriesOf) -> SlowLog {
    let most = wanted.count.unwrap_or(ENTRIES);
    let requests = setups.iter().flat_map(|setup| {
        let log = setup.shared.slow_log.lock();
        let newest = log.entries.iter().take(most);
        let newest = newest.map(|entry| slow_request(&setup.name, entry));
        newest.collect::<Vec<_>>()
    });
    let mut requests: Vec<_> = requests.collect();
    requests.sort_by_key(|request| std::cmp::Reverse(request.time));
    requests.truncate(most);
    SlowLog { requests }
}

fn slow_request(pool: &str, entry: &SlowEntry) -> SlowRequest {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let request = &entry.request;
    SlowRequest {
        pool: pool.to_owned(),
        id: entry.number,
        time: entry.at,
        took_us: micros(request.took),
        waited_us: micros(request.waited),
        server_us: micros(request.took).saturating_sub(micros(request.waited)),
        server: request.server.clone(),
        args: request.text.escaped(),
        client: entry.peer.clone(),
        client_name: entry.name.escape_ascii().to_string(),
    }
}
