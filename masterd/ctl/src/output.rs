//! What commands print: aligned tables for people, one JSON value per line for programs.
//!
//! Called by every command. Invariant: results go to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::failure::Failure;

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Prints one JSON value on one line.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Prints rows under their headings, columns aligned.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    line(&layout(headings, rows))
}

/// Without characters that a terminal obeys or that turn the line's direction: names come from anybody.
pub(crate) fn printable(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| {
            if is_harmful(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// As [`printable`], but lines stay lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

fn layout(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(headings.get(column).map(|h| h.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let one = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head = one(headings.to_vec());
    let body = rows
        .iter()
        .map(|row| one(row.iter().map(String::as_str).collect()));
    std::iter::once(head)
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What is going on, on standard error: a spinner on a terminal, a line per change elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    /// Shows nothing yet.
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            last: String::new(),
        }
    }

    /// This is going on now.
    pub(crate) fn now(&mut self, text: &str) {
        let text = printable(text);
        if self.last == text {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None => eprintln!("nesos: {text}"),
        }
        self.last = text;
    }

    /// As [`Progress::now`], but not worth a line where there is no terminal.
    pub(crate) fn step(&mut self, text: &str) {
        if self.bar.is_some() {
            self.now(text);
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        let text = printable_lines(text);
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(|| eprintln!("nesos: {text}")),
            _ => eprintln!("nesos: {text}"),
        }
    }

    /// Takes the spinner away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A quantity without needless digits: `2`, `0.5`.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_tail() {
        let rows = vec![
            vec!["a".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), String::new()],
        ];
        assert_eq!(layout(&["ID", "N"], &rows), "ID    N\na     x\nlong");
    }

    #[test]
    fn names_cannot_give_orders_to_the_terminal() {
        let rows = vec![vec!["a\u{1b}[2J\n\u{7}b\u{202e}\u{9b}c é".to_owned()]];
        let text = layout(&["A"], &rows);
        assert_eq!(text, "A\na\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c é");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [number(2.0), number(0.5), number(0.1 + 0.2)],
            ["2", "0.5", "0.3"]
        );
    }
}
