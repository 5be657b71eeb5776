//! A process that is replaced by another one while clients work: nothing is refused, and whatever fails, one of both serves.

mod addresses;
mod adoption;
mod both;
mod clients;
mod failures;
mod listeners;
mod moves;
mod protocol;
mod service_manager;
mod site;
mod tls;
