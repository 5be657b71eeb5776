//! The groups of keys that move together.

use std::fmt;

/// The number of buckets.
pub const BUCKETS: u16 = 1024;

/// A group of keys: all keys of one hash tag are in the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of the keys with this hash, their tag applied. The hashes of a pool need not be spread evenly, so their
    /// bits are mixed (the finalizer of `MurmurHash3`).
    #[must_use]
    pub const fn of(hash: u32) -> Self {
        let mut mixed = hash;
        mixed ^= mixed >> 16;
        mixed = mixed.wrapping_mul(0x85eb_ca6b);
        mixed ^= mixed >> 13;
        mixed = mixed.wrapping_mul(0xc2b2_ae35);
        mixed ^= mixed >> 16;
        // The top ten bits.
        Self((mixed >> 22) as u16)
    }

    /// The bucket of this number; none from [`BUCKETS`] on.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < BUCKETS).then_some(Self(number))
    }

    /// Its number, below [`BUCKETS`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

const WORDS: usize = BUCKETS as usize / 64;
const HEX_DIGITS: usize = WORDS * 16;

/// A set of buckets. Written as 256 hexadecimal digits, of which the first has the buckets 0 to 3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BucketSet([u64; WORDS]);

impl BucketSet {
    /// The set without buckets.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// All buckets.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Returns true if a bucket is in the set.
    #[must_use]
    pub fn contains(&self, bucket: Bucket) -> bool {
        let (word, bit) = place(bucket);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds a bucket.
    pub fn insert(&mut self, bucket: Bucket) {
        let (word, bit) = place(bucket);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// The buckets of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = *self;
        for (word, other) in union.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        union
    }

    /// Returns true if no bucket is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Returns true if all buckets of `other` are in the set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        self.union(other) == *self
    }

    /// The number of buckets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Its buckets, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        (0..BUCKETS)
            .map(Bucket)
            .filter(|bucket| self.contains(*bucket))
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == HEX_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut set = Self::EMPTY;
        for (index, word) in set.0.iter_mut().enumerate() {
            let digits = text.get(index * 16..index * 16 + 16).filter(|_| is_hex)?;
            *word = u64::from_str_radix(digits, 16).ok()?;
        }
        Some(set)
    }
}

impl FromIterator<Bucket> for BucketSet {
    fn from_iter<I: IntoIterator<Item = Bucket>>(buckets: I) -> Self {
        let mut set = Self::EMPTY;
        buckets.into_iter().for_each(|bucket| set.insert(bucket));
        set
    }
}

impl fmt::Display for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl fmt::Debug for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketSet({} of {BUCKETS})", self.len())
    }
}

/// The word and the bit of a bucket; the first bucket has the highest bit.
fn place(bucket: Bucket) -> (usize, u64) {
    let number = usize::from(bucket.0);
    (number / 64, 1 << (63 - number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_even_for_hashes_that_are_not() {
        for step in [1, 64, 4096, 1 << 20] {
            let mut counts = vec![0_u32; BUCKETS.into()];
            for hash in 0..200_000_u32 {
                counts[usize::from(Bucket::of(hash.wrapping_mul(step)).number())] += 1;
            }
            let distinct = 200_000_u64.min((1 << 32) / u64::from(step));
            if distinct == 200_000 {
                let most = counts.iter().max().unwrap();
                assert!(*most < 290, "{step}: {most}");
            }
        }
    }

    #[test]
    fn set_is_read_as_it_was_written() {
        let numbers = [0, 3, 4, 63, 64, 700, 1023];
        let set: BucketSet = numbers.into_iter().filter_map(Bucket::new).collect();
        let text = set.to_string();
        assert_eq!(text.len(), 256);
        assert!(text.starts_with("98"), "{text}");
        assert_eq!(BucketSet::parse(&text), Some(set));
        let read: Vec<_> = set.iter().map(Bucket::number).collect();
        assert_eq!(read, numbers);
        assert_eq!(set.len(), numbers.len());
    }

    #[test]
    fn malformed_sets_are_not_read() {
        let set = BucketSet::EMPTY.to_string();
        let signed = set.replacen('0', "+", 1);
        for text in ["", "0", &set[1..], &(set.clone() + "0"), &signed] {
            assert_eq!(BucketSet::parse(text), None, "{text}");
        }
        assert_eq!(BucketSet::parse(&set), Some(BucketSet::EMPTY));
    }

    #[test]
    fn union_has_the_buckets_of_both() {
        let of = |numbers: &[u16]| -> BucketSet {
            numbers.iter().copied().filter_map(Bucket::new).collect()
        };
        let union = of(&[1, 2]).union(&of(&[2, 1000]));
        assert_eq!(union, of(&[1, 2, 1000]));
        assert!(union.contains_all(&of(&[1000])));
        assert!(!union.contains_all(&of(&[3])));
        assert!(BucketSet::EMPTY.is_empty() && !union.is_empty());
    }
}
