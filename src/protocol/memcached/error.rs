//! Error replies: one line each.
//!
//! Where memcached has a text for exactly the case it is memcached's, for clients search in it; where memcached only
//! reports that the format is bad, the text names the cause.

use bytes::{BufMut, BytesMut};

use crate::protocol::UpstreamError;
use crate::protocol::memcached::command::Command;
use crate::protocol::memcached::expect::{Expect, Noreply};
use crate::protocol::memcached::request::{
    KEY_BYTES, META_FLAGS, OPAQUE_BYTES, Refusal, Request, ScanError,
};

/// The reply to a rejected request whose command is unknown or lacks arguments.
const ERROR: &str = "ERROR";

/// Writes the reason why a request is rejected; the connection stays open.
pub fn write_refusal(refusal: Refusal, command: Option<&Command>, out: &mut BytesMut) {
    let text = match refusal {
        Refusal::Unknown | Refusal::Incomplete => ERROR,
        Refusal::Unsupported => return write_unsupported(command, out),
        Refusal::ManyArguments => "CLIENT_ERROR too many arguments",
        Refusal::ManyKeys => "CLIENT_ERROR too many keys in one request",
        Refusal::Control => "CLIENT_ERROR control character (NUL or CR) in the command line",
        Refusal::LongKey => {
            return write_line(
                &format!("CLIENT_ERROR key is longer than {KEY_BYTES} bytes"),
                out,
            );
        }
        Refusal::Base64 => "CLIENT_ERROR error decoding key",
        Refusal::LineFeed => {
            "CLIENT_ERROR a key that contains a line feed cannot be returned: omit the flag k"
        }
        Refusal::Flags => "CLIENT_ERROR flags is not a 32-bit number",
        Refusal::StoreExptime => "CLIENT_ERROR exptime is not a 32-bit number",
        Refusal::Exptime => "CLIENT_ERROR invalid exptime argument",
        Refusal::Unique => "CLIENT_ERROR cas unique is not a 64-bit number",
        Refusal::Delta => "CLIENT_ERROR invalid numeric delta argument",
        Refusal::Delete => "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
        Refusal::Level => "CLIENT_ERROR bad command line format: the level is not a number",
        Refusal::Megabytes => {
            "CLIENT_ERROR bad command line format: the limit is not a number of megabytes"
        }
        Refusal::StatsArgument => {
            "CLIENT_ERROR stats of the proxy take no argument: query the servers directly"
        }
        Refusal::MetaFlag => "CLIENT_ERROR invalid flag",
        Refusal::MetaDuplicate => "CLIENT_ERROR duplicate flag",
        Refusal::MetaMany => {
            return write_line(
                &format!("CLIENT_ERROR options flags too long: more than {META_FLAGS}"),
                out,
            );
        }
        Refusal::MetaOpaque => {
            return write_line(
                &format!("CLIENT_ERROR opaque token too long: more than {OPAQUE_BYTES} bytes"),
                out,
            );
        }
        Refusal::DataChunk => "CLIENT_ERROR bad data chunk",
        Refusal::TooLarge => "SERVER_ERROR object too large for cache",
    };
    write_line(text, out);
}

/// Uses the text of a memcached without `-A`, or the reason of the table.
fn write_unsupported(command: Option<&Command>, out: &mut BytesMut) {
    match command {
        Some(command) if command.name == "shutdown" => {
            write_line("ERROR: shutdown not enabled", out);
        }
        Some(Command { name, summary, .. }) => write_line(
            &format!("CLIENT_ERROR unsupported command '{name}': {summary}"),
            out,
        ),
        None => write_line(ERROR, out),
    }
}

/// Writes the reason why the framing of a client is lost.
pub fn write_scan_error(error: ScanError, out: &mut BytesMut) {
    let text = match error {
        ScanError::Binary => {
            "CLIENT_ERROR the binary protocol is not supported: configure the client for the text protocol"
        }
        ScanError::Http => ERROR,
        ScanError::LongLine => "CLIENT_ERROR line is too long",
        ScanError::NoLength => {
            "CLIENT_ERROR bad command line format: the length of the data is missing"
        }
        ScanError::BadLength => {
            "CLIENT_ERROR bad command line format: the length of the data is not a number"
        }
        ScanError::HugeLength => "SERVER_ERROR object too large for cache",
    };
    write_line(text, out);
}

/// Writes that a request is refused because of a quota.
pub fn write_over_quota(request: &Request, text: &str, out: &mut BytesMut) {
    if request.noreply != Noreply::All {
        write_line(&format!("SERVER_ERROR {text}"), out);
    }
}

/// Writes `error` to a client that expects this reply.
pub fn write_upstream_error(error: UpstreamError, expect: Expect, out: &mut BytesMut) {
    if expect.noreply == Noreply::All {
        return;
    }
    write_line(&format!("SERVER_ERROR {}", error.client_text()), out);
}

fn write_line(text: &str, out: &mut BytesMut) {
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::memcached::expect::Answer;

    #[test]
    fn upstream_error_is_server_error_or_nothing_for_noreply() {
        for (noreply, expected) in [
            (Noreply::None, "SERVER_ERROR Connection timed out\r\n"),
            (Noreply::Quiet, "SERVER_ERROR Connection timed out\r\n"),
            (Noreply::All, ""),
        ] {
            let mut out = BytesMut::new();
            let expect = Expect {
                answer: Answer::Stored,
                noreply,
            };
            write_upstream_error(UpstreamError::TimedOut, expect, &mut out);
            assert_eq!(out, expected.as_bytes(), "{noreply:?}");
        }
    }
}
