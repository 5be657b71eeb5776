//! Servers that are full, flushed, demoted or gone, and others who write at the destination.

use std::time::Duration;

use ringroad::mover::{Mover, MoverError, Plan, Step};

use super::keys::{assert_same, contents, server, tell, write_all_types};
use super::{copy_all, plan, sync};
use crate::support::{RedisServer, eventually};

/// Steps until there is an error.
fn error_of(mover: &mut Mover) -> MoverError {
    eventually("the mover fails", || {
        mover.step(Duration::from_millis(5)).err()
    })
}

#[test]
fn flush_of_either_side_ends_the_mover() {
    for flushes_source in [true, false] {
        let [from, to] = [server(), server()];
        write_all_types(&mut from.client(), "k");
        let mut mover = Mover::open(plan(&from, &to)).unwrap();
        copy_all(&mut mover);
        let flushed = if flushes_source { &from } else { &to };
        flushed.ask("FLUSHALL");
        let error = error_of(&mut mover);
        assert!(matches!(error, MoverError::Flushed { .. }), "{error}");
        assert!(error.may_start_anew() && !error.may_go_on());

        // A new one finds what the source has no more.
        let mut mover = Mover::open(plan(&from, &to)).unwrap();
        mover.remove_leftovers().unwrap();
        sync(&mut mover);
        assert_same(&contents(&to, 0), &contents(&from, 0));
    }
}

#[test]
fn feed_that_is_cut_ends_the_mover() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    for cut in [&from, &to] {
        let mut mover = Mover::open(plan(&from, &to)).unwrap();
        copy_all(&mut mover);
        // Servers cut feeds that are read too slowly, as connections of this class.
        assert_eq!(cut.ask("CLIENT KILL TYPE pubsub"), b":1\r\n");
        let error = error_of(&mut mover);
        assert!(matches!(error, MoverError::FeedLost { .. }), "{error}");
        assert!(error.may_start_anew());
    }
    from.ask("DEL k:string");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    assert_eq!(mover.remove_leftovers().unwrap(), 1);
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn server_that_is_no_primary_is_refused() {
    let [from, to, other] = [server(), server(), server()];
    let replicate = |server: &RedisServer| {
        let (ip, port) = (other.address().ip(), other.address().port());
        server.ask(&format!("REPLICAOF {ip} {port}"));
    };
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    copy_all(&mut mover);
    replicate(&from);
    let error = error_of(&mut mover);
    // A replica that loads its primary's data flushes its own.
    let is_expected = matches!(
        error,
        MoverError::NotPrimary { .. } | MoverError::Flushed { .. }
    );
    assert!(is_expected, "{error}");
    let error = Mover::open(plan(&from, &to)).unwrap_err();
    assert!(matches!(error, MoverError::NotPrimary { .. }), "{error}");
    assert!(!error.may_start_anew());
}

#[test]
fn full_destination_pauses_the_mover_without_loss() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for n in 0..20 {
        write_all_types(&mut client, &format!("k{n}"));
    }
    for n in 0..4000 {
        tell(&mut client, &format!("SET s{n} {n:0>500}"));
    }
    to.ask("CONFIG SET maxmemory 3mb");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    let error = error_of(&mut mover);
    assert!(matches!(error, MoverError::Full { .. }), "{error}");
    assert!(error.to_string().contains("raise its maxmemory"), "{error}");
    assert!(error.may_go_on());
    tell(&mut client, "SET s1 changed");
    tell(&mut client, "DEL s2");
    eventually("it stays full", || mover.step(Duration::ZERO).err());
    to.ask("CONFIG SET maxmemory 0");
    copy_all(&mut mover);
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn script_that_keeps_the_source_busy_is_waited_for() {
    let [from, to] = [server(), server()];
    from.ask("CONFIG SET busy-reply-threshold 1");
    write_all_types(&mut from.client(), "k");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    let mut blocked = from.client();
    let script = "while true do end";
    blocked.send(&crate::support::command(&["EVAL", script, "0"]));
    eventually("the script runs", || {
        from.ask("PING").starts_with(b"-BUSY").then_some(())
    });
    let error = error_of(&mut mover);
    assert!(matches!(error, MoverError::Busy { .. }), "{error:?}");
    assert_eq!(from.ask("SCRIPT KILL"), b"+OK\r\n");
    eventually("the script is gone", || {
        (from.ask("PING") == b"+PONG\r\n").then_some(())
    });
    copy_all(&mut mover);
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn change_of_a_copy_by_others_is_copied_over() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    copy_all(&mut mover);
    to.ask("SET k:string other");
    to.ask("DEL k:list");
    to.ask("SET stranger v");
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
    assert_eq!(mover.state().tally.foreign, 2);
}

#[test]
fn evicted_copies_are_made_again() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for n in 0..3000 {
        tell(&mut client, &format!("SET k{n} {n:0>500}"));
    }
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    copy_all(&mut mover);
    to.ask("CONFIG SET maxmemory-policy allkeys-random");
    to.ask("CONFIG SET maxmemory 2mb");
    eventually("keys are evicted", || {
        to.ask("SET k0 v");
        (to.keys().len() < 2000).then_some(())
    });
    to.ask("CONFIG SET maxmemory 0");
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
    assert!(mover.state().tally.foreign > 1000);
}

#[test]
fn destination_keeps_keys_of_its_own_if_asked_to() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    to.ask("SET own v");
    let mut mover = Mover::open(Plan {
        keeps_others: true,
        ..plan(&from, &to)
    })
    .unwrap();
    copy_all(&mut mover);
    to.ask("SET own changed");
    to.ask("SET own2 v");
    to.ask("SET k:string changed");
    sync(&mut mover);
    assert_eq!(to.ask("GET own"), b"$7\r\nchanged\r\n");
    assert_eq!(to.ask("GET own2"), b"$1\r\nv\r\n");
    assert_eq!(to.ask("GET k:string"), b"$5\r\nvalue\r\n");
}

#[test]
fn connection_that_is_lost_ends_the_mover() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    for gone in [&from, &to] {
        let [other_from, other_to] = [server(), server()];
        write_all_types(&mut other_from.client(), "k");
        let is_source = std::ptr::eq(gone, &raw const from);
        let plan = if is_source {
            plan(gone, &other_to)
        } else {
            plan(&other_from, gone)
        };
        let mut mover = Mover::open(plan).unwrap();
        assert_eq!(mover.step(Duration::ZERO).unwrap(), Step::Scanned);
        gone.kill();
        assert!(error_of(&mut mover).may_start_anew());
    }
}
