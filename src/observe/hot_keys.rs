//! The keys that most requests name: counted by one worker, and merged for a reader.
//!
//! The weight of a request decays: it is halved every [`HALF_LIFE`], so that a count is one of about the last
//! minute. Instead of all that is there, what comes is scaled (forward decay: Cormode et al., ICDE 2009): a request
//! weighs the more the later it comes, and a reader divides by the weight of its own time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::observe::key_text::KeyText;
use crate::observe::sketch::Sketch;

/// The time in which the weight of a request is halved.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(30);

/// Half-lives after which all weights are scaled down, long before a double loses precision.
const RESCALE_AFTER: f64 = 20.0;

/// The keys of the requests of one worker.
#[derive(Debug, Clone)]
pub struct HotKeys {
    sketch: Sketch,
    /// The weight of all requests, those without keys included.
    requests: f64,
    since: Instant,
    /// The time at which a request weighs one; none if weights do not decay.
    landmark: Option<Instant>,
    /// The number of requests that one sample stands for.
    sample_of: u32,
}

/// The hot keys of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct HotKeysReport {
    /// The hottest first.
    pub keys: Vec<HotKey>,
    /// The estimated number of all requests per second.
    pub requests_per_second: f64,
    /// The time over which requests were counted, on average.
    pub window: Duration,
    /// One request in so many was looked at.
    pub sampled_one_in: u32,
}

/// A key, and how often requests name it.
#[derive(Debug, Clone, PartialEq)]
pub struct HotKey {
    /// The key.
    pub key: KeyText,
    /// The estimated number of requests per second that name it.
    pub requests_per_second: f64,
    /// How far the estimate may be off: by the sketch at most, by sampling in 19 of 20 cases.
    pub error_per_second: f64,
    /// The share of the requests that name it, from 0 to 1.
    pub share: f64,
}

impl HotKeys {
    /// Counts with decay, of samples of so many requests.
    pub(super) fn decaying(counters: usize, sample_of: u32, now: Instant) -> Self {
        Self {
            landmark: Some(now),
            ..Self::exact(counters, sample_of, now)
        }
    }

    /// Counts without decay.
    pub(super) fn exact(counters: usize, sample_of: u32, now: Instant) -> Self {
        Self {
            sketch: Sketch::new(counters),
            requests: 0.0,
            since: now,
            landmark: None,
            sample_of,
        }
    }

    /// Counts a request, and returns its weight, with which its keys are to be counted.
    pub(super) fn request(&mut self, now: Instant) -> f64 {
        let mut exponent = self.exponent(now);
        if exponent > RESCALE_AFTER {
            let factor = (-exponent).exp2();
            self.sketch.scale(factor);
            self.requests *= factor;
            self.landmark = Some(now);
            exponent = 0.0;
        }
        let weight = f64::from(self.sample_of) * exponent.exp2();
        self.requests += weight;
        weight
    }

    /// Counts a key of a request. `hash` is seeded, the same for all workers.
    pub(super) fn key(&mut self, key: &[u8], hash: u64, weight: f64) {
        self.sketch.add(key, hash, weight);
    }

    /// The half-lives since the landmark.
    fn exponent(&self, now: Instant) -> f64 {
        self.landmark.map_or(0.0, |landmark| {
            now.saturating_duration_since(landmark).as_secs_f64() / HALF_LIFE.as_secs_f64()
        })
    }

    /// The time over which requests are counted: with decay the sum of their weights, if one came each second.
    fn window(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.since);
        if self.landmark.is_none() {
            return since;
        }
        let mean = HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
        Duration::from_secs_f64(mean * -(-since.as_secs_f64() / mean).exp_m1())
    }
}

/// Merges what the workers of a pool have counted, and returns the hottest keys.
pub(super) fn merge(workers: &[HotKeys], now: Instant, most: usize) -> HotKeysReport {
    let window = workers.iter().map(|worker| worker.window(now)).max();
    let window = window.unwrap_or_default();
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    let sampled_one_in = workers.first().map_or(1, |worker| worker.sample_of);
    let mut requests = 0.0;
    let mut merged: HashMap<(u64, &KeyText), Merged> = HashMap::new();
    let mut missed_by_all = 0.0;
    for worker in workers {
        let scale = (-worker.exponent(now)).exp2();
        requests += worker.requests * scale;
        let missed = worker.sketch.missed() * scale;
        missed_by_all += missed;
        for counter in worker.sketch.counters() {
            let sum = merged.entry((counter.hash(), &counter.key)).or_default();
            sum.count += counter.count * scale;
            sum.error += counter.error * scale;
            sum.not_missed += missed;
        }
    }
    let mut keys: Vec<_> = merged
        .into_iter()
        .map(|((_, key), sum)| {
            let noise = if sampled_one_in > 1 {
                2.0 * (f64::from(sampled_one_in) * sum.count).sqrt()
            } else {
                0.0
            };
            let bound = sum.error.max(missed_by_all - sum.not_missed);
            HotKey {
                key: key.clone(),
                requests_per_second: sum.count / seconds,
                error_per_second: (bound + noise) / seconds,
                share: if requests > 0.0 {
                    sum.count / requests
                } else {
                    0.0
                },
            }
        })
        .collect();
    keys.sort_by(|a, b| {
        let by_count = b.requests_per_second.total_cmp(&a.requests_per_second);
        by_count.then_with(|| a.key.cmp(&b.key))
    });
    keys.truncate(most);
    HotKeysReport {
        keys,
        requests_per_second: requests / seconds,
        window,
        sampled_one_in,
    }
}

/// The counts of a key by all workers.
#[derive(Debug, Default)]
struct Merged {
    count: f64,
    error: f64,
    /// What the workers that have a counter for it may have missed of others.
    not_missed: f64,
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    const COUNTERS: usize = 1024;

    /// The number of the keys of the Zipf distribution.
    const POPULATION: u32 = 1_000_000;

    /// Numbers of keys by Zipf's law with exponent 1: number `n` comes with a probability of `1 / n`, up to a factor.
    struct Zipf {
        /// The sum of the weights up to each number.
        sums: Vec<f64>,
        random: fastrand::Rng,
    }

    impl Zipf {
        fn new(seed: u64) -> Self {
            let mut sum = 0.0;
            let sums = (1..=POPULATION).map(|number| {
                sum += 1.0 / f64::from(number);
                sum
            });
            Self {
                sums: sums.collect(),
                random: fastrand::Rng::with_seed(seed),
            }
        }

        fn next(&mut self) -> usize {
            let at = self.random.f64() * self.sums.last().unwrap();
            self.sums.partition_point(|sum| *sum < at) + 1
        }
    }

    fn key(number: usize) -> String {
        format!("user:{number}")
    }

    fn count(hot: &mut HotKeys, key: &str, hasher: &RandomState, now: Instant) {
        let weight = hot.request(now);
        hot.key(key.as_bytes(), hasher.hash_one(key.as_bytes()), weight);
    }

    fn named(report: &HotKeysReport) -> Vec<String> {
        report.keys.iter().map(|hot| hot.key.escaped()).collect()
    }

    #[test]
    fn top_ten_of_a_million_keys_are_named_in_order() {
        let (mut zipf, hasher, now) = (Zipf::new(7), RandomState::new(), Instant::now());
        let mut workers = [(); 2].map(|()| HotKeys::exact(COUNTERS, 1, now));
        let mut truth = vec![0_u32; POPULATION as usize + 1];
        for turn in 0..1_000_000 {
            let number = zipf.next();
            truth[number] += 1;
            count(&mut workers[turn % 2], &key(number), &hasher, now);
        }
        let mut by_count: Vec<_> = (1..truth.len()).collect();
        by_count.sort_by_key(|number| std::cmp::Reverse(truth[*number]));
        let later = now + Duration::from_secs(10);
        let report = merge(&workers, later, 10);
        let expected: Vec<_> = by_count
            .iter()
            .take(10)
            .map(|number| key(*number))
            .collect();
        assert_eq!(named(&report), expected);
        assert!((report.requests_per_second - 100_000.0).abs() < 1e-3);
        for (hot, number) in report.keys.iter().zip(by_count) {
            let real = f64::from(truth[number]) / 10.0;
            let off = (hot.requests_per_second - real).abs();
            assert!(
                off <= hot.error_per_second + 1e-6,
                "{hot:?}, {real} a second"
            );
        }
    }

    #[test]
    fn top_ten_are_among_the_first_of_the_samples() {
        let (mut zipf, hasher, now) = (Zipf::new(8), RandomState::new(), Instant::now());
        let mut hot = HotKeys::decaying(COUNTERS, 64, now);
        for _ in 0..4_000_000 / 64 {
            count(&mut hot, &key(zipf.next()), &hasher, now);
        }
        let found = named(&merge(&[hot], now + Duration::from_secs(1), 12));
        for number in 1..=10 {
            assert!(
                found.contains(&key(number)),
                "{number} is not among {found:?}"
            );
        }
    }

    #[test]
    fn estimate_of_a_steady_rate_stays() {
        let (hasher, start) = (RandomState::new(), Instant::now());
        let mut hot = HotKeys::decaying(COUNTERS, 64, start);
        for tenth in 0..12_000_u64 {
            let now = start + Duration::from_millis(100 * tenth);
            count(
                &mut hot,
                if tenth % 4 == 0 { "a" } else { "b" },
                &hasher,
                now,
            );
            if [600, 3_000, 11_999].contains(&tenth) {
                let report = merge(&[hot.clone()], now, 10);
                assert!(
                    (report.requests_per_second - 640.0).abs() < 15.0,
                    "{report:?}"
                );
                assert_eq!(named(&report), ["b", "a"]);
                assert!((report.keys[1].share - 0.25).abs() < 0.01, "{report:?}");
            }
        }
    }

    #[test]
    fn old_heat_decays() {
        let (hasher, start) = (RandomState::new(), Instant::now());
        let mut hot = HotKeys::decaying(COUNTERS, 64, start);
        for _ in 0..1000 {
            count(&mut hot, "yesterday", &hasher, start);
        }
        let later = start + 40 * HALF_LIFE;
        for _ in 0..10 {
            count(&mut hot, "today", &hasher, later);
        }
        let report = merge(&[hot], later, 10);
        assert_eq!(report.keys[0].key.bytes(), b"today");
        assert!(report.keys[1].requests_per_second < 1e-6);
    }
}
