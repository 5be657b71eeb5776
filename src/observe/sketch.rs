//! The most frequent keys of a stream, in bounded memory: Space-Saving.
//!
//! Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005. It
//! keeps a number of counters. A key without one takes the smallest, and inherits its count as its possible error. So a
//! count is never too low, it is too high by at most its error, and a key that had more than the N-th part of the stream has
//! one of the N counters. `HeavyKeeper` (Gong et al., USENIX ATC 2018) needs less memory for the same recall, but its counts
//! have no bound that could be told beside them, and its own decay would be mixed with that of time. Sketches are merged as
//! in Agarwal et al., "Mergeable summaries", PODS 2012: a full sketch without a key may have missed it as often as its
//! smallest counter says.
//!
//! The counters are a heap, the smallest on top, so an update costs the logarithm of their number. They are added as keys
//! come, and reuse the memory of the keys that they had.

use fnv::FnvHashMap;

use crate::observe::key_text::KeyText;

/// The counters that a sketch has room for at first.
const STEP: usize = 128;

/// The counters of one stream.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    counters: Vec<Counter>,
    /// The counters by their counts, as a binary heap: the smallest first.
    heap: Vec<usize>,
    /// The counter of each key, by its hash.
    by_hash: FnvHashMap<u64, usize>,
    most: usize,
}

/// The counter of one key.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) key: KeyText,
    hash: u64,
    /// The weight of the key in the stream: never too low, and too high by at most `error`.
    pub(super) count: f64,
    pub(super) error: f64,
    /// Its place in the heap.
    place: usize,
}

impl Counter {
    /// The hash of its key.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

impl Sketch {
    /// A sketch of at most so many counters.
    pub(super) fn new(most: usize) -> Self {
        Self {
            counters: Vec::new(),
            heap: Vec::new(),
            by_hash: FnvHashMap::default(),
            most,
        }
    }

    /// Adds to the count of a key. `hash` stands for the whole key, and is seeded: clients cannot choose it.
    pub(super) fn add(&mut self, key: &[u8], hash: u64, weight: f64) {
        if let Some(&found) = self.by_hash.get(&hash) {
            self.grow(found, weight);
        } else if self.counters.len() < self.most {
            self.reserve();
            let place = self.heap.len();
            self.by_hash.insert(hash, self.counters.len());
            self.heap.push(self.counters.len());
            self.counters.push(Counter {
                key: KeyText::new(key),
                hash,
                count: weight,
                error: 0.0,
                place,
            });
            self.sift_up(place);
        } else if let Some(&smallest) = self.heap.first()
            && let Some(counter) = self.counters.get_mut(smallest)
        {
            self.by_hash.remove(&counter.hash);
            self.by_hash.insert(hash, smallest);
            counter.key.set(key);
            counter.hash = hash;
            counter.error = counter.count;
            self.grow(smallest, weight);
        }
    }

    /// The counters, in no order.
    pub(super) fn counters(&self) -> &[Counter] {
        &self.counters
    }

    /// The highest possible count of a key that has no counter.
    pub(super) fn missed(&self) -> f64 {
        let smallest = self
            .heap
            .first()
            .and_then(|first| self.counters.get(*first));
        match smallest {
            Some(smallest) if self.counters.len() == self.most => smallest.count,
            _ => 0.0,
        }
    }

    /// Multiplies all counts.
    pub(super) fn scale(&mut self, factor: f64) {
        for counter in &mut self.counters {
            counter.count *= factor;
            counter.error *= factor;
        }
    }

    /// Makes room for another counter: in steps, since a worker has a sketch for each of its pools.
    fn reserve(&mut self) {
        let len = self.counters.len();
        if len == self.counters.capacity() {
            let more = len.max(STEP).min(self.most - len);
            self.counters.reserve_exact(more);
            self.heap.reserve_exact(more);
            self.by_hash.reserve(more);
        }
    }

    fn grow(&mut self, counter: usize, weight: f64) {
        if let Some(counter) = self.counters.get_mut(counter) {
            counter.count += weight;
            let place = counter.place;
            self.sift_down(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.count_at(above) <= self.count_at(place) {
                break;
            }
            self.swap(above, place);
            place = above;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let below = if self.count_at(right) < self.count_at(left) {
                right
            } else {
                left
            };
            if self.count_at(below) >= self.count_at(place) {
                break;
            }
            self.swap(below, place);
            place = below;
        }
    }

    /// The count of the counter at a place of the heap; infinite beyond its end.
    fn count_at(&self, place: usize) -> f64 {
        let counter = self.heap.get(place);
        let counter = counter.and_then(|counter| self.counters.get(*counter));
        counter.map_or(f64::INFINITY, |counter| counter.count)
    }

    fn swap(&mut self, first: usize, second: usize) {
        self.heap.swap(first, second);
        for place in [first, second] {
            if let Some(&counter) = self.heap.get(place)
                && let Some(counter) = self.counters.get_mut(counter)
            {
                counter.place = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher as _, RandomState};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The three promises of Space-Saving.
        #[test]
        fn counts_are_within_their_errors(stream in prop::collection::vec(0..40_u32, 0..400)) {
            let (mut sketch, hasher) = (Sketch::new(8), RandomState::new());
            let mut truth: HashMap<String, f64> = HashMap::new();
            for number in &stream {
                // Some keys come far more often than others.
                let key = format!("key:{}", number * number % 50 % 23);
                sketch.add(key.as_bytes(), hasher.hash_one(key.as_bytes()), 1.0);
                *truth.entry(key).or_default() += 1.0;
            }
            prop_assert!(sketch.counters().len() <= 8);
            let mut found = Vec::new();
            for counter in sketch.counters() {
                let key = counter.key.escaped();
                let real = truth[&key];
                prop_assert!(counter.count >= real, "{key} is counted {} of {real} times", counter.count);
                prop_assert!(counter.count - counter.error <= real, "{key}: {counter:?}, {real} times");
                found.push(key);
            }
            for (key, real) in &truth {
                prop_assert!(found.contains(key) || *real <= sketch.missed(), "{key}, {real} times");
            }
            let sum: f64 = sketch.counters().iter().map(|counter| counter.count).sum();
            let requests = f64::from(u32::try_from(stream.len()).unwrap());
            prop_assert!((sum - requests).abs() < 1e-6);
        }
    }

    #[test]
    fn flood_of_keys_replaces_none_that_is_frequent() {
        let (mut sketch, hasher) = (Sketch::new(64), RandomState::new());
        for number in 0..100_000_u32 {
            let key = if number % 20 == 0 {
                "hot".to_owned()
            } else {
                format!("flood:{number}")
            };
            sketch.add(key.as_bytes(), hasher.hash_one(key.as_bytes()), 1.0);
        }
        let mut counters = sketch.counters().to_vec();
        counters.sort_by(|a, b| b.count.total_cmp(&a.count));
        assert_eq!(counters.len(), 64);
        assert_eq!(sketch.by_hash.len(), 64);
        assert_eq!(counters[0].key.bytes(), b"hot");
        assert!(counters[0].count - counters[0].error <= 5000.0 && counters[0].count >= 5000.0);
    }
}
