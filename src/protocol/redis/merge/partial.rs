//! Errors for replies that some servers failed to give.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::context::MergeContext;
use crate::protocol::redis::resp::encode::write_error_line;
use crate::protocol::redis::resp::inspect::is_error;
use crate::topology::ServerIndex;

/// The command and the servers of a fan-out, for its errors.
#[derive(Debug)]
pub(crate) struct FanOutReport<'s> {
    /// The command's name, as the table has it.
    name: &'static str,
    /// The servers' names.
    pub(crate) servers: &'s [String],
}

impl<'s> FanOutReport<'s> {
    pub(crate) fn new(context: &'s MergeContext) -> Self {
        Self {
            name: context.split.name,
            servers: context.servers.as_deref().unwrap_or_default(),
        }
    }
}

impl FanOutReport<'_> {
    /// Returns all the replies. `None` if one is missing or an error: then writes the error. `is_write` means that the
    /// other servers may have changed something.
    pub(crate) fn complete_replies(
        &self,
        replies: Vec<Result<Bytes, UpstreamError>>,
        is_write: bool,
        out: &mut WriteBuf,
    ) -> Result<Option<Vec<Bytes>>, UpstreamError> {
        if let [Err(error)] = replies[..] {
            return Err(error);
        }
        let failures = replies.iter().filter(|reply| is_failure(reply)).count();
        let Some(first) = replies.iter().position(is_failure) else {
            return replies.into_iter().collect::<Result<_, _>>().map(Some);
        };
        let mut distinct = replies.clone();
        distinct.dedup();
        if let [Ok(error)] = &distinct[..] {
            out.share(error.clone());
            return Ok(None);
        }
        let name = self.display_name();
        let rest = if is_write {
            let done = replies.len() - failures;
            format!("{name} succeeded on {done} of {} servers", replies.len())
        } else {
            format!("{name} needs all servers")
        };
        self.write(first, replies.get(first), &rest, out);
        Ok(None)
    }

    /// The first server that failed, and the reason, in one line. `None` if none did.
    pub(crate) fn first_failure(&self, replies: &[Result<Bytes, UpstreamError>]) -> Option<String> {
        let first = replies.iter().position(is_failure)?;
        let (_, why) = why(replies.get(first)?);
        let line = format!("server '{}' failed: {why}", self.server(first));
        Some(line.replace(['\r', '\n'], " "))
    }

    /// Writes that the only server of the request did not reply.
    pub(crate) fn write_missing(
        &self,
        server: ServerIndex,
        error: UpstreamError,
        out: &mut WriteBuf,
    ) {
        let rest = format!("{} continues on one server", self.display_name());
        self.write(server.index(), Some(&Err(error)), &rest, out);
    }

    /// Writes that two servers differ where they must be equal.
    pub(crate) fn write_differ(&self, server: usize, what: &str, out: &mut WriteBuf) {
        let (first, other) = (self.server(0), self.server(server));
        let text = format!(
            "ERR {}: servers '{first}' and '{other}' {what}",
            self.display_name()
        );
        write_error_line(&[text.as_bytes()], out.tail());
    }

    /// Keeps the code of a server's error, which clients evaluate.
    fn write(
        &self,
        server: usize,
        reply: Option<&Result<Bytes, UpstreamError>>,
        what: &str,
        out: &mut WriteBuf,
    ) {
        let (code, why) = reply.map_or_else(|| why(&Err(UpstreamError::Dropped)), why);
        let text = format!(
            "{code} {what}; server '{}' failed: {why}",
            self.server(server)
        );
        write_error_line(&[text.as_bytes()], out.tail());
    }

    fn server(&self, index: usize) -> &str {
        self.servers.get(index).map_or("", String::as_str)
    }

    fn display_name(&self) -> String {
        self.name.replace('|', " ")
    }
}

/// The code of the error for the client, and its reason.
fn why(reply: &Result<Bytes, UpstreamError>) -> (String, String) {
    match reply {
        Ok(error) => split_error(error),
        Err(UpstreamError::Ejected) => ("ERR".to_owned(), "ejected".to_owned()),
        Err(error) => ("ERR".to_owned(), error.client_text().into_owned()),
    }
}

fn is_failure(reply: &Result<Bytes, UpstreamError>) -> bool {
    match reply {
        Ok(reply) => is_error(reply),
        Err(_) => true,
    }
}

/// The code of an error reply, and its text.
fn split_error(error: &[u8]) -> (String, String) {
    let text = match error.split_first() {
        Some((b'!', blob)) => blob
            .split_at_checked(memchr::memchr(b'\n', blob).unwrap_or(0))
            .map_or(blob, |(_, text)| text),
        Some((_, line)) => line,
        None => error,
    };
    let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
    match text.split_once(' ') {
        Some((code, rest)) if code.bytes().all(|b| b.is_ascii_uppercase()) => {
            (code.to_owned(), rest.to_owned())
        }
        _ => ("ERR".to_owned(), text),
    }
}
