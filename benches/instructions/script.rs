//! The repeated requests of a client, and the replies of the servers of its keys.

use crate::samples;

const VALUE: &str = "hello, world";

/// One exchange.
pub(crate) struct Script {
    /// The bytes that the client sends at once. Keys are `key:` and four digits.
    pub(crate) requests: Vec<u8>,
    /// The replies to the client.
    pub(crate) replies: Vec<u8>,
    /// The reply of a server to a request with these keys.
    serve: fn(&[&str]) -> Vec<u8>,
}

impl Script {
    /// The replies of a server to these requests.
    pub(crate) fn serve(&self, requests: &str) -> Vec<u8> {
        (self.serve)(&keys_of(requests))
    }

    pub(crate) fn redis_get(depth: u32) -> Self {
        let get = |key: String| samples::command(["GET", &key]);
        let serve = |keys: &[&str]| format!("$12\r\n{VALUE}\r\n").repeat(keys.len()).into();
        Self {
            requests: keys(depth).flat_map(get).collect(),
            replies: serve(&vec![""; depth as usize]),
            serve,
        }
    }

    pub(crate) fn redis_get_large() -> Self {
        let serve = |_: &[&str]| format!("$16384\r\n{}\r\n", "v".repeat(16384)).into_bytes();
        Self {
            requests: samples::command(["GET", "key:0000"]),
            replies: serve(&[]),
            serve,
        }
    }

    pub(crate) fn redis_set() -> Self {
        Self {
            requests: samples::command(["SET", "key:0000", VALUE]),
            replies: b"+OK\r\n".to_vec(),
            serve: |_| b"+OK\r\n".to_vec(),
        }
    }

    pub(crate) fn redis_mget(count: u16) -> Self {
        let words = ["MGET".to_owned()].into_iter().chain(keys(count.into()));
        Self {
            requests: samples::command(words),
            replies: samples::array(count.into()),
            serve: |keys| samples::array(keys.len()),
        }
    }

    pub(crate) fn memcached_get(depth: u32) -> Self {
        let serve = |keys: &[&str]| {
            let reply = |key: &&str| format!("VALUE {key} 0 12\r\n{VALUE}\r\nEND\r\n");
            let replies: Vec<_> = keys.iter().map(reply).collect();
            replies.concat().into()
        };
        let keys: Vec<_> = keys(depth).collect();
        Self {
            requests: keys
                .iter()
                .flat_map(|key| format!("get {key}\r\n").into_bytes())
                .collect(),
            replies: serve(&keys.iter().map(String::as_str).collect::<Vec<_>>()),
            serve,
        }
    }

    pub(crate) fn memcached_set() -> Self {
        Self {
            requests: format!("set key:0000 0 0 12\r\n{VALUE}\r\n").into(),
            replies: b"STORED\r\n".to_vec(),
            serve: |_| b"STORED\r\n".to_vec(),
        }
    }

    /// All but the last are silent; that one is the end that the client waits for.
    pub(crate) fn memcached_set_noreply(depth: u32) -> Self {
        let set = |key: String| format!("set {key} 0 0 12 noreply\r\n{VALUE}\r\n");
        let mut requests = keys(depth).map(set).collect::<Vec<_>>().concat();
        if let Some(last) = requests.rfind(" noreply") {
            requests.replace_range(last..last + " noreply".len(), "");
        }
        Self {
            requests: requests.into(),
            replies: b"STORED\r\n".to_vec(),
            serve: |keys| b"STORED\r\n".repeat(keys.len()),
        }
    }

    pub(crate) fn memcached_multi_get(count: u16) -> Self {
        let serve = |keys: &[&str]| {
            let value = |key: &&str| format!("VALUE {key} 0 12\r\n{VALUE}\r\n");
            let values: Vec<_> = keys.iter().map(value).collect();
            (values.concat() + "END\r\n").into()
        };
        let keys: Vec<_> = keys(count.into()).collect();
        Self {
            requests: format!("get {}\r\n", keys.join(" ")).into(),
            replies: serve(&keys.iter().map(String::as_str).collect::<Vec<_>>()),
            serve,
        }
    }
}

fn keys(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("key:{n:04}"))
}

fn keys_of(requests: &str) -> Vec<&str> {
    requests
        .match_indices("key:")
        .filter_map(|(at, _)| requests.get(at..at + "key:0000".len()))
        .collect()
}
