//! What is wrong with the framing of a client.

/// Why the framing of a client's bytes is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The number of arguments is no number, or beyond the limit.
    Multibulk,
    /// An argument does not start with `$`, but with this byte.
    ExpectedDollar(u8),
    /// The length of an argument is no number, negative, or beyond the limit.
    Bulk,
    /// An argument is not followed by a line end.
    Terminator,
    /// The request as a whole is beyond the limit.
    TooLarge,
    /// An inline request without a line end.
    InlineTooLong,
    /// An inline request with a quote that does not close.
    Quotes,
    /// The client speaks HTTP.
    Http,
}
