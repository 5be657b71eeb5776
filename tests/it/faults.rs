//! What a client sees when something breaks: the error texts of Twemproxy, in order, on a connection that lives on.

mod clients;
mod hostile;
mod limits;
mod servers;
mod shutdown;
mod startup;
