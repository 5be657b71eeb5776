//! Plans for commands that read sets from several servers.

use crate::protocol::redis::command::{Command, MergeKind, SetJoin};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number::parse_unsigned;

/// A request that any server rejects with an error that names the cause, without executing it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Malformed;

/// The set operation of a request. `None` if it is none.
pub(crate) fn plan(command: &Command, args: Args<'_>) -> Option<Result<MergeKind, Malformed>> {
    let join = match command.name {
        "SUNION" => SetJoin::Union,
        "SINTER" => SetJoin::Intersection,
        "SDIFF" => SetJoin::Difference,
        "SINTERCARD" => match limit(args) {
            Some(limit) => SetJoin::Cardinality(limit),
            None => return Some(Err(Malformed)),
        },
        _ => return None,
    };
    Some(Ok(MergeKind::Sets(join)))
}

/// The limit of `SINTERCARD numkeys key [key ...] [LIMIT limit]`.
fn limit(mut args: Args<'_>) -> Option<u64> {
    let keys = usize::try_from(parse_unsigned(args.nth(1)?)?).ok()?;
    args.nth(keys.checked_sub(1)?)?;
    let (option, limit, rest) = (args.next(), args.next(), args.next());
    match (option, limit, rest) {
        (None, ..) => Some(0),
        (Some(option), Some(limit), None) if option.eq_ignore_ascii_case(b"LIMIT") => {
            parse_unsigned(limit)
        }
        _ => None,
    }
}
