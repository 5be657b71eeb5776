//! The way of a client to its session: a balancer's header, a TLS handshake, and the time to authenticate.
//!
//! ```text
//! accepted --header?--> the client's address --handshake?--> session --AUTH in time?--> served as any other
//! ```

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::config::Transport;
use crate::net::Stream;
use crate::net::tls::Handshakes;
use crate::proxy::{Departure, Origin, ReplyQueue};
use crate::runtime::admission::{Admitted, Refusal};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::encryption::encrypt;
use crate::runtime::pool::AnyPool;
use crate::runtime::pool_setup::PoolSetup;
use crate::stats::PoolMetric;

/// What a client must do besides sending requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirements {
    /// It begins with a header of the PROXY protocol.
    header: bool,
    transport: Transport,
    /// The time to authenticate; zero is no limit.
    auth_within: Duration,
}

impl Requirements {
    pub(crate) fn of(permit: &ClientPermit, transport: Transport, setup: &PoolSetup) -> Self {
        Self {
            header: permit.needs_header(),
            transport,
            auth_within: setup.auth_timeout(),
        }
    }

    /// Returns true if it can be served at once, and for as long as it likes.
    pub(crate) fn are_none(self) -> bool {
        !self.header && self.transport == Transport::Plain && self.auth_within.is_zero()
    }
}

/// A client that was accepted.
pub(crate) struct NewClient {
    pub(crate) pool: Rc<AnyPool>,
    pub(crate) stream: Stream,
    pub(crate) replies: Rc<ReplyQueue>,
    pub(crate) number: usize,
}

impl NewClient {
    /// Serves a client without requirements until it disconnects, or leaves for another process.
    pub(crate) async fn serve(self) -> Option<Box<Departure>> {
        let origin = Origin::default();
        let serving = self
            .pool
            .serve(self.stream, origin, self.replies, self.number);
        serving.await
    }

    /// Serves a client with requirements likewise.
    pub(crate) async fn serve_after_setup(
        self,
        requirements: Requirements,
        setup: &PoolSetup,
        handshakes: &Rc<Handshakes>,
    ) -> Option<Box<Departure>> {
        let Self {
            pool,
            mut stream,
            replies,
            number,
        } = self;
        let mut origin = Origin::default();
        let mut _admitted = Admitted::Unlimited;
        if requirements.header {
            let received = until_closed(&replies, setup.admission.decide_by_header(&mut stream));
            match received.await? {
                Ok((admitted, told)) => (_admitted, origin.told) = (admitted, told),
                Err(refusal) => {
                    if matches!(refusal, Refusal::Gone) {
                        pool.cells().bump(PoolMetric::ClientEof);
                    }
                    setup.refuse(&refusal);
                    return None;
                }
            }
        }
        let client = origin.peer(&stream);
        if requirements.transport == Transport::Tls {
            let encrypted = encrypt(stream, &client, &pool, handshakes);
            stream = until_closed(&replies, encrypted).await??;
        }
        let waiting = (origin.auth.clone(), Rc::clone(&replies));
        let serving = pool.serve(stream, origin, replies, number);
        let named = (&*setup.name, &*client);
        let must_authenticate = || setup.needs_auth();
        let within = requirements.auth_within;
        let serving =
            setup
                .admission
                .with_auth_timeout(within, named, waiting, must_authenticate, serving);
        serving.await
    }
}

/// Completes as `arriving` does, or with `None` when the session is to be closed before it has begun.
async fn until_closed<T>(replies: &ReplyQueue, arriving: impl Future<Output = T>) -> Option<T> {
    let mut arriving = pin!(arriving);
    poll_fn(|cx| {
        replies.begin_turn(cx);
        if replies.is_closing() {
            return Poll::Ready(None);
        }
        arriving.as_mut().poll(cx).map(Some)
    })
    .await
}
