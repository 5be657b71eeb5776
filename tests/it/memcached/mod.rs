//! memcached pools: real servers, real clients, comparison with nutcracker, and faults.

mod clients;
mod conversations;
mod crowd;
mod differential;
mod ejection;
mod faults;
mod fleet;
mod generator;
mod hostile;
mod improvements;
mod libmemcached;
mod noreply;
mod placement;
mod stats;
mod tools;
