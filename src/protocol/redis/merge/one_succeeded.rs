//! `SCRIPT KILL`, `FUNCTION KILL`: something runs on one server, if at all.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::partial::FanOutReport;

/// That something was killed; else why what runs was not; else which server cannot say; else that nothing runs.
pub(crate) fn join(
    asked: &FanOutReport<'_>,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let says = |fits: fn(&[u8]) -> bool| replies.iter().flatten().find(|reply| fits(reply));
    let killed = says(|reply| reply.starts_with(b"+"));
    let kept = says(|reply| reply.starts_with(b"-") && !reply.starts_with(b"-NOTBUSY "));
    if let Some(reply) = killed.or(kept) {
        out.share(reply.clone());
        return Ok(());
    }
    let idle = says(|reply| reply.starts_with(b"-")).cloned();
    // That nothing runs is a whole part of the answer.
    let parts = replies.into_iter().map(|reply| reply.map(|_| Bytes::new()));
    if asked.wholes(parts.collect(), false, out)?.is_some() {
        // No server says a value to that.
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
            let joined = join(&FanOutReport::new(&context), replies.to_vec(), &mut out)
                .map(|()| String::from_utf8(out.tail().to_vec()).unwrap());
            assert_eq!(joined, expected.map(str::to_owned));
        }
    }
}
