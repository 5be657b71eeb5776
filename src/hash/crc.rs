//! The cyclic redundancy checks.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// Sixteen tables: keys of a few dozen bytes take a few steps instead of one per byte.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// CRC-32 of zlib, all 32 bits.
pub(super) fn crc32a(key: &[u8]) -> u32 {
    CRC32.checksum(key)
}

/// The upper half of CRC-32 without its top bit, 0 to 32767, as libmemcached reduces it.
pub(super) fn crc32(key: &[u8]) -> u32 {
    (crc32a(key) >> 16) & 0x7fff
}

/// CRC-16/XMODEM in a 32-bit register: what a 16-bit one would shift out is kept, so only the low half is the checksum.
pub(super) fn crc16(key: &[u8]) -> u32 {
    key.iter().fold(0, |crc, &byte| {
        (crc << 8) ^ crc16_step((crc >> 8) ^ u32::from(byte))
    })
}

/// The table entry for `index` (its low byte), of the polynomial x^16 + x^12 + x^5 + 1.
fn crc16_step(index: u32) -> u32 {
    let low = index & 0xff;
    let mixed = low ^ (low >> 4);
    ((mixed << 12) ^ (mixed << 5) ^ mixed) & 0xffff
}
