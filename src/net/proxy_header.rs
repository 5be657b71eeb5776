//! The header of the PROXY protocol, versions 1 and 2: the address of a client, as a load balancer tells it.
//!
//! Invariant: not a byte behind the header is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The start of version 2, which no client of Redis or memcached sends.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its end.
const V1_MAX_BYTES: usize = 107;
/// The shortest header of either version.
const MIN_BYTES: usize = 15;
/// The fixed part of version 2.
const V2_FIXED_BYTES: usize = 16;
/// The longest rest of a header of version 2: two addresses and the balancer's own notes, which are skipped.
const V2_REST_MAX_BYTES: usize = 4096;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The client has this address.
    Client(SocketAddr),
    /// The balancer speaks for itself, or does not know the client.
    Local,
}

/// The reason why the start of a connection is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The peer has gone without a byte, as a health check does.
    #[error("it was closed before its first byte")]
    Unused,
    /// Something else.
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    /// A faulty header.
    #[error("its header of the PROXY protocol is faulty: {0}")]
    Faulty(&'static str),
    /// A failure of the socket.
    #[error("its header of the PROXY protocol did not come: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header from the start of a connection.
pub async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<ProxyHeader, HeaderError> {
    let mut buffer = Vec::with_capacity(V1_MAX_BYTES);
    loop {
        let more = match parse_proxy_header(&buffer)? {
            Progress::Complete { header, .. } => return Ok(header),
            Progress::Needs(more) => more,
        };
        let missing = u64::try_from(more).unwrap_or(u64::MAX);
        let read = (&mut *stream).take(missing).read_buf(&mut buffer).await;
        match read {
            Ok(0) | Err(_) if buffer.is_empty() => return Err(HeaderError::Unused),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The header has that many bytes more, at least.
    Needs(usize),
    /// It is complete.
    Complete {
        /// What it says.
        header: ProxyHeader,
        /// Its length.
        len: usize,
    },
}

/// Parses the header at the start of `bytes`, or says how much more of it there is at least.
pub fn parse_proxy_header(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let is_start_of = |start: &[u8]| {
        let common = start.len().min(bytes.len());
        bytes.get(..common) == start.get(..common)
    };
    if is_start_of(SIGNATURE) {
        parse_v2(bytes)
    } else if is_start_of(b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let head = bytes.get(..V1_MAX_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', head) else {
        return match V1_MAX_BYTES.checked_sub(bytes.len()) {
            // The end may be the next byte.
            Some(1..) => Ok(Progress::Needs(
                MIN_BYTES.saturating_sub(bytes.len()).max(1),
            )),
            _ => Err(HeaderError::Faulty("a line of more than 107 bytes")),
        };
    };
    let line = head.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| str::from_utf8(line).ok());
    let line = line.ok_or(HeaderError::Faulty("its line"))?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => ProxyHeader::Local,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut address = || {
                let text = words.next()?;
                let address: IpAddr = text.parse().ok()?;
                (address.is_ipv4() == (family == "TCP4")).then_some(address)
            };
            let source = address().ok_or(HeaderError::Faulty("the client's address"))?;
            address().ok_or(HeaderError::Faulty("the address of the listener"))?;
            let mut port = || {
                let text = words.next()?;
                let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u16>().ok().filter(|_| is_plain)
            };
            let source_port = port().ok_or(HeaderError::Faulty("the client's port"))?;
            port().ok_or(HeaderError::Faulty("the port of the listener"))?;
            if words.next().is_some() {
                return Err(HeaderError::Faulty("more words than there are"));
            }
            ProxyHeader::Client(SocketAddr::new(source.to_canonical(), source_port))
        }
        _ => return Err(HeaderError::Faulty("its protocol")),
    };
    Ok(Progress::Complete {
        header,
        len: end + 1,
    })
}

fn parse_v2(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else {
        // Less than that is no header of version 1 either.
        let least = if bytes.is_empty() {
            MIN_BYTES
        } else {
            V2_FIXED_BYTES
        };
        return Ok(Progress::Needs(least.saturating_sub(bytes.len()).max(1)));
    };
    let [.., version_command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 {
        return Err(HeaderError::Faulty("its version"));
    }
    if len > V2_REST_MAX_BYTES {
        return Err(HeaderError::Faulty("more than 4096 bytes"));
    }
    let Some(rest) = rest.get(..len) else {
        return Ok(Progress::Needs(len - rest.len()));
    };
    let header = match version_command & 0x0F {
        0 => ProxyHeader::Local,
        1 => source(family, rest)?,
        _ => return Err(HeaderError::Faulty("its command")),
    };
    Ok(Progress::Complete {
        header,
        len: V2_FIXED_BYTES + len,
    })
}

/// The client's address, at the start of what follows the fixed part.
fn source(family: u8, rest: &[u8]) -> Result<ProxyHeader, HeaderError> {
    const SHORT: HeaderError = HeaderError::Faulty("its length is less than that of the addresses");
    let (address, port) = match family {
        // TCP over IPv4: both addresses, then both ports.
        0x11 => {
            let (addresses, ports) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
            let ports = ports.first_chunk::<4>().ok_or(SHORT)?;
            let [a, b, c, d, ..] = *addresses;
            (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), ports)
        }
        // TCP over IPv6, likewise.
        0x21 => {
            let (addresses, ports) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
            let ports = ports.first_chunk::<4>().ok_or(SHORT)?;
            let address = addresses.first_chunk::<16>().ok_or(SHORT)?;
            (IpAddr::V6(Ipv6Addr::from(*address)), ports)
        }
        // No family, and unix sockets.
        0x00 | 0x31 => return Ok(ProxyHeader::Local),
        _ => return Err(HeaderError::Faulty("its protocol")),
    };
    let [high, low, ..] = *port;
    let port = u16::from_be_bytes([high, low]);
    Ok(ProxyHeader::Client(SocketAddr::new(
        address.to_canonical(),
        port,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &len, rest].concat()
    }

    fn headers() -> Vec<(Vec<u8>, Option<ProxyHeader>)> {
        let v4 = [1, 2, 3, 4, 127, 0, 0, 1, 0x10, 0x01, 0, 80];
        let mut v6 = [0; 36];
        (v6[15], v6[32], v6[33]) = (1, 0x20, 0x02);
        let with_notes = [&v4[..], &[0x04, 0, 2, 9, 9]].concat();
        let local = Some(ProxyHeader::Local);
        let client = |text: &str| Some(ProxyHeader::Client(text.parse().unwrap()));
        vec![
            (
                b"PROXY TCP4 1.2.3.4 127.0.0.1 4097 80\r\n".to_vec(),
                client("1.2.3.4:4097"),
            ),
            (
                b"PROXY TCP6 ::1 ::1 8194 80\r\n".to_vec(),
                client("[::1]:8194"),
            ),
            (
                b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 80\r\n".to_vec(),
                client("1.2.3.4:1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), local),
            (b"PROXY UNKNOWN what ever 1 2\r\n".to_vec(), local),
            (v2(0x21, 0x11, &v4), client("1.2.3.4:4097")),
            (v2(0x21, 0x11, &with_notes), client("1.2.3.4:4097")),
            (v2(0x21, 0x21, &v6), client("[::1]:8194")),
            (v2(0x20, 0x11, &v4), local),
            (v2(0x20, 0x00, b""), local),
            (v2(0x21, 0x00, b""), local),
            (v2(0x21, 0x31, &[0; 216]), local),
            (b"PROXY TCP4 1.2.3.4 127.0.0.1 65536 80\r\n".to_vec(), None),
            (b"PROXY TCP4 1.2.3.4 127.0.0.1 +1 80\r\n".to_vec(), None),
            (b"PROXY TCP4 ::1 ::1 1 80\r\n".to_vec(), None),
            (b"PROXY TCP4 1.2.3.4 127.0.0.1 1 80 1\r\n".to_vec(), None),
            (b"PROXY TCP4 1.2.3.4\r\n".to_vec(), None),
            (b"PROXY TCP5 1.2.3.4 127.0.0.1 1 80\r\n".to_vec(), None),
            (b"PROXY UNKNOWN\n".to_vec(), None),
            ([&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(), None),
            (v2(0x11, 0x11, &v4), None),
            (v2(0x22, 0x11, &v4), None),
            (v2(0x21, 0x12, &v4), None),
            (v2(0x21, 0x11, &v4[..11]), None),
            (v2(0x21, 0x11, &[0; 4097]), None),
            (b"*1\r\n$4\r\nPING\r\n".to_vec(), None),
            (b"\r\n\r\nGET / HTTP/1.0\r\n".to_vec(), None),
        ]
    }

    #[test]
    fn header_tells_the_address_of_the_client() {
        for (bytes, expected) in headers() {
            let found = match parse_proxy_header(&bytes) {
                Ok(Progress::Complete { header, len }) => {
                    assert_eq!(len, bytes.len());
                    Some(header)
                }
                Ok(Progress::Needs(_)) => panic!("{} is whole", bytes.escape_ascii()),
                Err(_) => None,
            };
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nothing_behind_the_header_is_needed() {
        for (bytes, _) in headers().into_iter().filter(|(_, header)| header.is_some()) {
            for end in 0..bytes.len() {
                let Ok(Progress::Needs(more)) = parse_proxy_header(&bytes[..end]) else {
                    panic!("{} is a part", bytes[..end].escape_ascii());
                };
                assert!(
                    more > 0 && end + more <= bytes.len(),
                    "{}",
                    bytes.escape_ascii()
                );
            }
        }
    }
}
