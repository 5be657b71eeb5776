//! The end of an abandoned connection to a server that cannot be told to close it.
//!
//! ```text
//! timeout --> FIN behind what was sent --> the server executes that, reads the end, closes --> newer requests are sent
//! ```
//!
//! A server with several threads executes the requests of two connections in any order, so nothing else is sent to it
//! meanwhile, by any worker. A server that hangs executes nothing else either. But if only that one connection is lost,
//! as behind a firewall that has forgotten it, its end never arrives: so once the server answers over a new one, it has
//! a limited time to close the old one.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::net::Stream;
use crate::protocol::Protocol;
use crate::proxy::upstream::io::connect;
use crate::proxy::upstream::server::Server;
use crate::topology::PoolServer;

/// The longest time that a server has to close the connection after it has answered over another one.
const GRACE_MAX: Duration = Duration::from_secs(1);

/// The time that it has for that answer, before it is asked again; doubled each time.
const ANSWER_MIN: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The pause after a failed attempt.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Keeps others from sending to a server.
struct Hold(Arc<PoolServer>);

impl Hold {
    fn new(server: &Arc<PoolServer>) -> Self {
        server.abandoned.half_close();
        Self(Arc::clone(server))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abandoned.has_ended();
    }
}

/// Half-closes a connection, and holds the others until it has ended.
pub(crate) fn half_close<P: Protocol>(server: &Rc<Server<P>>, mut stream: Stream) {
    let hold = Hold::new(&server.shared);
    let grace = server
        .timeout
        .get()
        .map_or(GRACE_MAX, |timeout| (timeout / 2).min(GRACE_MAX));
    let server = Rc::downgrade(server);
    spawn_local(async move {
        let _hold = hold;
        if stream.shutdown().await.is_err() {
            return;
        }
        let is_given_up = tokio::select! {
            () = read_to_end(&mut stream) => false,
            () = answers(&server) => timeout(grace, read_to_end(&mut stream)).await.is_err(),
        };
        if is_given_up {
            stream.reset_on_close();
            if let Some(server) = server.upgrade() {
                server.not_closed();
            }
        }
    });
}

/// Drops what the server sends, until it closes.
async fn read_to_end(stream: &mut Stream) {
    let mut dropped = [0; 4096];
    while stream.read(&mut dropped).await.is_ok_and(|len| len > 0) {}
}

/// Completes when the server has answered over a new connection, or has left the pool.
async fn answers<P: Protocol>(server: &Weak<Server<P>>) {
    let mut patience = ANSWER_MIN;
    while let Some(server) = server.upgrade() {
        if timeout(patience, ping(&server)).await == Ok(true) {
            return;
        }
        drop(server);
        patience = (patience * 2).min(ANSWER_MAX);
        sleep(RETRY_AFTER).await;
    }
}

/// Returns true if the server answers, whatever it says.
async fn ping<P: Protocol>(server: &Server<P>) -> bool {
    let Ok(mut stream) = connect(server).await else {
        return false;
    };
    stream.write_all(P::PING).await.is_ok()
        && stream.read(&mut [0; 64]).await.is_ok_and(|len| len > 0)
}
