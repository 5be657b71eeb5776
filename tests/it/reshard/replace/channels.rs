//! Subscribers while a server is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{START, files, servers};
use crate::reshard::guarded;
use crate::support::{Kind, Launch, Proxy, array_items, show};

/// Messages by channel, as one subscriber has heard them.
struct Hearing {
    thread: thread::JoinHandle<BTreeMap<String, Vec<u64>>>,
}

impl Hearing {
    /// Hears all channels by their names, or by a pattern, until each has said `end`.
    fn start(proxy: &Proxy, is_pattern: bool) -> Self {
        let mut client = proxy.client();
        let channels: Vec<_> = (0..CHANNELS).map(|nth| format!("channel-{nth}")).collect();
        let request = if is_pattern {
            "PSUBSCRIBE channel-*".to_owned()
        } else {
            format!("SUBSCRIBE {}", channels.join(" "))
        };
        client.send(&crate::support::words(&request));
        let confirmations = if is_pattern { 1 } else { CHANNELS };
        for _ in 0..confirmations {
            client.reply();
        }
        let thread = thread::spawn(move || {
            let mut heard: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut ended = 0;
            while ended < CHANNELS {
                let items = array_items(&client.reply());
                let [.., channel, message] = items.as_slice() else {
                    panic!("{items:?}");
                };
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                if message == b"end" {
                    ended += 1;
                } else {
                    let numbers = heard.entry(text(channel)).or_default();
                    numbers.push(text(message).parse().unwrap());
                }
            }
            heard
        });
        Self { thread }
    }
}

const CHANNELS: usize = 12;

#[test]
fn each_message_is_heard_once_while_a_server_is_replaced() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let old = guarded([first, second]);
    let launch = Launch {
        args: vec!["--workers".to_owned(), "2".to_owned()],
        ..Launch::default()
    };
    let proxies = [(); 2].map(|()| Proxy::start(Kind::Ringroad, &old, &launch));
    let hearings: Vec<_> = proxies
        .iter()
        .flat_map(|proxy| [false, true].map(|is_pattern| Hearing::start(proxy, is_pattern)))
        .collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = proxies
        .iter()
        .enumerate()
        .map(|(nth, proxy)| {
            let (mut client, is_over) = (proxy.client(), Arc::clone(&is_over));
            thread::spawn(move || {
                // Even numbers at one proxy, odd ones at the other.
                let mut numbers = (nth as u64..).step_by(2);
                let mut published = 0_usize;
                while !is_over.load(Ordering::SeqCst) {
                    let number = numbers.next().unwrap();
                    for channel in 0..CHANNELS {
                        let reply = client.ask(&format!("PUBLISH channel-{channel} {number}"));
                        assert!(reply.starts_with(b":"), "{}", show(&reply));
                    }
                    published += 1;
                }
                published
            })
        })
        .collect();
    files([first, second, third]).succeed(START);
    is_over.store(true, Ordering::SeqCst);
    let counts: Vec<usize> = publishers
        .into_iter()
        .map(|one| one.join().unwrap())
        .collect();
    let mut client = proxies[0].client();
    for channel in 0..CHANNELS {
        client.ask(&format!("PUBLISH channel-{channel} end"));
    }
    for hearing in hearings {
        let heard = hearing.thread.join().unwrap();
        assert_eq!(heard.len(), CHANNELS);
        for (channel, numbers) in heard {
            for (parity, count) in counts.iter().enumerate() {
                let of_one = numbers
                    .iter()
                    .filter(|number| **number % 2 == parity as u64);
                let mut of_one: Vec<_> = of_one.copied().collect();
                of_one.sort_unstable();
                let expected: Vec<_> = (parity as u64..).step_by(2).take(*count).collect();
                assert!(of_one == expected, "{channel}: {of_one:?}");
            }
        }
    }
}
