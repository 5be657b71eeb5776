//! Quotas in the configuration file.

use super::*;

/// The errors of a pool with these lines.
fn errors_of(lines: &str) -> String {
    let text = format!("a: {{listen: h:1, servers: ['s:1:1'], {lines}}}\n");
    Config::parse(&text, "F").unwrap_err().to_string()
}

#[test]
fn rates_of_a_pool_are_shown_as_written() {
    let yaml = pool_with("requests_per_second: 1000\nbytes_per_second: 10mb");
    let pool = pools(&yaml).remove(0);
    assert!(pool.is_metered());
    for (directive, expected) in [
        ("requests_per_second", "1000"),
        ("bytes_per_second", "10mb"),
    ] {
        let shown = schema::settings(&pool).find(|(name, _)| *name == directive);
        assert_eq!(shown.unwrap().1.to_string(), expected);
    }
    assert!(!pools(&pool_with(""))[0].is_metered());
}

#[test]
fn faulty_rates_are_explained() {
    for (lines, expected) in [
        (
            "requests_per_second: 0",
            "F:1: pool 'a': key 'requests_per_second': 0 is out of range; it must be from 1 to 2147483647",
        ),
        ("requests_per_second: 1k", "'1k' is not a number"),
        (
            "bytes_per_second: 0mb",
            "key 'bytes_per_second': '0mb' is out of range; it must be at least 1: without a limit, leave it out",
        ),
        (
            "bytes_per_second: 1025gb",
            "'1025gb' is out of range; it must be at most 1024gb",
        ),
        (
            "bytes_per_second: ten",
            "'ten' is not a size, as in '512mb'",
        ),
    ] {
        let errors = errors_of(lines);
        assert!(errors.contains(expected), "{lines}: {errors}");
    }
}
