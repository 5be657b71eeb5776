//! Replies while something is broken: `SERVER_ERROR` and the texts of Twemproxy, in order, on a connection that
//! stays open.

mod all_servers;
mod late_writes;
mod proxy;
mod servers;
