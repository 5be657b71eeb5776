//! The fuzz targets over their seeds: the same rules, with the stable toolchain.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the crate of the fuzz targets exports them")]
mod rules;

type Target = (&'static str, fn(&[u8]));

/// The name of a file, and its content.
type Seed = (String, Vec<u8>);

const TARGETS: [Target; 11] = [
    ("acl", rules::acl),
    ("request", rules::request),
    ("reply", rules::reply),
    ("inline", rules::inline),
    ("gather", rules::gather),
    ("config", rules::config),
    ("proxy_header", rules::proxy_header),
    ("memcached_request", rules::memcached_request),
    ("memcached_reply", rules::memcached_reply),
    ("memcached_gather", rules::memcached_gather),
    ("tls_files", rules::tls_files),
];

#[test]
fn every_seed_upholds_its_target_invariants() {
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (seed, bytes) in seeds {
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                broken.push(format!("{name}/{seed}"));
            }
        }
    }
    assert!(broken.is_empty(), "rules are broken over {broken:?}");
}

/// A seed, and changes to it: replaced bytes, and a length.
fn mutation() -> impl Strategy<Value = (usize, Vec<(usize, u8)>, usize)> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"*$:+-\r\n0123456789 \"'abkmnqsv".to_vec())
    ];
    (
        any::<usize>(),
        prop::collection::vec((any::<usize>(), byte), 0..6),
        any::<usize>(),
    )
}

proptest! {
    /// Not a fuzzer, but random inputs near the seeds.
    #[test]
    fn mutated_seeds_uphold_the_invariants((which, changes, end) in mutation()) {
        static SEEDS: LazyLock<[Vec<Seed>; TARGETS.len()]> = LazyLock::new(|| TARGETS.map(|(name, _)| seeds(name)));
        for ((_, target), seeds) in TARGETS.iter().zip(SEEDS.iter()) {
            let mut bytes = seeds[which % seeds.len()].1.clone();
            for &(at, byte) in &changes {
                if let Some(at) = at.checked_rem(bytes.len()) {
                    bytes[at] = byte;
                }
            }
            bytes.truncate(end % (2 * bytes.len() + 1));
            target(&bytes);
        }
    }
}

fn seeds(target: &str) -> Vec<Seed> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds: Vec<Seed> = fs::read_dir(folder)
        .unwrap()
        .map(|seed| {
            let seed = seed.unwrap();
            (
                seed.file_name().to_string_lossy().into_owned(),
                fs::read(seed.path()).unwrap(),
            )
        })
        .collect();
    seeds.sort();
    seeds
}
