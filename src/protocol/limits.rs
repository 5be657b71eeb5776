//! Limits of one request.

/// The limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one argument (Redis: `proto-max-bulk-len`, 512 MB).
    pub argument_bytes: usize,
    /// Bytes of one whole request.
    pub request_bytes: usize,
    /// Arguments of one request, including its name.
    pub arguments: usize,
    /// These are the limits of a client that has not authenticated.
    pub before_auth: bool,
}

impl Limits {
    /// The limits of a client that has to authenticate first, as in Redis since 6.2: it may send what AUTH and HELLO need.
    pub const BEFORE_AUTH: Self = Self {
        argument_bytes: 16 << 10,
        request_bytes: 1 << 20,
        arguments: 10,
        before_auth: true,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            argument_bytes: 512 << 20,
            request_bytes: 1 << 30,
            arguments: 1 << 20,
            before_auth: false,
        }
    }
}
