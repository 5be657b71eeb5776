//! Descriptors that travel over a unix socket, each with the bytes that it belongs to.

use std::collections::VecDeque;
use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The most descriptors that one message of the system has.
const MESSAGE_MAX: usize = 253;

/// Sends all bytes, the first of them with the descriptor.
pub async fn send(
    stream: &UnixStream,
    mut bytes: &[u8],
    mut descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || send_now(stream, bytes, descriptor))
            .await?;
        descriptor = None;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

fn send_now(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

/// Receives once into `bytes`; returns the number of bytes, zero at the end. Descriptors that came with them are appended to
/// `descriptors`, and closed in programs that this process starts. Cancel safe.
pub async fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    stream
        .async_io(Interest::READABLE, || {
            receive_now(stream, bytes, descriptors)
        })
        .await
}

fn receive_now(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_with_their_bytes() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&near, b"first", Some(writer.as_fd())).await.unwrap();
        send(&near, b"second", None).await.unwrap();
        drop((near, writer));

        let (mut bytes, mut descriptors) = ([0; 64], VecDeque::new());
        let mut text = Vec::new();
        loop {
            let len = receive(&far, &mut bytes, &mut descriptors).await.unwrap();
            if len == 0 {
                break;
            }
            text.extend_from_slice(&bytes[..len]);
        }
        assert_eq!(text, b"firstsecond");
        let passed = descriptors.pop_front().unwrap();
        assert!(descriptors.is_empty());
        File::from(passed).write_all(b"x").unwrap();
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"x");
    }
}
