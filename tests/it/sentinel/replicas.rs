//! Replicas, as the proxy knows them.
