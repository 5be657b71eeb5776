//! The messages, as JSON; bytes of clients follow as they are.

use serde::{Deserialize, Serialize};

use crate::protocol::ClientRecord;

/// The versions of the protocol that this process knows.
pub const PROTOCOLS: &[u32] = &[1, 2];

/// The first version in which the old process asks whether the new one lives, and the new one says that it is told to end.
pub const SIGNS_SINCE: u32 = 2;

/// The versions of the record of a client that this process knows.
pub const RECORDS: &[u32] = &[1];

/// The first message of the new process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions of the protocol that it knows.
    pub protocols: Vec<u32>,
    /// The versions of the record of a client that it knows.
    pub records: Vec<u32>,
    /// The id of its process.
    pub pid: u32,
    /// Its own version.
    pub version: String,
}

/// A pool, and what its clients speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolName {
    /// Its name.
    pub pool: String,
    /// `redis` or `memcached`.
    pub protocol: String,
}

/// A further message of the new process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromNew {
    /// It can serve these pools, and waits for [`FromOld::Serve`].
    Ready {
        /// Its pools.
        pools: Vec<PoolName>,
        /// The sockets that it goes on to use, by their place among those that it was sent. An older version does not say.
        #[serde(default)]
        sockets: Option<Vec<usize>>,
    },
    /// It accepts clients.
    Serving,
    /// It has a client, and will read it.
    Adopted {
        /// The number of the client.
        number: u64,
    },
    /// It does not take a client.
    Refused {
        /// The number of the client.
        number: u64,
        /// The reason.
        reason: String,
    },
    /// It cannot serve, and ends.
    Failed {
        /// The reason.
        reason: String,
    },
    /// Answers [`FromOld::Ping`].
    Pong,
    /// An operator ends it, and means the old process, too. Nothing that is not adopted will be.
    Ending,
}

/// The answer of the old process to [`Hello`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the protocol for the rest of the connection.
    pub protocol: u32,
    /// The version of the record; without one it keeps its clients, and lets them finish.
    pub record: Option<u32>,
    /// The id of its process.
    pub pid: u32,
    /// Its own version.
    pub version: String,
    /// Servers that an operator has drained, by pool.
    pub drained: Vec<(String, String)>,
}

/// The use of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// The listener of a pool.
    Pool {
        /// The pool.
        pool: String,
        /// Its `listen`.
        listen: String,
        /// Its `reuseport`.
        reuseport: bool,
    },
    /// The stats port.
    Stats,
    /// The admin socket.
    Admin,
}

/// A socket that listens. Its descriptor comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Its use.
    #[serde(flatten)]
    pub role: Role,
}

/// The end of the sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The number of them.
    pub sockets: usize,
}

/// A message of the old process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromOld {
    /// Answers [`Hello`].
    Welcome(Welcome),
    /// A socket.
    Socket(Socket),
    /// All sockets are sent.
    Complete(Complete),
    /// It accepts no more: the new process is to serve.
    Serve {
        /// The first id that the new process may give a client.
        client_ids_from: u64,
    },
    /// A client. Its connection comes with it, and what it has sent and nobody has executed.
    Client {
        /// Its number, for the answer.
        number: u64,
        /// Its pool.
        pool: String,
        /// What is known of it.
        record: Box<ClientRecord>,
    },
    /// It hands over no more clients, and ends.
    Done {
        /// The clients that it has left. While it has, it keeps the connection. An older version does not say.
        #[serde(default)]
        left: usize,
    },
    /// It wants a sign of life.
    Ping,
    /// It goes on; the new process is to end.
    Abort {
        /// The reason.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_a_later_version_are_read() {
        let text = json!({
            "kind": "socket", "role": "pool", "pool": "p", "listen": "127.0.0.1:1", "reuseport": false, "new": [1]
        });
        let role = Role::Pool {
            pool: "p".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            reuseport: false,
        };
        let read: FromOld = serde_json::from_value(text).unwrap();
        assert_eq!(read, FromOld::Socket(Socket { role }));
        let text = json!({"kind": "ready", "pools": [], "clients": 7});
        let read: FromNew = serde_json::from_value(text).unwrap();
        let ready = FromNew::Ready {
            pools: Vec::new(),
            sockets: None,
        };
        assert_eq!(read, ready);
    }

    #[test]
    fn messages_of_an_earlier_version_are_read() {
        let read: FromOld = serde_json::from_value(json!({"kind": "done"})).unwrap();
        assert_eq!(read, FromOld::Done { left: 0 });
    }
}
