//! Verdicts, counted by region.

use std::collections::BTreeMap;
use std::fmt;

use super::judge::{Reading, Verdict};
use super::regions::Region;

/// How often each verdict was given, by region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<(Region, Verdict), u64>);

const VERDICTS: [(Verdict, &str); 10] = [
    (Verdict::Refused, "refused"),
    (Verdict::Found(Reading::Error), "found, error"),
    (Verdict::Found(Reading::Wrong), "found, wrong"),
    (Verdict::Found(Reading::Right), "found, right"),
    (Verdict::LastRecord, "last record"),
    (Verdict::Harmless, "harmless"),
    (Verdict::Silent, "silent"),
    (Verdict::Panicked, "panics"),
    (Verdict::Hung, "hangs"),
    (Verdict::Aborted, "aborts"),
];

const REGIONS: [Region; 8] = [
    Region::Superblocks,
    Region::Zeros,
    Region::Records,
    Region::RestOfLog,
    Region::Metadata,
    Region::Objects,
    Region::FreePages,
    Region::Behind,
];

impl Table {
    pub fn add(&mut self, region: Region, verdict: Verdict, times: u64) {
        *self.0.entry((region, verdict)).or_default() += times;
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(key, times)| self.add(key.0, key.1, *times));
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Damage of a region that ended so.
    pub fn count(&self, is_counted: impl Fn(Region, Verdict) -> bool) -> u64 {
        self.0.iter().filter(|(key, _)| is_counted(key.0, key.1)).map(|(_, times)| times).sum()
    }

    /// Panics, hangs and aborts.
    pub fn crashes(&self) -> u64 {
        use Verdict::{Aborted, Hung, Panicked};
        self.count(|_, verdict| [Panicked, Hung, Aborted].contains(&verdict))
    }

    /// Lines of `region verdict times`, by number.
    pub fn to_text(&self) -> String {
        let line = |(key, times): (&(Region, Verdict), &u64)| {
            let region = REGIONS.iter().position(|region| *region == key.0)?;
            let verdict = VERDICTS.iter().position(|(verdict, _)| *verdict == key.1)?;
            Some(format!("{region} {verdict} {times}\n"))
        };
        self.0.iter().filter_map(line).collect()
    }

    pub fn of_text(text: &str) -> Option<Self> {
        let mut table = Self::default();
        for line in text.lines() {
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().ok());
            let mut next = || numbers.next().flatten();
            let (region, verdict, times) = (next()?, next()?, next()?);
            table.add(REGIONS[region as usize], VERDICTS[verdict as usize].0, times);
        }
        Some(table)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_used = |verdict: Verdict| self.count(|_, other| other == verdict) > 0;
        let used: Vec<_> = VERDICTS.into_iter().filter(|(verdict, _)| is_used(*verdict)).collect();
        write!(f, "| where |")?;
        used.iter().try_for_each(|(_, name)| write!(f, " {name} |"))?;
        write!(f, "\n| --- |{}", " ---: |".repeat(used.len()))?;
        for region in REGIONS.into_iter().filter(|region| self.count(|x, _| x == *region) > 0) {
            write!(f, "\n| {} |", region.name())?;
            for (verdict, _) in &used {
                write!(f, " {} |", self.count(|x, y| (x, y) == (region, *verdict)))?;
            }
        }
        write!(f, "\n| all {} |", self.total())?;
        for (verdict, _) in &used {
            write!(f, " {} |", self.count(|_, other| other == *verdict))?;
        }
        Ok(())
    }
}
