//! The choice of a key hash by name.

use super::{crc, fnv, hsieh, jenkins, md5, murmur};

/// The `hash` of a pool. Every function maps bytes to 32 bits exactly as Twemproxy 0.5.0 does on amd64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// Bob Jenkins' one-at-a-time.
    OneAtATime,
    /// The first four bytes of MD5.
    Md5,
    /// CRC-16, its shifted-out bits kept.
    Crc16,
    /// CRC-32 reduced to 15 bits.
    Crc32,
    /// CRC-32, all of it.
    Crc32a,
    /// FNV-1, low 32 of 64 bits.
    Fnv1_64,
    /// FNV-1a, low 32 of 64 bits: the default.
    #[default]
    Fnv1a64,
    /// FNV-1, 32 bits.
    Fnv1_32,
    /// FNV-1a, 32 bits.
    Fnv1a32,
    /// Paul Hsieh's `SuperFastHash`.
    Hsieh,
    /// `MurmurHash2`.
    Murmur,
    /// Bob Jenkins' lookup3.
    Jenkins,
}

impl HashKind {
    /// Every hash, in the order in which the documentation lists them.
    pub const ALL: [Self; 12] = [
        Self::OneAtATime,
        Self::Md5,
        Self::Crc16,
        Self::Crc32,
        Self::Crc32a,
        Self::Fnv1_64,
        Self::Fnv1a64,
        Self::Fnv1_32,
        Self::Fnv1a32,
        Self::Hsieh,
        Self::Murmur,
        Self::Jenkins,
    ];

    /// The hash of `key`; an empty key hashes to 0 whatever the function.
    #[must_use]
    pub fn hash(self, key: &[u8]) -> u32 {
        if key.is_empty() {
            return 0;
        }
        match self {
            Self::OneAtATime => jenkins::one_at_a_time(key),
            Self::Md5 => md5::md5(key),
            Self::Crc16 => crc::crc16(key),
            Self::Crc32 => crc::crc32(key),
            Self::Crc32a => crc::crc32a(key),
            Self::Fnv1_64 => fnv::fnv1_64(key),
            Self::Fnv1a64 => fnv::fnv1a_64(key),
            Self::Fnv1_32 => fnv::fnv1_32(key),
            Self::Fnv1a32 => fnv::fnv1a_32(key),
            Self::Hsieh => hsieh::hsieh(key),
            Self::Murmur => murmur::murmur(key),
            Self::Jenkins => jenkins::lookup3(key),
        }
    }

    /// The number of different hashes: 0 to one less.
    #[must_use]
    pub fn values(self) -> u64 {
        match self {
            Self::Crc32 => 1 << 15,
            _ => 1 << u32::BITS,
        }
    }

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneAtATime => "one_at_a_time",
            Self::Md5 => "md5",
            Self::Crc16 => "crc16",
            Self::Crc32 => "crc32",
            Self::Crc32a => "crc32a",
            Self::Fnv1_64 => "fnv1_64",
            Self::Fnv1a64 => "fnv1a_64",
            Self::Fnv1_32 => "fnv1_32",
            Self::Fnv1a32 => "fnv1a_32",
            Self::Hsieh => "hsieh",
            Self::Murmur => "murmur",
            Self::Jenkins => "jenkins",
        }
    }

    /// Returns the hash of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_names_round_trip() {
        for kind in HashKind::ALL {
            assert_eq!(HashKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(HashKind::from_name("MD5"), None);
    }

    #[test]
    fn empty_key_hashes_to_zero() {
        for kind in HashKind::ALL {
            assert_eq!(kind.hash(b""), 0, "{}", kind.name());
        }
    }

    #[test]
    fn high_bytes_are_sign_extended_as_in_twemproxy() {
        for (kind, key, expected) in [
            (HashKind::OneAtATime, &b"\xff"[..], 2_925_896_852),
            (HashKind::Fnv1a64, b"\xff", 2_046_707_310),
            (HashKind::Fnv1_32, b"\x80", 4_210_270_879),
            (HashKind::Hsieh, b"\xff", 44_489_640),
            (HashKind::Hsieh, b"ab\xff", 1_977_393_110),
            (HashKind::Crc16, b"\xff", 7920),
            (HashKind::Murmur, b"\xff", 3_679_652_508),
        ] {
            assert_eq!(kind.hash(key), expected, "{} of {key:?}", kind.name());
        }
    }

    #[test]
    fn crc16_exceeds_16_bits_and_crc32_keeps_15() {
        assert_eq!(HashKind::Crc16.hash(b"abc"), 2_088_017_366);
        assert_eq!(HashKind::Crc32a.hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(HashKind::Crc32.hash(b"123456789"), 0x4bf4);
    }
}
