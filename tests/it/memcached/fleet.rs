//! Memcacheds behind a proxy, and the comparison of batches whose number of replies is unknown.

use crate::support::{Client, Memcached, Pool, Proxy, answer_len, show};

/// Servers and Ringroad in front of them.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) servers: Vec<Memcached>,
    pub(super) proxy: Proxy,
}

impl Fleet {
    pub(super) fn of(count: usize) -> Self {
        let servers: Vec<_> = (0..count).map(|_| Memcached::start()).collect();
        let proxy = Proxy::ringroad(&pool(&servers));
        Self { servers, proxy }
    }

    pub(super) fn client(&self) -> Client {
        self.proxy.client()
    }
}

/// The pool of most tests.
pub(super) fn pool(servers: &[Memcached]) -> Pool {
    Pool::memcached(servers).with("hash", "md5")
}

/// A request whose reply differs from that of any other: the end of batch `nth`.
pub(super) fn fence(nth: usize) -> (Vec<u8>, Vec<u8>) {
    let data = format!("{nth:08}");
    let sent = format!("set fence 0 0 8 noreply\r\n{data}\r\nget fence\r\n");
    let reply = format!("VALUE fence 0 8\r\n{data}\r\nEND\r\n");
    (sent.into_bytes(), reply.into_bytes())
}

/// The replies up to that of the fence, split.
pub(super) fn replies_before(client: &mut Client, fence: &[u8]) -> Vec<Vec<u8>> {
    let bytes = client.read_until(fence);
    let mut rest = &bytes[..bytes.len() - fence.len()];
    let mut replies = Vec::new();
    while !rest.is_empty() {
        match answer_len(rest) {
            Ok(Some(len)) => {
                replies.push(rest[..len].to_vec());
                rest = &rest[len..];
            }
            wrong => panic!("{wrong:?} in {}", show(rest)),
        }
    }
    replies
}

/// Fails unless the replies to `batch` are the same on both sides.
pub(super) fn compare(context: &str, batch: &[Vec<u8>], expected: &[Vec<u8>], found: &[Vec<u8>]) {
    if expected == found {
        return;
    }
    let differ = expected.iter().zip(found).position(|(one, two)| one != two);
    let at = differ.unwrap_or_else(|| expected.len().min(found.len()));
    let of = |replies: &[Vec<u8>]| replies.get(at).map(|reply| show(reply));
    let requests: Vec<String> = batch.iter().map(|request| show(request)).collect();
    panic!(
        "{context}: reply {at} is {:?} and not {:?}, in the batch\n{}",
        of(found),
        of(expected),
        requests.join("\n")
    );
}
