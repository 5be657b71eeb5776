//! Framing errors of a client.

/// The reason why the framing of a client is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The number of arguments is not a number, or above the limit.
    Multibulk,
    /// An argument does not start with `$`, but with this byte.
    ExpectedDollar(u8),
    /// The length of an argument is not a number, negative, or above the limit.
    Bulk,
    /// An argument is not followed by a line end.
    Terminator,
    /// The request exceeds the limit.
    TooLarge,
    /// An inline request without a line end.
    InlineTooLong,
    /// An inline request with an unclosed quote.
    Quotes,
    /// The client uses HTTP.
    Http,
}
