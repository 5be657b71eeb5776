//! Merges the replies to a request that all servers got.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::UpstreamError;
use crate::protocol::memcached::command::AllServers;

/// Merges the replies into one line.
pub(crate) fn merge(
    which: AllServers,
    replies: &[Result<Bytes, UpstreamError>],
    out: &mut BytesMut,
) -> Result<(), UpstreamError> {
    if let [reply] = replies {
        out.put_slice(reply.as_ref().map_err(|error| *error)?);
        return Ok(());
    }
    let name = match which {
        AllServers::Version => return merge_versions(replies, out),
        AllServers::FlushAll => "flush_all",
        AllServers::Verbosity => "verbosity",
        AllServers::CacheMemlimit => "cache_memlimit",
    };
    merge_all_succeeded(name, replies, out);
    Ok(())
}

/// Writes each version once, the lowest first: a client that reads one version gets what all servers support. Many
/// clients use VERSION as a ping, so one reply is enough.
fn merge_versions(
    replies: &[Result<Bytes, UpstreamError>],
    out: &mut BytesMut,
) -> Result<(), UpstreamError> {
    let mut versions: Vec<&[u8]> = replies
        .iter()
        .flatten()
        .filter_map(|reply| reply.strip_prefix(b"VERSION ").map(<[u8]>::trim_ascii))
        .collect();
    versions.sort_by_key(|version| (numbers(version), *version));
    versions.dedup();
    if versions.is_empty() {
        let first = replies.first().ok_or(UpstreamError::Dropped)?;
        out.put_slice(first.as_ref().map_err(|error| *error)?);
        return Ok(());
    }
    out.put_slice(b"VERSION");
    for version in versions {
        out.put_u8(b' ');
        out.put_slice(version);
    }
    out.put_slice(b"\r\n");
    Ok(())
}

/// The numbers of a version such as 1.6.18.
fn numbers(version: &[u8]) -> Vec<u64> {
    version
        .split(|byte| !byte.is_ascii_digit())
        .filter_map(|digits| str::from_utf8(digits).ok()?.parse().ok())
        .collect()
}

/// Writes `OK`, or the number of servers that failed and the first error.
fn merge_all_succeeded(name: &str, replies: &[Result<Bytes, UpstreamError>], out: &mut BytesMut) {
    let is_failure =
        |reply: &&Result<Bytes, UpstreamError>| !matches!(reply, Ok(text) if *text == OK);
    let mut failures = replies.iter().filter(is_failure).peekable();
    let why = match failures.peek() {
        None => {
            out.put_slice(OK);
            return;
        }
        Some(Ok(line)) => String::from_utf8_lossy(line.trim_ascii()).into_owned(),
        Some(Err(error)) => error.client_text().into_owned(),
    };
    // Writing to a growable buffer cannot fail.
    let _ = write!(
        out,
        "SERVER_ERROR {name} failed on {} of {} servers: {why}\r\n",
        failures.count(),
        replies.len()
    );
}

const OK: &[u8] = b"OK\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(
        which: AllServers,
        replies: &[Result<&'static str, UpstreamError>],
    ) -> Result<String, UpstreamError> {
        let replies: Vec<_> = replies
            .iter()
            .map(|reply| reply.map(|text| Bytes::from_static(text.as_bytes())))
            .collect();
        let mut out = BytesMut::new();
        merge(which, &replies, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn version_merges_all_answers() {
        let same = "VERSION 1.6.18\r\n";
        for (replies, expected) in [
            (vec![Ok(same), Ok(same)], Ok(same.to_owned())),
            (
                vec![Ok("VERSION 1.6.18\r\n"), Ok("VERSION 1.6.9\r\n"), Ok(same)],
                Ok("VERSION 1.6.9 1.6.18\r\n".to_owned()),
            ),
            (
                vec![Err(UpstreamError::TimedOut), Ok(same)],
                Ok(same.to_owned()),
            ),
            (vec![Ok("ERROR\r\n"), Ok(same)], Ok(same.to_owned())),
            (
                vec![Err(UpstreamError::TimedOut), Err(UpstreamError::Closed)],
                Err(UpstreamError::TimedOut),
            ),
            (vec![Err(UpstreamError::Closed)], Err(UpstreamError::Closed)),
        ] {
            assert_eq!(
                merged(AllServers::Version, &replies),
                expected,
                "{replies:?}"
            );
        }
    }

    #[test]
    fn all_servers_must_succeed() {
        let no = "CLIENT_ERROR flush_all not allowed\r\n";
        for (replies, expected) in [
            (vec![Ok("OK\r\n"), Ok("OK\r\n")], "OK\r\n"),
            (vec![Ok(no)], no),
            (
                vec![Ok("OK\r\n"), Ok(no), Err(UpstreamError::TimedOut)],
                "SERVER_ERROR flush_all failed on 2 of 3 servers: CLIENT_ERROR flush_all not allowed\r\n",
            ),
            (
                vec![Ok("OK\r\n"), Err(UpstreamError::Os(111))],
                "SERVER_ERROR flush_all failed on 1 of 2 servers: Connection refused\r\n",
            ),
        ] {
            assert_eq!(
                merged(AllServers::FlushAll, &replies),
                Ok(expected.to_owned())
            );
        }
    }
}
