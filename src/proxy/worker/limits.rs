//! The limits of one client, and of one server connection. At a limit the proxy stops reading, or closes that one
//! client.

use std::time::Duration;

/// Limits of the flow between clients and servers.
#[derive(Debug, Clone, Copy)]
pub struct FlowLimits {
    /// Requests in flight per client. At the limit the session stops reading until replies have arrived.
    pub in_flight: usize,
    /// The same, while other clients are active: they share the server connections, and wait behind requests in flight.
    pub shared_in_flight: usize,
    /// The same, before the first reply has shown the size of replies.
    pub first_in_flight: usize,
    /// Bytes of the replies to a client's requests in flight, if they are as large as its last ones. At the limit the session
    /// takes no further request: other clients wait behind these replies on the shared server connections.
    pub flight_bytes: usize,
    /// Bytes that are ready to be written, and not accepted by the client's socket. At the limit the session takes no
    /// further request, and reads ahead, since the client may send all its requests before it reads.
    pub unread_bytes: usize,
    /// Pending output of a client, including the replies to its requests in flight if they are as large as the last
    /// ones. At the limit the session stops reading.
    pub pending_bytes: usize,
    /// Pending output at which a client is closed: the largest value of Redis, and output that may precede it.
    pub client_output_bytes: usize,
    /// Pending output of all clients of one worker above which `fair_output_bytes` is the limit of each.
    pub worker_output_bytes: usize,
    /// The limit of a client's pending output while its worker holds too much.
    pub fair_output_bytes: usize,
    /// Time after which a client over `pending_bytes` that reads nothing is closed.
    pub stall_timeout: Duration,
    /// Bytes queued to one server connection. At the limit the sessions that need it stop reading.
    pub queued_bytes: usize,
    /// Requests queued to one server connection.
    pub queued_requests: usize,
    /// Consecutive reads from one client before its session yields.
    pub reads_in_a_row: usize,
    /// Bytes of the requests that one client may queue in a transaction.
    pub transaction_bytes: usize,
    /// Requests of one transaction.
    pub transaction_requests: usize,
    /// Bytes read ahead from a client whose next request waits until all previous ones are answered.
    pub read_ahead_bytes: usize,
    /// Bytes of local replies to one client before its session yields.
    pub turn_bytes: usize,
    /// Requests of one client before its session yields, empty lines included.
    pub turn_requests: usize,
    /// The same, of those that the proxy answers at once or skips: nothing else limits how many a client sends, and each
    /// of them delays all others.
    pub turn_local_requests: usize,
    /// The pause between two turns of reading from a client that holds much while its pool's memory is nearly used up.
    pub throttle_pause: Duration,
    /// Time for which the input of a closing client is read and dropped, so that the last reply arrives.
    pub linger: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            in_flight: 16 << 10,
            shared_in_flight: 128,
            first_in_flight: 2,
            flight_bytes: 1 << 20,
            unread_bytes: 1 << 20,
            pending_bytes: 64 << 20,
            client_output_bytes: (512 + 64) << 20,
            worker_output_bytes: 1536 << 20,
            fair_output_bytes: 1 << 20,
            stall_timeout: Duration::from_secs(60),
            queued_bytes: 16 << 20,
            queued_requests: 256 << 10,
            reads_in_a_row: 8,
            transaction_bytes: 1 << 30,
            transaction_requests: 256 << 10,
            read_ahead_bytes: 1 << 20,
            turn_bytes: 256 << 10,
            turn_requests: 256,
            turn_local_requests: 32,
            throttle_pause: Duration::from_millis(50),
            linger: Duration::from_secs(1),
        }
    }
}
