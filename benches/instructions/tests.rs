//! Tests of the check itself: what counts as a regression, and that its file reads as it was written.

mod record;

use record::{Record, Verdict};

fn record() -> Record {
    Record {
        tools: "rustc 1, valgrind-3".to_owned(),
        rows: vec![("scan a".to_owned(), 20), ("path".to_owned(), 10_000)],
    }
}

#[test]
fn a_record_reads_as_it_was_written() {
    assert_eq!(Record::parse(&record().text()), Ok(record()));
    for wrong in ["scan", "scan a", "scan -1", ""] {
        let text = format!("# comment\n{wrong}\n");
        assert_eq!(Record::parse(&text), Err(wrong.to_owned()));
    }
}

#[test]
fn a_row_is_held_within_the_tolerance_and_lost_beyond_it() {
    for (name, measured, expected) in [
        ("scan a", 19, Verdict::Held),
        ("scan a", 21, Verdict::Held),
        ("scan a", 22, Verdict::Lost { recorded: 20 }),
        ("path", 10_400, Verdict::Held),
        ("path", 10_401, Verdict::Lost { recorded: 10_000 }),
        ("path", 9_600, Verdict::Held),
        ("path", 9_599, Verdict::Won { recorded: 10_000 }),
        ("scan", 1, Verdict::Unrecorded),
    ] {
        assert_eq!(
            record().judge(name, measured),
            expected,
            "{name} {measured}"
        );
    }
}

#[test]
fn records_of_rows_that_are_gone_are_named() {
    let record = record();
    assert_eq!(
        record.orphans(&["path", "new"]).collect::<Vec<_>>(),
        ["scan a"]
    );
}
