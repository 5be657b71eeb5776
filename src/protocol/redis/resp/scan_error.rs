//! Framing errors of a client.

/// The reason why the framing of a client is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The number of arguments is not a number, or above the limit.
    Multibulk,
    /// The number of arguments is above the limit of a client that has not authenticated.
    UnauthenticatedMultibulk,
    /// An argument does not start with `$`, but with this byte.
    ExpectedDollar(u8),
    /// The length of an argument is not a number, negative, or above the limit.
    Bulk,
    /// An argument is longer than a client that has not authenticated may send.
    UnauthenticatedBulk,
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
