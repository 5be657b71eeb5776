//! `SCRIPT KILL`, `FUNCTION KILL`: at most one server is running something.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::partial::FanOutReport;

/// Writes that something was killed; else why it was not; else which server failed; else that nothing is running.
pub(crate) fn join(
    report: &FanOutReport<'_>,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let find = |matches: fn(&[u8]) -> bool| replies.iter().flatten().find(|reply| matches(reply));
    let killed = find(|reply| reply.starts_with(b"+"));
    let kept = find(|reply| reply.starts_with(b"-") && !reply.starts_with(b"-NOTBUSY "));
    if let Some(reply) = killed.or(kept) {
        out.share(reply.clone());
        return Ok(());
    }
    let idle = find(|reply| reply.starts_with(b"-")).cloned();
    // The error that nothing is running is a complete reply.
    let parts = replies.into_iter().map(|reply| reply.map(|_| Bytes::new()));
    if report
        .complete_replies(parts.collect(), false, out)?
        .is_some()
    {
        // No server replies with a value here.
        out.share(idle.ok_or(UpstreamError::Fragment)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
    use crate::protocol::redis::merge::context::MergeContext;
    use crate::protocol::redis::merge::context::MergeSpec;

    #[test]
    fn one_success_is_enough_and_unkillable_is_reported() {
        let (done, idle) = (Ok("+OK\r\n"), Ok("-NOTBUSY No scripts\r\n"));
        let kept = Ok("-UNKILLABLE Sorry\r\n");
        let lost = Err(UpstreamError::TimedOut);
        let missing = "-ERR x needs all servers; server '' failed: Connection timed out\r\n";
        for (replies, expected) in [
            ([idle, done], Ok("+OK\r\n")),
            ([kept, done], Ok("+OK\r\n")),
            ([lost, done], Ok("+OK\r\n")),
            ([idle, kept], Ok("-UNKILLABLE Sorry\r\n")),
            ([lost, kept], Ok("-UNKILLABLE Sorry\r\n")),
            ([idle, idle], Ok("-NOTBUSY No scripts\r\n")),
            ([lost, idle], Ok(missing)),
            ([idle, lost], Ok(missing)),
            ([Ok(":1\r\n"), Ok(":1\r\n")], Err(UpstreamError::Fragment)),
        ] {
            let replies = replies.map(|reply| reply.map(|text: &str| Bytes::from(text.to_owned())));
            let kind = MergeKind::All(ResponsePolicy::OneSucceeded);
            let context = MergeContext::from(MergeSpec { name: "x", kind });
            let mut out = WriteBuf::new();
            let merged = join(&FanOutReport::new(&context), replies.to_vec(), &mut out)
                .map(|()| String::from_utf8(out.tail().to_vec()).unwrap());
            assert_eq!(merged, expected.map(str::to_owned));
        }
    }
}
