//! Replies while something is broken: the error texts of Twemproxy, in order, on a connection that stays open.

mod clients;
mod hostile;
mod late_writes;
mod limits;
mod servers;
mod shutdown;
mod startup;
