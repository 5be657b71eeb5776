//! What the engine reads in a dump: the type byte at its start, and the version at its end (`createDumpPayload` in
//! `src/cluster.c` of Redis 7.0: type, value, two bytes of the version, eight of a checksum).

/// The types whose every change the feed tells, by their number in `src/rdb.h` of Redis 8 and Valkey 9: strings (0), lists
/// (1, 10, 14, 18), sets (2, 11, 20), sorted sets (3, 5, 12, 17), hashes (4, 9, 13, 16, 22 to 25).
///
/// Measured with Redis 7.0 and 7.4 and Valkey 9.1. Not told are: XACK, XCLAIM, XAUTOCLAIM, XREADGROUP, XSETID and most of
/// XGROUP, so streams (15, 19, 21 and later ones) are not among these; of modules (6, 7) CMS.INCRBY. A type that is not
/// known counts as one of those.
const TOLD: [u8; 20] = [
    0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20, 22, 23, 24, 25,
];

/// Returns true if the feed tells every change of a value of this type.
pub(crate) fn is_told(dump: &[u8]) -> bool {
    dump.first().is_some_and(|kind| TOLD.contains(kind))
}

/// The version of the format; 0 if it is no dump.
pub(crate) fn format(dump: &[u8]) -> u16 {
    const FOOTER: usize = 10;
    let footer = dump.len().checked_sub(FOOTER);
    match footer.and_then(|at| dump.get(at..at + 2)) {
        Some([low, high]) => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DUMP` of the string `v`, Redis 7.0.15.
    const STRING: &[u8] = b"\x00\x01v\x0a\x00\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a";

    #[test]
    fn dump_tells_its_type_and_format() {
        assert!(is_told(STRING));
        assert_eq!(format(STRING), 10);
        for kind in [6, 7, 15, 19, 21, 26, 255] {
            assert!(!is_told(&[kind, 0]), "{kind}");
        }
        assert!(!is_told(b""));
        assert_eq!(format(b"short"), 0);
    }
}
