//! What one client, and one server, may cost. At a limit the proxy stops reading, or closes that one client.

use std::time::Duration;

/// Bounds of the flow between clients and servers.
#[derive(Debug, Clone, Copy)]
pub struct FlowLimits {
    /// Requests in flight per client. At the limit the session stops reading until replies have come.
    pub in_flight: usize,
    /// The same, while others ask too: they share the connections to servers, and wait behind what is in flight.
    pub shared_in_flight: usize,
    /// The same, before the first reply has shown how large replies are.
    pub first_in_flight: usize,
    /// Bytes owed to a client, with those that its requests in flight will bring if their replies are as large as the
    /// last ones. At the limit the session stops reading.
    pub pending_bytes: usize,
    /// Bytes owed to a client that close it: the largest value of Redis, and what may lie before it.
    pub owed_most_bytes: usize,
    /// Bytes that one worker holds for all its clients, from which `owed_fair_bytes` is the most for each.
    pub worker_owed_bytes: usize,
    /// What a client may be owed while its worker holds too much.
    pub owed_fair_bytes: usize,
    /// How long a client that is over `owed_bytes` may take nothing before it is closed.
    pub stall_timeout: Duration,
    /// Bytes queued to one server connection. At the limit the sessions that want it stop reading.
    pub queued_bytes: usize,
    /// Requests queued to one server connection.
    pub queued_requests: usize,
    /// Reads in a row from one client before the others have their turn.
    pub reads_in_a_row: usize,
    /// Bytes of the requests that one client may queue in a transaction.
    pub transaction_bytes: usize,
    /// Requests of one transaction.
    pub transaction_requests: usize,
    /// Bytes that are read of a client whose next request waits until all before it are answered.
    pub read_ahead_bytes: usize,
    /// Bytes of the proxy's own replies to one client before the others have their turn.
    pub turn_bytes: usize,
    /// How long the rest of a closing client's bytes is read and dropped, so that the last reply arrives.
    pub linger: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            in_flight: 16 << 10,
            shared_in_flight: 128,
            first_in_flight: 32,
            pending_bytes: 64 << 20,
            owed_most_bytes: (512 + 64) << 20,
            worker_owed_bytes: 1536 << 20,
            owed_fair_bytes: 1 << 20,
            stall_timeout: Duration::from_secs(60),
            queued_bytes: 16 << 20,
            queued_requests: 256 << 10,
            reads_in_a_row: 8,
            transaction_bytes: 64 << 20,
            transaction_requests: 256 << 10,
            read_ahead_bytes: 1 << 20,
            turn_bytes: 256 << 10,
            linger: Duration::from_secs(1),
        }
    }
}
