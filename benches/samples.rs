//! Frames that several benchmarks use.

use bytes::Bytes;
use ringroad::protocol::redis::command::MergeKind;
use ringroad::protocol::redis::{MergeSpec, Settings};
use ringroad::protocol::{UpstreamError, memcached};

/// The merge context of a split MGET.
pub(crate) const MGET: MergeSpec = MergeSpec {
    name: "mget",
    kind: MergeKind::Values,
};

/// A request of Redis, from its words.
pub(crate) fn command(args: impl IntoIterator<Item: AsRef<str>>) -> Vec<u8> {
    let (mut count, mut bulks) = (0, String::new());
    for arg in args {
        let arg = arg.as_ref();
        bulks.extend(["$", &arg.len().to_string(), "\r\n", arg, "\r\n"]);
        count += 1;
    }
    format!("*{count}\r\n{bulks}").into_bytes()
}

/// The reply of a redis-server to an MGET.
pub(crate) fn array(elements: usize) -> Vec<u8> {
    let mut reply = format!("*{elements}\r\n").into_bytes();
    reply.extend(b"$12\r\nhello, world\r\n".repeat(elements));
    reply
}

/// Redis without a password.
pub(crate) fn settings() -> Settings {
    let settings = Settings::new("bench");
    // Under valgrind, and beside other load, any request may be slow.
    settings.shared.stop_slow_log();
    settings
}

/// The merge context of a memcached multi-get, and the replies of the servers that have its keys in turn.
pub(crate) fn multi_get(
    keys: usize,
    servers: usize,
) -> (memcached::MergeContext, Vec<Result<Bytes, UpstreamError>>) {
    let names: Vec<String> = (0..keys).map(|n| format!("session:{n:08x}")).collect();
    let joint = memcached::MergeContext::Keys {
        ends: (1..=keys).map(|n| n * 16).collect(),
        names: names.concat().into_bytes().into(),
    };
    let replies = (0..servers)
        .map(|server| {
            let mut reply = String::new();
            for name in names.iter().skip(server).step_by(servers) {
                reply.extend(["VALUE ", name, " 0 12\r\nhello, world\r\n"]);
            }
            Ok(Bytes::from(reply + "END\r\n"))
        })
        .collect();
    (joint, replies)
}
