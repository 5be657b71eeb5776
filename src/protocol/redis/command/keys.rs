//! Finding the keys of a request whose arity was checked.

use super::{Args, Command, Keys};
use crate::protocol::KeySpan;

/// Why the keys of a request cannot be found, or must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysError {
    /// The number of keys is no number.
    NotANumber,
    /// The number of keys is negative.
    Negative,
    /// The number of keys is greater than the arguments that follow.
    TooMany,
    /// The number of keys is zero: nothing to route by.
    Zero,
    /// `BLOCK` was given.
    Blocks,
    /// The option `STREAMS` is missing, or an argument is no option.
    Syntax,
    /// The streams and their IDs are not equally many.
    Unbalanced,
    /// `BY` or `GET` names other keys by a pattern.
    Pattern,
}

impl Command {
    /// Replaces what `keys` holds by all the keys of a request of this command, in order, a destination included.
    /// The unit of a key covers what belongs to it (for `MSET` the value), else the key's own encoding.
    pub fn collect_keys(
        &self,
        mut args: Args<'_>,
        keys: &mut Vec<KeySpan>,
    ) -> Result<(), KeysError> {
        keys.clear();
        match self.keys {
            Keys::None => {}
            Keys::At(at) => keys.extend(nth(&mut args, at)),
            Keys::Range { first, last, step } => range(args, first, last, step, keys),
            Keys::Counted { into, count, step } => {
                if into {
                    keys.extend(nth(&mut args.clone(), 1));
                }
                counted(args, count, step, keys)?;
            }
            Keys::Sort => sort(args, keys)?,
            Keys::Radius { options } => {
                keys.extend(nth(&mut args.clone(), 1));
                keys.extend(radius_store(args, options));
            }
            Keys::Streams => streams(args, keys)?,
            Keys::Migrate => migrate(args, keys),
        }
        Ok(())
    }
}

fn skip(args: &mut Args<'_>, count: u8) {
    for _ in 0..count {
        args.next_span();
    }
}

fn nth(args: &mut Args<'_>, at: u8) -> Option<KeySpan> {
    skip(args, at);
    args.next_span()
}

fn range(mut args: Args<'_>, first: u8, last: i8, step: u8, keys: &mut Vec<KeySpan>) {
    skip(&mut args, first);
    let most = u8::try_from(last).map_or(usize::MAX, |last| {
        usize::from(last.saturating_sub(first) / step.max(1)) + 1
    });
    for _ in 0..most {
        let Some(found) = unit(&mut args, step) else {
            break;
        };
        keys.push(found);
    }
    if last < -1 {
        let beyond = usize::from(last.unsigned_abs() - 1);
        keys.truncate(keys.len().saturating_sub(beyond));
    }
}

/// The next key with the `step - 1` arguments that belong to it.
fn unit(args: &mut Args<'_>, step: u8) -> Option<KeySpan> {
    let mut found = args.next_span()?;
    for _ in 1..step {
        if let Some(beside) = args.next_span() {
            found.unit.end = beside.unit.end;
        }
    }
    Some(found)
}

fn counted(
    mut args: Args<'_>,
    count: u8,
    step: u8,
    keys: &mut Vec<KeySpan>,
) -> Result<(), KeysError> {
    skip(&mut args, count);
    let number: i64 = args
        .next()
        .and_then(|digits| str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or(KeysError::NotANumber)?;
    match number {
        ..0 => return Err(KeysError::Negative),
        0 => return Err(KeysError::Zero),
        1.. => {}
    }
    for _ in 0..number {
        keys.push(unit(&mut args, step).ok_or(KeysError::TooMany)?);
    }
    Ok(())
}

/// As Redis Cluster: a pattern with a `*` would read keys that nobody routed.
fn sort(mut args: Args<'_>, keys: &mut Vec<KeySpan>) -> Result<(), KeysError> {
    keys.extend(nth(&mut args, 1));
    let mut store = None;
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"STORE") {
            store = args.next_span();
        } else if option.eq_ignore_ascii_case(b"LIMIT") {
            skip(&mut args, 2);
        } else if option.eq_ignore_ascii_case(b"BY") || option.eq_ignore_ascii_case(b"GET") {
            let pattern = args.next().unwrap_or_default();
            if pattern.contains(&b'*') {
                return Err(KeysError::Pattern);
            }
        }
    }
    keys.extend(store);
    Ok(())
}

fn radius_store(mut args: Args<'_>, options: u8) -> Option<KeySpan> {
    skip(&mut args, options);
    let mut store = None;
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"STORE") || option.eq_ignore_ascii_case(b"STOREDIST") {
            store = args.next_span().or(store);
        }
    }
    store
}

fn migrate(mut args: Args<'_>, keys: &mut Vec<KeySpan>) {
    skip(&mut args, 3);
    match args.next_span() {
        Some(key) if !key.key.is_empty() => keys.push(key),
        _ => {
            if args.any(|option| option.eq_ignore_ascii_case(b"KEYS")) {
                keys.extend(std::iter::from_fn(|| args.next_span()));
            }
        }
    }
}

fn streams(mut args: Args<'_>, keys: &mut Vec<KeySpan>) -> Result<(), KeysError> {
    skip(&mut args, 1);
    loop {
        let option = args.next().ok_or(KeysError::Syntax)?;
        if option.eq_ignore_ascii_case(b"STREAMS") {
            break;
        } else if option.eq_ignore_ascii_case(b"COUNT") {
            skip(&mut args, 1);
        } else if option.eq_ignore_ascii_case(b"GROUP") {
            skip(&mut args, 2);
        } else if option.eq_ignore_ascii_case(b"BLOCK") {
            return Err(KeysError::Blocks);
        } else if !option.eq_ignore_ascii_case(b"NOACK") {
            return Err(KeysError::Syntax);
        }
    }
    while let Some(found) = args.next_span() {
        keys.push(found);
    }
    let half = keys.len() / 2;
    if half == 0 || keys.len() % 2 == 1 {
        keys.clear();
        return Err(KeysError::Unbalanced);
    }
    keys.truncate(half);
    Ok(())
}
