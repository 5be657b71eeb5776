//! Admission by several workers, in times of the tests.

use std::num::NonZeroU64;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn tenant(kind: QuotaKind, per_second: u64) -> Arc<Tenant> {
    let tenant = Tenant::new(Scope::User, b"shop");
    tenant.set_quota(&quota(kind, per_second));
    Arc::new(tenant)
}

fn quota(kind: QuotaKind, limit: u64) -> Quota {
    Quota::default().with(kind, NonZeroU64::new(limit).unwrap())
}

fn workers(tenant: &Arc<Tenant>, count: usize) -> Vec<WorkerTenant> {
    let worker = |_| WorkerTenant::new(Arc::clone(tenant));
    (0..count).map(worker).collect()
}

fn sends(worker: &WorkerTenant, bytes: usize, at: u64) -> bool {
    admit([Some(worker)], bytes, || Moment(at)).is_ok()
}

/// Has workers in turn send one request each of so many steps. Returns the number that each was admitted.
fn flood(workers: &[WorkerTenant], steps: u64, step: u64) -> Vec<u64> {
    let mut admitted = vec![0; workers.len()];
    for nth in 0..steps {
        for (worker, admitted) in workers.iter().zip(&mut admitted) {
            *admitted += u64::from(sends(worker, 10, nth * step));
        }
    }
    admitted
}

#[test]
fn one_request_a_second_passes_on_eight_workers() {
    let tenant = tenant(QuotaKind::Requests, 1);
    let workers = workers(&tenant, 8);
    for second in 0..100 {
        let admitted = (0..8).filter(|nth| {
            let at = second * SECOND + nth * SECOND / 10;
            sends(&workers[usize::try_from((nth * 5) % 8).unwrap()], 1, at)
        });
        assert_eq!(admitted.count(), 1, "in second {second}");
    }
}

#[test]
fn one_worker_gets_the_whole_rate() {
    let tenant = tenant(QuotaKind::Requests, 10_000);
    let workers = workers(&tenant, 8);
    let admitted: u64 = flood(&workers[..1], 100_000, SECOND / 20_000).iter().sum();
    // Five seconds, and the burst.
    assert!((59_900..=60_010).contains(&admitted), "{admitted}");
}

#[test]
fn flooding_workers_share_the_rate() {
    let tenant = tenant(QuotaKind::Requests, 10_000);
    let workers = workers(&tenant, 4);
    let admitted = flood(&workers, 100_000, SECOND / 20_000);
    let sum: u64 = admitted.iter().sum();
    assert!((59_900..=60_040).contains(&sum), "{sum}");
}

#[test]
fn long_idleness_is_worth_one_second() {
    let tenant = tenant(QuotaKind::Requests, 50);
    let [worker, _] = &workers(&tenant, 2)[..] else {
        unreachable!()
    };
    let sent = |at| (0..200).filter(|_| sends(worker, 1, at)).count();
    assert_eq!(sent(0), 50);
    for at in [1_000_000 * SECOND, u64::MAX / 2, u64::MAX / 4 * 3] {
        assert!((50..=51).contains(&sent(at)), "at {at}");
    }
    // A worker whose clock is behind gains nothing.
    assert_eq!(sent(SECOND), 0);
}

#[test]
fn debt_is_waited_off() {
    let tenant = tenant(QuotaKind::Bytes, 1000);
    let [one, other] = &workers(&tenant, 2)[..] else {
        unreachable!()
    };
    assert!(sends(one, 10, 0));
    one.charge(3000, || Moment(0));
    assert!(!sends(one, 10, 0));
    assert!(!sends(other, 10, SECOND), "others know of it");
    assert!(!sends(other, 10, 2 * SECOND));
    assert!(sends(other, 10, 2 * SECOND + SECOND / 10));
    // The largest replies of all, and the longest debt.
    for _ in 0..3 {
        other.charge(usize::MAX, || Moment(3 * SECOND));
    }
    assert!(!sends(one, 10, 1_000_000 * SECOND));
}

#[test]
fn refused_request_costs_nothing() {
    let (user, pool) = (
        tenant(QuotaKind::Bytes, 1000),
        tenant(QuotaKind::Requests, 1),
    );
    let [user, pool] = [user, pool].map(WorkerTenant::new);
    let both = |at| admit([Some(&user), Some(&pool)], 100, || Moment(at));
    assert!(both(0).is_ok());
    for _ in 0..100 {
        assert_eq!(both(0).unwrap_err().kind, QuotaKind::Requests);
    }
    let alone = (0..100).filter(|_| sends(&user, 100, 0)).count();
    assert_eq!(alone, 9, "of a thousand bytes a hundred are spent");
}

#[test]
fn changed_limit_holds_at_once() {
    let tenant = tenant(QuotaKind::Requests, 1);
    let worker = &workers(&tenant, 1)[0];
    let now = Moment::now().0;
    assert!(sends(worker, 1, now));
    assert!(!sends(worker, 1, now));
    tenant.set_quota(&quota(QuotaKind::Requests, 1000));
    let later = Moment::now().0 + SECOND / 100;
    let admitted = (0..2000).filter(|_| sends(worker, 1, later)).count();
    assert!((990..=1000).contains(&admitted), "{admitted}");
    // What a worker has taken at a high rate is little at that and much at a low one.
    tenant.set_quota(&quota(QuotaKind::Requests, 1_000_000));
    let later = Moment::now().0 + SECOND;
    assert!(sends(worker, 1, later));
    tenant.set_quota(&quota(QuotaKind::Requests, 1));
    let sent = |at| (0..2000).filter(|_| sends(worker, 1, at)).count();
    assert!(sent(later) <= 1);
    assert_eq!(sent(later + 10 * SECOND), 1);
    tenant.set_quota(&Quota::default());
    assert!((0..2000).all(|_| sends(worker, 1, later)));
}

#[test]
fn error_names_the_limit_and_its_directive() {
    let pool = Tenant::new(Scope::Pool, b"alpha");
    pool.set_quota(&quota(QuotaKind::Bytes, 10 << 20));
    let over = OverQuota::new(&Arc::new(pool), QuotaKind::Bytes);
    let expected = "pool 'alpha' is over its quota of 10mb per second (bytes_per_second)";
    assert_eq!(over.to_string(), expected);
    let over = OverQuota::new(&tenant(QuotaKind::Requests, 7), QuotaKind::Requests);
    let expected = "user 'shop' is over its quota of 7 requests per second (user_quotas)";
    assert_eq!(over.to_string(), expected);
}

/// An arrival: the time since the last one, in millionths of the time of one token, the worker, and the bytes.
fn arrivals(bytes: u64) -> impl Strategy<Value = Vec<(u64, usize, usize)>> {
    let bytes = usize::try_from(bytes).unwrap();
    prop::collection::vec((0..2_000_000_u64, 0..8_usize, 1..=bytes), 1..400)
}

proptest! {
    /// In any window no more passes than its time and a burst are worth, and a batch of each worker.
    #[test]
    fn no_window_has_more_than_its_worth(rate in 1..5000_u64, arrivals in arrivals(1)) {
        let tenant = tenant(QuotaKind::Requests, rate);
        let workers = workers(&tenant, 8);
        let (mut now, mut passed) = (0, Vec::new());
        for (gap, worker, bytes) in arrivals {
            // A tenth of the time of a token: ten times as many requests as may pass.
            now += gap * (SECOND / rate) / 10_000_000;
            if sends(&workers[worker], bytes, now) {
                passed.push(now);
            }
        }
        let slack = 8 * (rate / 1000).max(1) + 1;
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let worth = (to - from) * rate / SECOND + rate + slack;
                prop_assert!((last - first) as u64 <= worth);
            }
        }
    }

    /// Whatever the workers that the requests come to, what may pass does.
    #[test]
    fn demand_beyond_the_rate_gets_the_rate(rate in 1..3000_u64, which in prop::collection::vec(0..8_usize, 50)) {
        let tenant = tenant(QuotaKind::Requests, rate);
        let workers = workers(&tenant, 8);
        let (seconds, factor) = (3, 4);
        let step = SECOND / (rate * factor);
        let admitted = (0..rate * factor * seconds).filter(|nth| {
            let worker = which[usize::try_from(*nth).unwrap() % which.len()];
            sends(&workers[worker], 1, nth * step)
        });
        let (admitted, most) = (admitted.count() as u64, rate * (seconds + 1));
        let stuck = 8 * (rate / 1000).max(1) + 1;
        prop_assert!((most - stuck..=most + 1).contains(&admitted), "{} of {}", admitted, most);
    }

    /// Bytes that pass in any window, and the debt of its last request.
    #[test]
    fn bytes_of_a_window_are_its_worth(rate in 1000..100_000_u64, arrivals in arrivals(1000)) {
        let tenant = tenant(QuotaKind::Bytes, rate);
        let workers = workers(&tenant, 8);
        let (mut now, mut passed) = (0, 0);
        let mut largest = 0;
        for (gap, worker, bytes) in arrivals {
            now += gap * (SECOND / rate) / 100;
            if sends(&workers[worker], bytes, now) {
                passed += bytes as u64;
                largest = largest.max(bytes as u64);
            }
        }
        let slack = 8 * (2 * (rate / 1000) + largest);
        prop_assert!(passed <= now * rate / SECOND + rate + slack);
    }
}
