//! What clients above a limit are told before they are closed.
//!
//! Invariant: the acceptor never waits for one of them, and what they cost is bounded: so many at a time, each for so long, and
//! one TLS handshake that computes.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Transport;
use crate::net::tls::Turns;
use crate::net::{Accepted, Stream, tls};
use crate::runtime::admission::AdmissionControl;
use crate::runtime::pool_setup::PoolSetup;

/// The maximum number of rejected clients that linger, so that they are told.
const LINGERING_MAX: usize = 64;

/// The time limit for each of them, behind its TLS handshake.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The rejected clients of one listener.
#[derive(Debug)]
pub(crate) struct Rejections {
    transport: Transport,
    reply: Bytes,
    lingering: Arc<Semaphore>,
    /// Limits the TLS handshakes that compute at the same time.
    turns: Turns,
}

impl Rejections {
    pub(crate) fn new(pool: &PoolSetup, transport: Transport) -> Self {
        Self {
            transport,
            reply: pool.refusal(),
            lingering: Arc::new(Semaphore::new(LINGERING_MAX)),
            turns: Turns::default(),
        }
    }

    /// Tells a client, without delaying the others. Of too many at a time, those over TLS are told nothing.
    pub(crate) fn tell(&self, client: Accepted, pool: &PoolSetup) {
        let Ok(permit) = Arc::clone(&self.lingering).try_acquire_owned() else {
            return self.tell_at_once(client);
        };
        let (reply, transport) = (self.reply.clone(), self.transport);
        let (turns, pool) = (self.turns.clone(), pool.clone());
        tokio::spawn(async move {
            let stream = match transport {
                Transport::Plain => Stream::adopt(client, false).ok(),
                Transport::Tls => encrypt(client, &pool, &turns).await,
            };
            let Some(mut stream) = stream else {
                return;
            };
            let linger = async {
                stream.write_all(&reply).await?;
                stream.shutdown().await?;
                let mut dropped = [0; 1024];
                // Closing with unread bytes would reset the connection, and the reply would be lost.
                while stream.read(&mut dropped).await? > 0 {}
                io::Result::Ok(())
            };
            // A client that does not read or close in time is closed nevertheless.
            let _ = timeout(LINGER_TIMEOUT, linger).await;
            drop(permit);
        });
    }

    /// Tells a client by one attempt. One over TLS expects a handshake first, and is only closed.
    pub(crate) fn tell_at_once(&self, client: Accepted) {
        if self.transport == Transport::Tls {
            return;
        }
        // A fresh socket has room for a line, and the acceptor must not block.
        let _sent = match client {
            Accepted::Tcp(mut stream) => stream.write(&self.reply),
            Accepted::Unix(mut stream) => stream.write(&self.reply),
        };
    }
}

/// Makes a TLS connection with a client that is rejected; `None` if that fails, which is not counted once more.
async fn encrypt(client: Accepted, pool: &PoolSetup, turns: &Turns) -> Option<Stream> {
    let is_behind_balancer = pool.admission.is_balancer(&client);
    let mut stream = Stream::adopt(client, false).ok()?;
    if is_behind_balancer {
        AdmissionControl::skip_header(&mut stream).await.ok()?;
    }
    let Stream::Tcp(tcp) = stream else {
        return None;
    };
    let config = pool.config();
    let listen = config.tls.listen.as_ref()?;
    let turn = turns.begin();
    let accepting = tls::accept(tcp, listen.acceptor()?, Some(&turn));
    let accepted = timeout(listen.handshake_timeout, accepting).await.ok()?;
    Some(Stream::Tls(Box::new(accepted.ok()?)))
}
