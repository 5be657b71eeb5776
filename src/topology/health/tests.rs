use super::*;

const POLICY: EjectPolicy = EjectPolicy {
    failure_limit: 2,
    returns: Returns::After(Duration::from_millis(1500)),
};

/// Three servers, of which the second one fails.
fn servers() -> [ServerId; 3] {
    std::array::from_fn(|_| ServerId::allocate())
}

fn health(failure_limit: u32) -> Health {
    let policy = EjectPolicy {
        failure_limit,
        ..POLICY
    };
    Health::new(Some(policy))
}

fn live(health: &Health, servers: [ServerId; 3]) -> [bool; 3] {
    servers.map(|server| health.is_live(server))
}

/// Records a failure of work begun at the time when it failed.
fn fail(health: &mut Health, server: ServerId, now: Instant) -> Option<Transition> {
    health.on_failure(server, now, now)
}

fn ejected(server: ServerId, failures: u32) -> Transition {
    Transition {
        server,
        change: HealthChange::Ejected {
            failures,
            returns: POLICY.returns,
        },
    }
}

fn returned(server: ServerId) -> Transition {
    Transition {
        server,
        change: HealthChange::Returned,
    }
}

#[test]
fn dead_server_costs_two_errors_per_retry_timeout() {
    let [_, dead, _] = servers();
    let mut health = health(2);
    let start = Instant::now();
    let mut errors = Vec::new();
    for millis in (0..3600).step_by(151) {
        let now = start + Duration::from_millis(millis);
        drop(health.on_request(now));
        if health.is_live(dead) {
            let _ = fail(&mut health, dead, now);
            errors.push(millis);
        }
    }
    assert_eq!(errors, [0, 151, 1661, 1812, 3322, 3473]);
}

#[test]
fn failure_limit_ejects_and_zero_acts_as_one() {
    let servers = servers();
    let dead = servers[1];
    let now = Instant::now();
    for (limit, needed) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
        let mut health = health(limit);
        for _ in 1..needed {
            assert_eq!(fail(&mut health, dead, now), None, "limit {limit}");
            assert_eq!(live(&health, servers), [true; 3]);
        }
        let transition = fail(&mut health, dead, now);
        assert_eq!(transition, Some(ejected(dead, needed)), "limit {limit}");
        assert_eq!(live(&health, servers), [true, false, true]);
        assert_eq!(health.failures(dead), 0);
    }
}

#[test]
fn reply_resets_the_failure_count() {
    let servers = servers();
    let dead = servers[1];
    let mut health = health(2);
    let now = Instant::now();
    for _ in 0..5 {
        assert_eq!(fail(&mut health, dead, now), None);
        health.on_reply(dead);
    }
    assert_eq!(live(&health, servers), [true; 3]);
}

#[test]
fn failures_are_counted_per_server() {
    let servers = servers();
    let mut health = health(2);
    let now = Instant::now();
    assert_eq!(fail(&mut health, servers[0], now), None);
    assert_eq!(fail(&mut health, servers[2], now), None);
    assert_eq!(live(&health, servers), [true; 3]);
}

#[test]
fn all_due_servers_return_together() {
    let servers = servers();
    let mut health = health(1);
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    for (server, millis) in servers.into_iter().zip([0, 0, 10]) {
        assert!(fail(&mut health, server, at(millis)).is_some());
    }
    assert_eq!(live(&health, servers), [false; 3]);
    assert_eq!(health.earliest_retry(), Some(at(1500)));
    assert_eq!(health.on_request(at(1500)), []);
    assert_eq!(
        health.on_request(at(1501)),
        [servers[0], servers[1]].map(returned)
    );
    assert_eq!(health.on_request(at(1511)), [returned(servers[2])]);
    assert_eq!(health.earliest_retry(), None);
}

#[test]
fn simultaneous_disconnects_count_as_one_failure() {
    let [_, dead, _] = servers();
    let mut health = health(2);
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    for connection in 0..4 {
        let since = at(connection);
        let detected = at(100 + connection);
        assert_eq!(health.on_failure(dead, since, detected), None);
    }
    assert_eq!(health.failures(dead), 1);
    // The clock is read once per batch: a reconnect may begin at the time of the failure.
    assert_eq!(
        health.on_failure(dead, at(100), at(105)),
        Some(ejected(dead, 2))
    );
}

#[test]
fn ejected_server_ignores_failures_and_late_replies() {
    let servers = servers();
    let dead = servers[1];
    let mut health = health(1);
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    assert!(fail(&mut health, dead, at(0)).is_some());
    assert_eq!(fail(&mut health, dead, at(1000)), None);
    health.on_reply(dead);
    assert_eq!(live(&health, servers), [true, false, true]);
    assert_eq!(health.on_request(at(1501)), [returned(dead)]);
    assert_eq!(fail(&mut health, dead, at(1502)), Some(ejected(dead, 1)));
}

#[test]
fn without_a_policy_nothing_is_ejected() {
    let servers = servers();
    let dead = servers[1];
    let mut health = Health::new(None);
    let now = Instant::now();
    for _ in 0..1000 {
        assert_eq!(fail(&mut health, dead, now), None);
    }
    assert_eq!(live(&health, servers), [true; 3]);
}

#[test]
fn health_change_formats_for_the_log() {
    let [_, dead, _] = servers();
    assert_eq!(
        ejected(dead, 2).change.to_string(),
        "ejected for 1.5s after 2 failures in a row"
    );
    assert_eq!(
        ejected(dead, 1).change.to_string(),
        "ejected for 1.5s after 1 failure in a row"
    );
    assert_eq!(
        HealthChange::Returned.to_string(),
        "back in the ring after its ejection"
    );
}

#[test]
fn probed_server_returns_after_answers_in_a_row() {
    let policy = EjectPolicy {
        returns: Returns::Probed(2),
        ..POLICY
    };
    let mut health = Health::new(Some(policy));
    let [_, dead, _] = servers();
    let now = Instant::now();
    assert_eq!(fail(&mut health, dead, now), None);
    assert!(fail(&mut health, dead, now).is_some());
    assert_eq!(health.on_request(now + Duration::from_secs(3600)), []);
    assert_eq!(health.on_answered_probe(dead, now), None);
    assert_eq!(health.on_failed_probe(dead, now), None);
    assert_eq!(health.on_answered_probe(dead, now), None);
    assert_eq!(health.on_answered_probe(dead, now), Some(returned(dead)));
    assert_eq!(health.on_answered_probe(dead, now), None);
}

#[test]
fn answered_probe_resets_those_that_failed() {
    let policy = EjectPolicy {
        returns: Returns::Probed(2),
        ..POLICY
    };
    let mut health = Health::new(Some(policy));
    let [_, slow, _] = servers();
    let now = Instant::now();
    for _ in 0..10 {
        assert_eq!(health.on_failed_probe(slow, now), None);
        assert_eq!(health.on_answered_probe(slow, now), None);
    }
    assert_eq!(health.on_failed_probe(slow, now), None);
    assert!(health.on_failed_probe(slow, now).is_some());
}

#[test]
fn flapping_server_must_answer_more_probes() {
    let policy = EjectPolicy {
        failure_limit: 1,
        returns: Returns::Probed(1),
    };
    let mut health = Health::new(Some(policy));
    let [_, dead, _] = servers();
    let mut now = Instant::now();
    let mut needed = Vec::new();
    for pause in [1, 1, 1, 1, 1, 1, 1, 61, 1] {
        now += Duration::from_secs(pause);
        assert!(fail(&mut health, dead, now).is_some());
        let answers = (1..100).find(|_| health.on_answered_probe(dead, now).is_some());
        needed.extend(answers);
    }
    assert_eq!(needed, [1, 2, 4, 8, 16, 32, 32, 1, 2]);
}

#[test]
fn new_policy_holds_for_ejected_servers() {
    let mut health = health(1);
    let [_, dead, _] = servers();
    let now = Instant::now();
    assert!(fail(&mut health, dead, now).is_some());
    let probed = EjectPolicy {
        returns: Returns::Probed(1),
        ..POLICY
    };
    health.set_policy(Some(probed), now);
    assert_eq!(health.on_request(now + Duration::from_secs(9)), []);
    health.set_policy(Some(POLICY), now);
    assert_eq!(health.on_answered_probe(dead, now), None);
    assert_eq!(
        health.on_request(now + Duration::from_secs(9)),
        [returned(dead)]
    );
    assert!(health.eject(dead, now).is_some());
    health.set_policy(None, now);
    assert!(health.is_live(dead));
    assert_eq!(health.eject(dead, now), None);
}
