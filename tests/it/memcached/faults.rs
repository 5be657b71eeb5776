//! What a client sees when something breaks: `SERVER_ERROR` and the texts of Twemproxy, in order, on a connection that
//! lives on.

mod everyone;
mod proxy;
mod servers;
