//! Extraction of the keys of a request whose arity was checked.

use crate::protocol::KeySpan;
use crate::protocol::redis::command::{Command, Group, Keys, flags};
use crate::protocol::redis::resp::args::Args;

/// The reason why a request has no usable keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysError {
    /// The keys are not at their positions: any server rejects such a request with an error that names the cause, and
    /// does nothing.
    Malformed,
    /// A script without keys: nothing to route by.
    Zero,
}

impl Command {
    /// Replaces the contents of `keys` by all the keys of a request of this command, in order, a destination included.
    /// The unit of a key covers the arguments that belong to it (for `MSET` the value), else the key's own encoding.
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
                match counted(args, count, step, keys) {
                    Some(0) if self.group == Group::Scripting => return Err(KeysError::Zero),
                    Some(1..) => {}
                    _ => return Err(KeysError::Malformed),
                }
            }
            Keys::Sort => {
                keys.extend(nth(&mut args.clone(), 1));
                if self.flags & flags::WRITE != 0 {
                    keys.extend(sort_store(args));
                }
            }
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

/// Collects the number of keys that is in the argument at `count`, and returns it; `None` if it is not a number or
/// there are fewer keys.
fn counted(mut args: Args<'_>, count: u8, step: u8, keys: &mut Vec<KeySpan>) -> Option<u64> {
    skip(&mut args, count);
    let number = str::from_utf8(args.next()?).ok()?.parse().ok()?;
    for _ in 0..number {
        keys.push(unit(&mut args, step)?);
    }
    Some(number)
}

/// The destination of `SORT`: the last `STORE`.
fn sort_store(mut args: Args<'_>) -> Option<KeySpan> {
    skip(&mut args, 2);
    let mut store = None;
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"STORE") {
            store = args.next_span();
        } else {
            skip(&mut args, operands(option));
        }
    }
    store
}

/// The number of operands of an option of `SORT` other than `STORE`.
fn operands(option: &[u8]) -> u8 {
    let counts: [(&[u8], u8); 3] = [(b"LIMIT", 2), (b"BY", 1), (b"GET", 1)];
    let known = counts
        .iter()
        .find(|(name, _)| option.eq_ignore_ascii_case(name));
    known.map_or(0, |(_, count)| *count)
}

/// The patterns after `BY` and `GET` of a `SORT` that name other keys: up to a `->`, which is followed by a field.
///
/// A pattern without `*` names no key: `BY nosort`, `GET #`.
pub fn sort_patterns(mut args: Args<'_>) -> impl Iterator<Item = (&[u8], KeySpan)> {
    skip(&mut args, 2);
    std::iter::from_fn(move || {
        loop {
            let option = args.next()?;
            if !option.eq_ignore_ascii_case(b"BY") && !option.eq_ignore_ascii_case(b"GET") {
                let store = option.eq_ignore_ascii_case(b"STORE");
                skip(&mut args, if store { 1 } else { operands(option) });
                continue;
            }
            let mut walk = args.clone();
            let pattern = args.next()?;
            let mut span = walk.next_span()?;
            let key_len = memchr::memmem::find(pattern, b"->").unwrap_or(pattern.len());
            let key = pattern.get(..key_len)?;
            if key.contains(&b'*') {
                span.key.end = span.key.start + key_len;
                return Some((key, span));
            }
        }
    })
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
            // Behind the database and the time.
            skip(&mut args, 2);
            while let Some(option) = args.next() {
                let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
                if is(b"KEYS") {
                    keys.extend(std::iter::from_fn(|| args.next_span()));
                } else if is(b"AUTH") || is(b"AUTH2") {
                    // Passwords may be called like options.
                    skip(&mut args, if is(b"AUTH") { 1 } else { 2 });
                }
            }
        }
    }
}

fn streams(mut args: Args<'_>, keys: &mut Vec<KeySpan>) -> Result<(), KeysError> {
    skip(&mut args, 1);
    loop {
        let option = args.next().ok_or(KeysError::Malformed)?;
        if option.eq_ignore_ascii_case(b"STREAMS") {
            break;
        } else if [&b"COUNT"[..], b"CLAIM", b"BLOCK"]
            .iter()
            .any(|one| option.eq_ignore_ascii_case(one))
        {
            skip(&mut args, 1);
        } else if option.eq_ignore_ascii_case(b"GROUP") {
            skip(&mut args, 2);
        }
    }
    keys.extend(std::iter::from_fn(|| args.next_span()));
    let half = keys.len() / 2;
    if half == 0 || keys.len() % 2 == 1 {
        keys.clear();
        return Err(KeysError::Malformed);
    }
    keys.truncate(half);
    Ok(())
}
