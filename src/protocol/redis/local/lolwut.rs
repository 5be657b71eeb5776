//! `LOLWUT`: the version, or the ring road, seen from above.

use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::settings::REDIS_VERSION;

const WIDTH: i32 = 47;
const HEIGHT: i32 = 21;

/// `LOLWUT [VERSION version [...]]`: as in Redis 7 a line with the version, or the art of an earlier version if
/// requested.
pub(crate) fn lolwut(mut args: Args<'_>, reply: &mut Reply<'_>) {
    let mut version = 7;
    if args
        .nth(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"VERSION"))
        && let Some(requested) = args.next()
    {
        let Some(requested) = number::parse_integer(requested) else {
            return reply.error("value is not an integer or out of range");
        };
        version = requested;
    }
    let mut text = String::new();
    if matches!(version, 5 | 6) {
        text = picture(&mut fastrand::Rng::new());
        text.push_str("\nThe ring road at an hour of its own. ");
    }
    text.push_str("Redis ver. ");
    text.push_str(REDIS_VERSION);
    text.push('\n');
    reply.verbatim(&text);
}

fn picture(random: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    for row in 0..HEIGHT {
        let line: String = (0..WIDTH)
            .map(|column| sight(row, column, random))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The character at one position: cells are twice as high as wide, so the ring is round.
fn sight(row: i32, column: i32, random: &mut fastrand::Rng) -> char {
    let (x, y) = (column - WIDTH / 2, 2 * (row - HEIGHT / 2));
    match x * x + y * y {
        0..=16 => '#',
        196..=289 if random.u8(..8) == 0 => 'o',
        196..=289 => '.',
        361..=420 if random.u8(..5) == 0 => '^',
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lolwut_draws_a_ring_road_with_cars() {
        let text = picture(&mut fastrand::Rng::with_seed(7));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), usize::try_from(HEIGHT).unwrap());
        assert!(lines.iter().any(|line| line.contains('o')));
        let is_road = |c: char| c == '.' || c == 'o';
        let width = |line: &str| line.rfind(is_road).zip(line.find(is_road));
        let widths: Vec<_> = lines.iter().map(|line| width(line)).collect();
        let mirrored: Vec<_> = widths.iter().rev().copied().collect();
        assert_eq!(widths, mirrored);
    }
}
