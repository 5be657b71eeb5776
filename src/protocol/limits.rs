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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            argument_bytes: 512 << 20,
            request_bytes: 1 << 30,
            arguments: 1 << 20,
        }
    }
}
