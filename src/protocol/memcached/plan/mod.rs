//! Plans requests by the command table.

use bytes::{BufMut, BytesMut};

use crate::protocol::memcached::command::{AllServers, Local, Policy};
use crate::protocol::memcached::expect::{Answer, Expect, Noreply};
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::memcached::request::{Form, Refusal, Request};
use crate::protocol::memcached::{MergeSpec, Settings, base64, error, stats};
use crate::protocol::{KeySpan, Plan, Route, Span};
use crate::stats::RefusalReason;

/// The request whose reply is always `MN`.
const NOOP: &[u8] = b"mn\r\n";

/// Plans one request. Local replies and decoded keys go to `out`, the keys of several to `keys`.
pub(crate) fn plan(
    request: &Request,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, Expect> {
    let command = match (request.form, request.command) {
        (Form::Refused(refusal), _) => return refuse(refusal, request, out),
        (Form::Plain, Some(command)) => command,
        // A shorthand is planned in its canonical form.
        (Form::Skipped | Form::Shorthand | Form::Plain, _) => return Plan::Ignore,
    };
    let expect = |answer| Expect {
        answer,
        noreply: request.noreply,
    };
    let forward = |answer| Plan::Forward(Route::Key(request.key), expect(answer));
    match command.policy {
        Policy::Retrieve | Policy::RetrieveTouch if request.has_more_keys => {
            let prefix = collect(request, frame, keys);
            Plan::MultiShard(MergeSpec::Keys { prefix }, expect(Answer::Values))
        }
        Policy::Retrieve | Policy::RetrieveTouch => forward(Answer::Values),
        Policy::Store | Policy::Cas => forward(Answer::Stored),
        Policy::Delta => forward(Answer::Number),
        Policy::Delete => forward(Answer::Deleted),
        Policy::Touch => forward(Answer::Touched),
        Policy::Meta(which) => {
            let answer = Answer::Meta(which);
            if !request.is_encoded && request.noreply == Noreply::ByServer {
                return with_noop(request.key, frame, expect(answer), out);
            }
            if !request.is_encoded {
                return forward(answer);
            }
            if !base64::decode(request.key.of(frame), out) {
                out.clear();
                return refuse(Refusal::Base64, request, out);
            }
            // memcached 1.6.18 loses the mark that a key is binary where a value outgrows its place, where `N` creates
            // it, and in every `me`. It then writes the key verbatim: lines of a client's choice, on a shared
            // connection.
            if request.shows_key && out.contains(&b'\n') {
                out.clear();
                return refuse(Refusal::LineFeed, request, out);
            }
            if request.noreply == Noreply::ByServer {
                let (start, end) = (
                    frame.len() + NOOP.len(),
                    frame.len() + NOOP.len() + out.len(),
                );
                let decoded = out.split();
                let plan = with_noop(Span { start, end }, frame, expect(answer), out);
                out.put_slice(&decoded);
                return plan;
            }
            Plan::Forward(Route::Decoded, expect(answer))
        }
        Policy::AllServers(which) => {
            let answer = match which {
                AllServers::Version => Answer::Version,
                AllServers::FlushAll | AllServers::Verbosity => Answer::Ok,
                AllServers::CacheMemlimit => Answer::Memlimit,
            };
            let is_muted = request.noreply == Noreply::All;
            Plan::AllServers(MergeSpec::AllServers { which, is_muted }, expect(answer))
        }
        Policy::Local(Local::Quit) => Plan::ReplyAndClose,
        Policy::Local(Local::Noop) => {
            out.put_slice(b"MN\r\n");
            Plan::Reply
        }
        Policy::Local(Local::Stats) => {
            stats::write(settings, out);
            Plan::Reply
        }
        Policy::Refused => refuse(Refusal::Unsupported, request, out),
    }
}

/// Appends `mn`, whose reply ends that of a request that may have none. `key` is its span in the output buffer.
fn with_noop(
    key: Span,
    frame: &[u8],
    expect: Expect,
    out: &mut BytesMut,
) -> Plan<MergeSpec, Expect> {
    out.put_slice(frame);
    out.put_slice(NOOP);
    let request = Span {
        start: 0,
        end: out.len(),
    };
    Plan::ForwardInstead {
        request,
        key,
        expect,
    }
}

fn refuse(refusal: Refusal, request: &Request, out: &mut BytesMut) -> Plan<MergeSpec, Expect> {
    if request.noreply != Noreply::All {
        error::write_refusal(refusal, request.command, out);
    }
    Plan::Error(match refusal {
        Refusal::Unknown => RefusalReason::UnknownCommand,
        Refusal::Unsupported => RefusalReason::Unsupported,
        Refusal::LineFeed | Refusal::StatsArgument => RefusalReason::UnsupportedUse,
        _ => RefusalReason::Arguments,
    })
}

/// Collects all keys, each with the space before it. Returns the number of bytes before the first.
fn collect(request: &Request, frame: &[u8], keys: &mut Vec<KeySpan>) -> usize {
    let prefix = request.key.start.saturating_sub(1);
    let end = frame.len().saturating_sub(2);
    let rest = frame.get(request.key.start..end).unwrap_or_default();
    keys.clear();
    keys.extend(Words::new(rest).map(|mut key| {
        key.start += request.key.start;
        key.end += request.key.start;
        let mut unit = key;
        unit.start -= 1;
        KeySpan { key, unit }
    }));
    prefix
}

#[cfg(test)]
mod tests;
