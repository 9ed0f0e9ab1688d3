//! Counts verdicts by row.

use std::collections::BTreeMap;

use super::judge::{Reading, Verdict};

/// How often each verdict occurred, by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<(usize, Verdict), u64>);

const VERDICTS: [(Verdict, &str); 11] = [
    (Verdict::Refused, "refused"),
    (Verdict::Found(Reading::Error), "found; reading: error"),
    (Verdict::Found(Reading::Wrong), "found; reading: wrong"),
    (Verdict::Found(Reading::Right), "found; reading: right"),
    (Verdict::LastRecord, "last record, noted"),
    (Verdict::LostEnd, "last record, no trace"),
    (Verdict::Harmless, "harmless"),
    (Verdict::Silent, "silent"),
    (Verdict::Panicked, "panics"),
    (Verdict::Hung, "hangs"),
    (Verdict::Aborted, "aborts"),
];

impl Table {
    pub fn add(&mut self, row: usize, verdict: Verdict, times: u64) {
        *self.0.entry((row, verdict)).or_default() += times;
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(key, times)| self.add(key.0, key.1, *times));
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns the number of cases with the given rows and verdicts.
    pub fn count(&self, is_counted: impl Fn(usize, Verdict) -> bool) -> u64 {
        self.0.iter().filter(|(key, _)| is_counted(key.0, key.1)).map(|(_, times)| times).sum()
    }

    /// Returns the number of panics, hangs and aborts.
    pub fn crashes(&self) -> u64 {
        use Verdict::{Aborted, Hung, Panicked};
        self.count(|_, verdict| [Panicked, Hung, Aborted].contains(&verdict))
    }

    /// Returns lines of row, verdict and count.
    pub fn to_text(&self) -> String {
        let line = |(key, times): (&(usize, Verdict), &u64)| {
            let verdict = VERDICTS.iter().position(|(verdict, _)| *verdict == key.1)?;
            Some(format!("{} {verdict} {times}\n", key.0))
        };
        self.0.iter().filter_map(line).collect()
    }

    pub fn of_text(text: &str) -> Option<Self> {
        let mut table = Self::default();
        for line in text.lines() {
            let mut numbers = line.split(' ').map(|number| number.parse::<usize>().ok());
            let mut next = || numbers.next().flatten();
            let (row, verdict, times) = (next()?, next()?, next()?);
            table.add(row, VERDICTS[verdict].0, times as u64);
        }
        Some(table)
    }

    /// Returns the table as Markdown, with the rows' names.
    pub fn show(&self, names: &[&str]) -> String {
        let is_used = |verdict: Verdict| self.count(|_, other| other == verdict) > 0;
        let used: Vec<_> = VERDICTS.into_iter().filter(|(verdict, _)| is_used(*verdict)).collect();
        let mut lines = vec![vec!["".to_string()], vec!["---".to_string()]];
        lines[0].extend(used.iter().map(|(_, name)| name.to_string()));
        lines[1].extend(used.iter().map(|_| "---:".to_string()));
        for (row, name) in names.iter().enumerate() {
            let counts =
                used.iter().map(|(verdict, _)| self.count(|x, y| (x, y) == (row, *verdict)));
            let counts: Vec<_> = counts.collect();
            if counts.iter().any(|count| *count > 0) {
                let cells = counts.iter().map(ToString::to_string);
                lines.push([name.to_string()].into_iter().chain(cells).collect());
            }
        }
        let sums = used.iter().map(|(verdict, _)| self.count(|_, other| other == *verdict));
        let sums = sums.map(|sum| sum.to_string());
        lines.push([format!("all {}", self.total())].into_iter().chain(sums).collect());
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        lines.into_iter().map(line).collect()
    }
}
