//! Replies that operators want to know of: late ones and large ones, with the requests that they answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::observe::{BIG_BYTES, BigKind, BigName, KeyText, SlowRequest};
use crate::protocol::{PoolObserver as _, Protocol};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::in_flight::InFlight;

impl<P: Protocol> UpstreamConn<P> {
    /// The duration from which requests are passed to [`Self::observe_slow`].
    #[inline]
    pub(super) fn slow_from(&self) -> Duration {
        P::Observer::slow_from(&self.server.settings)
    }

    /// Passes on a request that was taken last, and was slow.
    #[cold]
    pub(super) fn observe_slow(&self, request: &InFlight<P>, now: Instant) {
        let head = self.queue.borrow().heads.last_taken(request.len);
        let mut slow = SlowRequest {
            server: self.server.name().to_owned(),
            took: now.saturating_duration_since(request.since),
            ..SlowRequest::default()
        };
        if let Some(head) = head {
            let waited = head.written_at.saturating_duration_since(request.since);
            slow.waited = waited.min(slow.took);
            slow.text = P::Observer::text(&head.bytes);
        }
        request.responder.note_slow(&self.server.settings, slow);
    }

    /// Notes a request that was taken last, if it or its reply is large.
    #[inline]
    pub(super) fn observe_sizes(&self, request: &InFlight<P>, reply_bytes: usize, now: Instant) {
        if (request.len | reply_bytes) >= BIG_BYTES {
            self.observe_big(request, reply_bytes, now);
        }
    }

    #[cold]
    fn observe_big(&self, request: &InFlight<P>, reply_bytes: usize, now: Instant) {
        let sizes = [
            (BigKind::Request, request.len),
            (BigKind::Reply, reply_bytes),
        ];
        for (kind, bytes) in sizes.into_iter().filter(|(_, bytes)| *bytes >= BIG_BYTES) {
            let (server, now) = (self.server.name(), now.into_std());
            let name = || self.big_name(kind, request.len);
            self.server.observer.note_big(bytes, server, now, name);
        }
    }

    /// The command and the first key of the request that was taken last, and the number of its keys.
    fn big_name(&self, kind: BigKind, len: usize) -> (BigName, usize) {
        let queue = self.queue.borrow();
        queue.heads.with_last_taken(len, |head| {
            let mut name = BigName {
                kind,
                command: KeyText::capitals(P::Observer::name_of_head(head)),
                key: KeyText::default(),
            };
            let mut keys = 0;
            P::Observer::visit_keys_of_head(head, &mut |key| {
                if keys == 0 {
                    name.key = KeyText::new(key);
                }
                keys += 1;
            });
            (name, keys)
        })
    }
}
