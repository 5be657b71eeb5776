//! Many subscribers share the connections to the servers.

use super::{before, feeds, home, message, nothing_is_left, subscribed};
use crate::support::{Client, show};

const SUBSCRIBERS: usize = 2000;

#[test]
fn two_thousand_subscribers_cost_one_connection_a_worker_and_server() {
    let (servers, proxy) = before(4);
    let mut all: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| subscribed(&proxy, "SUBSCRIBE a"))
        .collect();
    assert_eq!(feeds(home(&servers, "a")), 2);
    assert_eq!(servers.iter().map(feeds).sum::<usize>(), 2);
    for (nth, subscriber) in all.iter_mut().enumerate() {
        if nth % 4 < 2 {
            assert!(subscriber.ask("PSUBSCRIBE ?").starts_with(b"*3"));
        }
    }
    for server in &servers {
        assert_eq!(feeds(server), 2);
    }
    let mut publisher = proxy.client();
    let receivers = SUBSCRIBERS + SUBSCRIBERS / 2;
    super::publish(&mut publisher, "a", "x", receivers);
    publisher.converse(&[("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:2000\r\n")]);
    for (nth, subscriber) in all.iter_mut().enumerate() {
        let mut frames = vec![subscriber.reply()];
        if nth % 4 < 2 {
            frames.push(subscriber.reply());
            frames.sort();
        }
        assert_eq!(show(&frames[0]), show(&message("a", "x")));
    }
    drop(all);
    nothing_is_left(&servers, &proxy);
}
