//! What INFO says.

use std::collections::HashMap;

use crate::protocol::redis::resp::inspect;

/// The fields of a reply to INFO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    fields: HashMap<String, String>,
}

impl Info {
    /// Reads the text of a reply. Lines that are no fields are skipped.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let fields = text.lines().filter_map(|line| {
            let (name, value) = line.trim_end().split_once(':')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Self {
            fields: fields.collect(),
        }
    }

    /// Reads a reply; `None` if it is no text.
    #[must_use]
    pub fn of_reply(reply: &[u8]) -> Option<Self> {
        let text = match reply.strip_prefix(b"=") {
            // A verbatim string of RESP3, with its kind, `txt:`, before it.
            Some(_) => reply.splitn(2, |byte| *byte == b'\n').nth(1)?.get(4..)?,
            None => inspect::bulk(reply)?,
        };
        Some(Self::read(text))
    }

    /// The text of a field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The value of a field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The id of the process: each start has another one.
    #[must_use]
    pub fn run_id(&self) -> Option<&str> {
        self.text("run_id")
    }

    /// The program and its version: `valkey 9.1.2`.
    #[must_use]
    pub fn version(&self) -> String {
        let of = |name: &str, field: &str| Some(format!("{name} {}", self.text(field)?));
        let name = self.text("server_name").unwrap_or("redis");
        of(name, &format!("{name}_version"))
            .or_else(|| of("redis", "redis_version"))
            .unwrap_or_else(|| "of unknown version".to_owned())
    }

    /// The address of its primary, if it is a replica.
    #[must_use]
    pub fn primary(&self) -> Option<String> {
        self.text("role").filter(|role| *role == "slave")?;
        let [host, port] =
            ["master_host", "master_port"].map(|name| self.text(name).unwrap_or_default());
        Some(format!("{host}:{port}"))
    }

    /// What a primary says of each of its replicas (`slave0`): `ip=10.0.0.5,port=6379,state=online,offset=14,lag=0`.
    pub fn replicas(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(name, value)| {
            let digits = name.strip_prefix("slave")?;
            let is_replica = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_replica.then_some(value.as_str())
        })
    }

    /// The length of a primary's history, or how much of it a replica has applied.
    #[must_use]
    pub fn replication_offset(&self) -> Option<u64> {
        self.number(if self.is_primary() {
            "master_repl_offset"
        } else {
            "slave_repl_offset"
        })
    }

    /// Returns true if it is a primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.text("role") == Some("master")
    }

    /// The calls of each command, by its name in small letters (`INFO commandstats`).
    pub fn calls(&self) -> impl Iterator<Item = (&str, u64)> {
        self.fields.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("cmdstat_")?;
            let calls = value
                .split(',')
                .find_map(|field| field.strip_prefix("calls="));
            Some((name, calls?.parse().ok()?))
        })
    }

    /// The number of keys of each database that has any, in their order.
    #[must_use]
    pub fn databases(&self) -> Vec<(u32, u64)> {
        let mut databases: Vec<_> = self.fields.iter().filter_map(database).collect();
        databases.sort_unstable();
        databases
    }
}

/// Reads `db0` and `keys=5,expires=0,avg_ttl=0`.
fn database((name, value): (&String, &String)) -> Option<(u32, u64)> {
    let number = name.strip_prefix("db")?.parse().ok()?;
    let mut counts = value.split(',');
    let keys = counts.find_map(|count| count.strip_prefix("keys="))?;
    Some((number, keys.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_calls_of_commands() {
        let info =
            Info::read(b"cmdstat_get:calls=7,usec=9\r\nused_memory:5\r\ncmdstat_x|y:calls=1\r\n");
        let mut calls: Vec<_> = info.calls().collect();
        calls.sort_unstable();
        assert_eq!(calls, [("get", 7), ("x|y", 1)]);
    }

    #[test]
    fn info_tells_identity_role_and_databases() {
        let info = Info::read(
            b"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nrun_id:abc\r\n\
              # Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
              # Keyspace\r\ndb3:keys=1,expires=0,avg_ttl=0\r\ndb0:keys=5,expires=1\r\n",
        );
        assert_eq!(info.run_id(), Some("abc"));
        assert_eq!(info.primary().as_deref(), Some("10.0.0.1:6379"));
        assert_eq!(info.databases(), [(0, 5), (3, 1)]);
        assert_eq!(info.version(), "valkey 9.1.2");
        let other = Info::read(b"role:master\nmaster_host:x\nredis_version:7.0.15\nmaxmemory:9\n");
        assert_eq!((other.run_id(), other.primary()), (None, None));
        assert_eq!(other.version(), "redis 7.0.15");
        assert_eq!(other.number("maxmemory"), Some(9));
    }
}
