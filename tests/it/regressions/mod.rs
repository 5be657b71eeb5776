//! Regressions: each test shows a fixed bug as a client or an operator saw it.

mod fairness;
mod files;
mod frameworks;
mod memory;
mod operation;

use crate::support::{Kind, Launch, Pool, Proxy};

/// A proxy with one worker, which all clients share, and these arguments.
fn one_worker(pool: &Pool, args: &[&str]) -> Proxy {
    let launch = Launch {
        args: [&["--workers", "1"], args]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        descriptors: None,
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}
