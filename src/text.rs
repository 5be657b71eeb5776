//! Text for a terminal: what others have written, and tables.

use std::fmt;
use std::fmt::Write as _;

/// Returns true for a character that a terminal or a browser obeys and does not show: controls, marks of width zero, and those
/// that change the direction of what follows (Unicode's general category Cf, as far as text holds it).
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Text of others, its characters that are not seen escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unseen(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// A key as text; escaped like a Rust byte string if it is not plain UTF-8, is empty or holds blanks or quotes.
pub(crate) fn printable_key(key: &[u8]) -> String {
    let plain = |c: char| !is_unseen(c) && !c.is_whitespace() && c != '"' && c != '\\';
    match str::from_utf8(key) {
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        _ => format!("\"{}\"", key.escape_ascii()),
    }
}

/// The arguments of a request, as one would type them.
pub(crate) fn printable_args(args: &[String]) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '"' && !is_unseen(c);
    let shown = args.iter().map(|arg| {
        if !arg.is_empty() && arg.chars().all(plain) {
            return arg.clone();
        }
        let inner = arg.replace('"', "\\\"");
        format!("\"{}\"", Printable(&inner))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// A number of bytes as in the configuration file, with the largest unit that loses nothing.
pub(crate) fn exact_size(bytes: u64) -> String {
    let units = [(30, "gb"), (20, "mb"), (10, "kb")];
    let unit = units
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A number of bytes with one decimal, in the largest unit that leaves a whole part.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// The side of its column to which a cell is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Lines of columns as wide as their widest cell, two blanks between them, none at the end of a line.
pub(crate) fn table<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((&width, align), cell) in widths.iter().zip(columns).zip(row) {
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_keys_are_escaped() {
        for (key, shown) in [
            (&b"user:1"[..], "user:1"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (b"", r#""""#),
            (b"two words", r#""two words""#),
            (b"\x1b[2J", r#""\x1b[2J""#),
            (b"\xff\n", r#""\xff\n""#),
            (b"say \"hi\"", r#""say \"hi\"""#),
        ] {
            assert_eq!(printable_key(key), shown);
        }
    }

    #[test]
    fn arguments_are_shown_as_one_would_type_them() {
        let args = ["get", "a b", "", "say \"hi\"", "r\u{202e}evil"].map(str::to_owned);
        assert_eq!(
            printable_args(&args),
            r#"get "a b" "" "say \"hi\"" "r\u{202e}evil""#
        );
    }

    #[test]
    fn size_has_a_unit_that_leaves_a_whole_part() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_992_294, "1.8 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "N"], ["abc", "7"], ["b", "12"]].map(|row| row.map(str::to_owned));
        let table = table([Align::Left, Align::Right], &rows);
        assert_eq!(table, "A     N\nabc   7\nb    12\n");
    }
}
