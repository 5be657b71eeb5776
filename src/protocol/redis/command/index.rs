//! Lookup of a command by name: an open-addressed table that the compiler builds.
//!
//! A name is packed, in upper case and with its length, into three words; a hit compares these words and reads no
//! string.

use crate::protocol::redis::command::Command;
use crate::protocol::redis::command::table::GROUPS;
use crate::stats::CommandId;

const SLOTS: usize = 1024;
const LONGEST: usize = 23;

type Packed = [u64; 3];

/// A place of the table, which has a command or is empty.
pub(crate) struct Slot {
    packed: Packed,
    pub(crate) command: Option<&'static Command>,
    /// The position of its row.
    pub(crate) id: CommandId,
    /// It has subcommands.
    pub(crate) is_parent: bool,
}

static INDEX: [Slot; SLOTS] = build();

#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Slot> {
    let packed = pack(name)?;
    let mut at = home(&packed);
    loop {
        let slot = INDEX.get(at)?;
        if is_same(&slot.packed, &packed) || slot.command.is_none() {
            return Some(slot);
        }
        at = (at + 1) % SLOTS;
    }
}

/// Word by word: the packed name is in registers, and a comparison of whole arrays would write it to memory and read it
/// back, which takes longer than the rest of the lookup.
#[inline]
fn is_same(one: &Packed, other: &Packed) -> bool {
    let words = one.iter().zip(other);
    words.fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
}

#[expect(clippy::cast_possible_truncation, reason = "ten bits are left")]
#[inline]
const fn home(packed: &Packed) -> usize {
    let [a, b, c] = *packed;
    let mixed = (a ^ b.rotate_left(23) ^ c.rotate_left(47)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

#[inline]
fn pack(name: &[u8]) -> Option<Packed> {
    let len = (name.len() as u64) << 56;
    // GET, SET, MGET and the like: no copy, and no loop.
    let word = match *name {
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => return pack_any(name),
    };
    let mut bytes = word.to_le_bytes();
    bytes.make_ascii_uppercase();
    Some([u64::from_le_bytes(bytes), 0, len])
}

fn pack_any(name: &[u8]) -> Option<Packed> {
    let mut bytes = [0_u8; LONGEST + 1];
    bytes
        .get_mut(..LONGEST)?
        .get_mut(..name.len())?
        .copy_from_slice(name);
    bytes.make_ascii_uppercase();
    let [.., last] = &mut bytes;
    *last = u8::try_from(name.len()).ok()?;
    let (words, _) = bytes.as_chunks::<8>();
    let [a, b, c] = words else { return None };
    Some([
        u64::from_le_bytes(*a),
        u64::from_le_bytes(*b),
        u64::from_le_bytes(*c),
    ])
}

#[expect(
    clippy::indexing_slicing,
    clippy::large_stack_arrays,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, where an index out of bounds is an error and no stack is used"
)]
const fn build() -> [Slot; SLOTS] {
    let mut index = [const {
        Slot {
            packed: [0; 3],
            command: None,
            id: CommandId::NONE,
            is_parent: false,
        }
    }; SLOTS];
    let mut group = 0;
    // As in the module `ids`.
    let mut id = 1;
    while group < GROUPS.len() {
        let rows = GROUPS[group];
        let mut row = 0;
        while row < rows.len() {
            let name = rows[row].name.as_bytes();
            let mut packed = [0_u64; 3];
            packed[2] = (name.len() as u64) << 56;
            let mut i = 0;
            while i < name.len() {
                packed[i / 8] |= (name[i] as u64) << (i % 8 * 8);
                i += 1;
            }
            let mut at = home(&packed);
            while index[at].command.is_some() {
                at = (at + 1) % SLOTS;
            }
            index[at].packed = packed;
            index[at].command = Some(&rows[row]);
            index[at].id = CommandId::at(id);
            index[at].is_parent = !rows[row].subcommands.is_empty();
            id += 1 + rows[row].subcommands.len() as u16;
            row += 1;
        }
        group += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of probes for a name.
    fn probes(name: &str) -> usize {
        let packed = pack(name.as_bytes()).unwrap();
        let slots = (home(&packed)..).map(|at| &INDEX[at % SLOTS]);
        1 + slots.take_while(|slot| slot.packed != packed).count()
    }

    #[test]
    fn common_commands_are_found_at_the_first_probe() {
        for name in [
            "GET", "SET", "MGET", "MSET", "DEL", "EXISTS", "EXPIRE", "INCR", "HGET", "HSET",
            "LPUSH", "RPOP", "SADD", "ZADD", "SETEX", "PING", "TTL",
        ] {
            assert_eq!(probes(name), 1, "{name}");
        }
        let rows = GROUPS.iter().flat_map(|rows| rows.iter());
        let (count, sum) = rows.fold((0, 0), |(count, sum), row| {
            (count + 1, sum + probes(row.name))
        });
        assert!(sum < 2 * count, "{sum} probes for {count} names");
        assert!(
            count < SLOTS / 2,
            "a sparser index is needed for {count} names"
        );
    }
}
