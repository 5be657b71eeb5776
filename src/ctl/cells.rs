//! Tables for people, and the text of others in them.

use crate::text;
use crate::text::{Align, Printable};

/// A table with a header; an empty cell is shown as a dash.
pub(super) fn table<const N: usize>(columns: [(&str, Align); N], rows: Vec<[String; N]>) -> String {
    let header = columns.map(|(title, _)| title.to_owned());
    let or_dash = |cell: String| {
        if cell.is_empty() {
            "-".to_owned()
        } else {
            cell
        }
    };
    let rows = rows.into_iter().map(|row| row.map(or_dash));
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    text::table(columns.map(|(_, align)| align), &rows)
}

/// A name, or whatever a file or a client has called so.
pub(super) fn printable(name: &str) -> String {
    Printable(name).to_string()
}
