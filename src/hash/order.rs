//! The order of servers within a pool, and of pools among each other.

use std::cmp::Ordering;

/// Compares two names as Twemproxy sorts them: the shorter first, equal lengths bytewise.
///
/// A server's index is its position in this order, which the modula table, the ties of the ring and the order of the
/// stats follow; its line in the file does not matter.
#[must_use]
pub fn name_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_by_length_then_bytes() {
        for (file_order, expected) in [
            (vec!["zz", "aaa", "b", "B"], vec!["B", "b", "zz", "aaa"]),
            (
                vec!["10.0.0.2:7002", "10.0.0.4"],
                vec!["10.0.0.4", "10.0.0.2:7002"],
            ),
            (
                vec!["server10", "server2", "b", "server1"],
                vec!["b", "server1", "server2", "server10"],
            ),
        ] {
            let mut names = file_order;
            names.sort_by(|a, b| name_order(a, b));
            assert_eq!(names, expected);
        }
    }
}
