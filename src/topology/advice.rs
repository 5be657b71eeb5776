//! The pairs of hash and distribution that spread keys badly, and what to take instead.

use std::fmt;

use crate::config::Distribution;
use crate::hash::HashKind;

/// Returns advice against a pair that spreads keys badly over servers of equal weight, as the default one does:
/// `fnv1a_64` with ketama.
#[must_use]
pub fn advice(hash: HashKind, distribution: Distribution) -> Option<Advice> {
    let severity = match (distribution, hash) {
        (Distribution::Ketama, HashKind::Crc32) => Severity::Broken,
        (Distribution::Ketama, HashKind::Crc16 | HashKind::Fnv1_64 | HashKind::Fnv1a64)
        | (Distribution::Modula, HashKind::Fnv1a64) => Severity::Uneven,
        _ => return None,
    };
    Some(Advice {
        severity,
        hash,
        distribution,
    })
}

/// A pool's poor pair of hash and distribution. `Display` gives the whole sentence for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// The severity.
    pub severity: Severity,
    /// The pool's hash.
    pub hash: HashKind,
    /// The pool's distribution.
    pub distribution: Distribution,
}

/// The severity of an uneven spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Similar keys cluster; many keys are spread, but not evenly. Shown by `route`, not at every start.
    Uneven,
    /// The pool does not shard at all. Worth a warning at every start.
    Broken,
}

impl Advice {
    /// The hashes to propose: each spreads sequential keys evenly with ketama and with modula.
    pub const BETTER: [HashKind; 3] = [HashKind::Murmur, HashKind::Md5, HashKind::Jenkins];

    /// The consequence, as the rest of a sentence about the pair.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        match (self.severity, self.distribution) {
            (Severity::Broken, _) => "sends all or nearly all keys to one server",
            // 435, the low half of the hash's prime, is 3 times 5 times 29.
            (Severity::Uneven, Distribution::Modula) => {
                "sends runs of similar keys to one server if the sum of the weights is divisible by 3, 5 or 29"
            }
            (Severity::Uneven, _) => "sends runs of similar keys to one server",
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = Self::BETTER.map(HashKind::name);
        write!(
            f,
            "hash {} with distribution {} {}; for a new pool choose hash {first}, {second} or {third} \
             (in a pool that holds data, another hash moves most keys to other servers)",
            self.hash.name(),
            self.distribution.name(),
            self.problem(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Member, Router};

    const KEYS: u32 = 1000;

    /// The keys of the fullest server, `user:0` to `user:999` routed, over those it would have in an even pool.
    fn overload(hash: HashKind, distribution: Distribution, servers: u32) -> f64 {
        let name = |n| format!("10.0.0.{n}:6379");
        let members: Vec<_> = (1..=servers)
            .map(|n| Member {
                name: name(n),
                weight: 1,
            })
            .collect();
        let router = Router::new(hash, None, distribution, &members);
        let mut counts = vec![0_u32; members.len()];
        for n in 0..KEYS {
            counts[router
                .route(format!("user:{n}").as_bytes())
                .unwrap()
                .index()] += 1;
        }
        f64::from(*counts.iter().max().unwrap()) * f64::from(servers) / f64::from(KEYS)
    }

    fn worst_overload(hash: HashKind, distribution: Distribution) -> f64 {
        let of = |servers| overload(hash, distribution, servers);
        [2, 3, 4, 5, 8].map(of).into_iter().fold(0.0, f64::max)
    }

    #[test]
    fn advice_is_given_only_for_bad_pairs() {
        for distribution in [Distribution::Ketama, Distribution::Modula] {
            for hash in HashKind::ALL {
                let overload = worst_overload(hash, distribution);
                let advised = advice(hash, distribution).is_some();
                let pair = (hash.name(), distribution.name());
                assert_eq!(advised, overload > 1.45, "{pair:?}: {overload}");
            }
        }
    }

    #[test]
    fn broken_pair_puts_all_keys_on_one_server() {
        for hash in HashKind::ALL {
            let is_broken = overload(hash, Distribution::Ketama, 5) > 4.99;
            let severity = advice(hash, Distribution::Ketama).map(|a| a.severity);
            assert_eq!(
                is_broken,
                severity == Some(Severity::Broken),
                "{}",
                hash.name()
            );
        }
    }

    #[test]
    fn advised_pair_spreads_well() {
        for hash in Advice::BETTER {
            for distribution in [Distribution::Ketama, Distribution::Modula] {
                assert!(worst_overload(hash, distribution) < 1.2, "{}", hash.name());
            }
        }
    }

    #[test]
    fn advice_names_the_pair_and_is_for_new_pools() {
        let advice = advice(HashKind::Crc32, Distribution::Ketama).unwrap();
        assert_eq!(
            advice.to_string(),
            "hash crc32 with distribution ketama sends all or nearly all keys to one server; \
             for a new pool choose hash murmur, md5 or jenkins \
             (in a pool that holds data, another hash moves most keys to other servers)"
        );
    }
}
