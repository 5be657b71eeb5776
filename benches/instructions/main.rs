//! Counts instructions, and fails if a row takes more than recorded: `make bench-check`.
//!
//! A benchmark that does not depend on time: neither on other load nor on the speed of the machine. It depends on
//! the compiler, on valgrind and a little on the C library and the processor's features, so the record names its tools.
//!
//! Each row is run twice as a child under callgrind, once with a number of calls and once with twice as many. The
//! difference is the cost of the calls: start, set-up, and the growth of buffers cancel out, and no symbol needs to
//! survive the linker's optimizing for it to be found. That is why `iai-callgrind` is not used: it needs an installed
//! runner of the same version as the crate, and measures single functions.
//!
//! Nothing in a row is random, and none starts a thread.

#![expect(
    clippy::unwrap_used,
    reason = "a failure here is one of the check itself, and its location explains it"
)]

mod path;
mod record;
mod rows;
#[path = "../samples.rs"]
mod samples;
mod script;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use record::{Record, Verdict};
use rows::{ROWS, Row};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--row") {
        let name = arguments.next().unwrap();
        let row = ROWS.iter().find(|row| row.name == name).unwrap();
        (row.run)(arguments.next().unwrap().parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let result = if std::env::var_os("RINGROAD_BLESS").is_some() {
        bless(&file)
    } else {
        check(&file)
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // There is nowhere to report a closed standard error.
            let _ = writeln!(io::stderr(), "bench-check: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Records all rows. Returns true.
fn bless(file: &PathBuf) -> io::Result<bool> {
    let mut record = Record {
        tools: tools()?,
        rows: Vec::new(),
    };
    for row in ROWS {
        let figure = measure(row)?;
        writeln!(io::stdout(), "{:<40} {figure:>8}", row.name)?;
        record.rows.push((row.name.to_owned(), figure));
    }
    std::fs::write(file, record.text())?;
    Ok(true)
}

/// Returns true if all rows match the record.
fn check(file: &PathBuf) -> io::Result<bool> {
    let mut out = io::stdout();
    let text = std::fs::read_to_string(file)?;
    let record = Record::parse(&text)
        .map_err(|line| io::Error::other(format!("{}: no record: {line:?}", file.display())))?;
    let mut wrong = 0;
    let mut won = 0;
    for row in ROWS {
        let measured = measure(row)?;
        let verdict = match record.judge(row.name, measured) {
            Verdict::Held => String::new(),
            Verdict::Won { recorded } => {
                won += 1;
                format!("less than the recorded {recorded}")
            }
            Verdict::Lost { recorded } => {
                wrong += 1;
                let excess = 100.0 * (ratio(measured, recorded) - 1.0);
                format!("FAILED: {recorded} on record, {excess:.1} % more now")
            }
            Verdict::Unrecorded => {
                wrong += 1;
                "FAILED: not recorded".to_owned()
            }
        };
        let line = format!("{:<40} {measured:>8}  {verdict}", row.name);
        writeln!(out, "{}", line.trim_end())?;
    }
    let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    for orphan in record.orphans(&names) {
        wrong += 1;
        writeln!(out, "{orphan:<40} FAILED: recorded, but no such row")?;
    }
    let tools = tools()?;
    if record.tools != tools && wrong + won > 0 {
        writeln!(
            out,
            "\nRecorded with {}; this is {tools}. That alone changes the figures: compare on one machine, with one compiler.",
            record.tools
        )?;
    }
    if wrong > 0 {
        writeln!(
            out,
            "\n{wrong} of {} rows failed. If that is intended, record anew and say why in the commit:\n    \
             RINGROAD_BLESS=1 make bench-check",
            ROWS.len()
        )?;
    } else if won > 0 {
        writeln!(
            out,
            "\n{won} rows got cheaper. To update the record: RINGROAD_BLESS=1 make bench-check"
        )?;
    }
    Ok(wrong == 0)
}

#[expect(clippy::cast_precision_loss, reason = "the figures are small")]
fn ratio(measured: u64, recorded: u64) -> f64 {
    measured as f64 / recorded.max(1) as f64
}

/// Instructions per operation, rounded.
fn measure(row: &Row) -> io::Result<u64> {
    // Both at once: the counts do not depend on other load.
    let few = start(row, row.calls)?;
    let many = start(row, 2 * row.calls)?;
    let (few, many) = (instructions(row, few)?, instructions(row, many)?);
    let operations = u64::from(row.calls) * u64::from(row.operations);
    Ok((many.saturating_sub(few) + operations / 2) / operations)
}

fn start(row: &Row, calls: u32) -> io::Result<Child> {
    // The environment is on the stack, and shifts what is above it.
    Command::new("valgrind")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--row", row.name, &calls.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::other(format!("valgrind: {error}; `make bench-check` installs it"))
        })
}

/// The result of callgrind: `==123== Collected : 456`.
fn instructions(row: &Row, child: Child) -> io::Result<u64> {
    let output = child.wait_with_output()?;
    let output_text = String::from_utf8_lossy(&output.stderr);
    output_text
        .lines()
        .filter(|_| output.status.success())
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("{}: no count\n{output_text}", row.name)))
}

/// The tools that the figures depend on.
fn tools() -> io::Result<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output()?;
        let output_text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok::<_, io::Error>(output_text)
    };
    let (compiler, counter) = (version("rustc")?, version("valgrind")?);
    Ok(format!("{compiler}, {counter}, {}", std::env::consts::ARCH))
}
