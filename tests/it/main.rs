//! The one integration binary.
//!
//! Its modules are marked `cfg(test)` so that the lints which exempt tests exempt shared test code, too.

#[cfg(test)]
mod access;
#[cfg(test)]
mod acl;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod all_servers;
#[cfg(test)]
mod books;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod command_stats;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod config;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod diff;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fuzz_seeds;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod head_of_line;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod local;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod memcached;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod move_faults;
#[cfg(test)]
mod move_load;
#[cfg(test)]
mod move_model;
#[cfg(test)]
mod mover;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod page;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod pubsub;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod redis_tools;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replace_model;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod reshard;
#[cfg(test)]
mod resp3;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod shipping;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod verify;
