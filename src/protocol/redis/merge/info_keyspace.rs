//! The section `Keyspace` of `INFO`: the sums over the databases of all servers.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::context::MergeContext;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::encode::write_verbatim;
use crate::protocol::redis::resp::version::Resp;

const TITLE: &str = "# Keyspace\r\n";

/// Appends the section to the proxy's own ones. If a server failed, a comment in its place names it: clients request
/// the proxy's own sections as a health check, and parsers of `INFO` skip comments. A request for this section alone
/// gets an error.
pub(crate) fn join(
    context: &MergeContext,
    resp: Resp,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let report = FanOutReport::new(context);
    let mut text = String::from_utf8_lossy(&context.own).into_owned();
    if text.is_empty() {
        let Some(replies) = report.complete_replies(replies, false, out)? else {
            return Ok(());
        };
        text = sum(&replies).ok_or(UpstreamError::Fragment)?;
    } else {
        let failure = report.first_failure(&replies);
        let replies: Vec<Bytes> = replies.into_iter().flatten().collect();
        let section = match failure {
            Some(failure) => format!("{TITLE}# {failure}\r\n"),
            None => sum(&replies).unwrap_or_else(|| {
                format!("{TITLE}# the keyspace section of a server cannot be parsed\r\n")
            }),
        };
        text.push_str("\r\n");
        text.push_str(&section);
    }
    write_verbatim(resp, &text, out.tail());
    Ok(())
}

/// Sums the sections; `None` if a reply has no such section.
fn sum(replies: &[Bytes]) -> Option<String> {
    let mut databases: BTreeMap<u32, Database> = BTreeMap::new();
    for reply in replies {
        let reply = String::from_utf8_lossy(reply);
        let (_, section) = reply.split_once(TITLE)?;
        for (name, fields) in section.lines().filter_map(|line| line.split_once(':')) {
            let number = name
                .strip_prefix("db")
                .and_then(|number| number.parse().ok());
            if let Some(number) = number {
                databases.entry(number).or_default().add(fields)?;
            }
        }
    }
    let mut text = TITLE.to_owned();
    for (number, database) in databases {
        // Writing to a string cannot fail.
        let _ = write!(text, "db{number}:{}\r\n", database.fields()?);
    }
    Some(text)
}

/// The fields of one database, by name, in the servers' order.
#[derive(Debug, Default)]
struct Database(Vec<(String, u128)>);

/// The mean time to live: weighted by the keys that expire.
const MEAN: &str = "avg_ttl";

impl Database {
    fn add(&mut self, fields: &str) -> Option<()> {
        let fields: Option<Vec<(&str, u128)>> = fields
            .split(',')
            .map(|field| {
                let (name, value) = field.split_once('=')?;
                Some((name, value.parse().ok()?))
            })
            .collect();
        let fields = fields?;
        let expires = fields.iter().find(|(name, _)| *name == "expires");
        let weight = expires.map_or(0, |(_, expires)| *expires);
        for (name, value) in fields {
            let value = if name == MEAN {
                value.checked_mul(weight)?
            } else {
                value
            };
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum = sum.checked_add(value)?,
                None => self.0.push((name.to_owned(), value)),
            }
        }
        Some(())
    }

    fn fields(&self) -> Option<String> {
        let expires = self.0.iter().find(|(name, _)| name == "expires");
        let weight = expires.map_or(0, |(_, expires)| *expires);
        let texts: Option<Vec<String>> = self
            .0
            .iter()
            .map(|(name, value)| {
                let value = if name == MEAN {
                    value.checked_div(weight).unwrap_or(0)
                } else {
                    *value
                };
                Some(format!("{name}={value}"))
            })
            .collect();
        Some(texts?.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::redis::command::MergeKind;
    use crate::protocol::redis::merge::context::MergeSpec;

    fn merged(
        own: &str,
        replies: &[Result<&'static str, UpstreamError>],
    ) -> Result<String, UpstreamError> {
        let replies = replies.iter().map(|reply| match reply {
            Ok(text) => Ok(Bytes::from(format!("${}\r\n{text}\r\n", text.len()))),
            Err(error) => Err(*error),
        });
        let name = "INFO";
        let kind = MergeKind::Info(Resp::Two);
        let context = MergeContext {
            own: Bytes::from(own.to_owned()),
            servers: Some(Arc::new(["s0".to_owned(), "s1".to_owned()])),
            ..MergeContext::from(MergeSpec { name, kind })
        };
        let mut out = WriteBuf::new();
        join(&context, Resp::Two, replies.collect(), &mut out)?;
        Ok(String::from_utf8_lossy(out.tail()).into_owned())
    }

    #[test]
    fn keyspace_sums_keys_and_weighs_ttls() {
        let first =
            "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=100\r\ndb9:keys=1,expires=0,avg_ttl=0\r\n";
        let second =
            "# Keyspace\r\ndb0:keys=4,expires=3,avg_ttl=200\r\ndb2:keys=5,expires=5,avg_ttl=7\r\n";
        let section = "# Keyspace\r\ndb0:keys=7,expires=4,avg_ttl=175\r\n\
                       db2:keys=5,expires=5,avg_ttl=7\r\ndb9:keys=1,expires=0,avg_ttl=0\r\n";
        let alone = format!("${}\r\n{section}\r\n", section.len());
        assert_eq!(merged("", &[Ok(first), Ok(second)]), Ok(alone));
        let both = format!("# CPU\r\n\r\n{section}");
        let both = format!("${}\r\n{both}\r\n", both.len());
        assert_eq!(merged("# CPU\r\n", &[Ok(first), Ok(second)]), Ok(both));
    }

    #[test]
    fn missing_server_leaves_local_sections_and_a_comment() {
        let one = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=100\r\n";
        for (other, comment) in [
            (
                Err(UpstreamError::TimedOut),
                "server 's1' failed: Connection timed out",
            ),
            (
                Ok("nothing"),
                "the keyspace section of a server cannot be parsed",
            ),
        ] {
            let replies = [Ok(one), other];
            let text = format!("# CPU\r\n\r\n# Keyspace\r\n# {comment}\r\n");
            let text = format!("${}\r\n{text}\r\n", text.len());
            assert_eq!(merged("# CPU\r\n", &replies), Ok(text));
        }
        let alone = "-ERR INFO needs all servers; server 's1' failed: Connection timed out\r\n";
        let replies = [Ok(one), Err(UpstreamError::TimedOut)];
        assert_eq!(merged("", &replies), Ok(alone.to_owned()));
        assert_eq!(
            merged("", &[Ok(one), Ok("nothing")]),
            Err(UpstreamError::Fragment)
        );
    }
}
