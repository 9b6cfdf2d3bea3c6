//! The table, and the numbers in it.

use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

/// The measurements, row by row.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 5]>,
}

const HEAD: [&str; 5] = ["what", "bar", "measured", "ratio", ""];

impl Table {
    /// A duration beside that of its peer. `bar` is the largest allowed ratio. `None`: the ratio is only reported.
    pub fn ratio(&mut self, what: &str, measured: Duration, peer: (&str, Duration), bar: Option<f64>) {
        let ratio = measured.as_secs_f64() / peer.1.as_secs_f64();
        self.rows.push([
            what.to_owned(),
            bar.map(|bar| format!("<= {bar:.2}x {}", peer.0)).unwrap_or_default(),
            format!("{measured:.1?}, {} {:.1?}", peer.0, peer.1),
            format!("{ratio:.2}x"),
            bar.map(|bar| verdict(ratio <= bar)).unwrap_or_default(),
        ]);
        self.show_last();
    }

    /// A number beside a bar of its own.
    pub fn plain(&mut self, what: &str, bar: &str, measured: String, ok: bool) {
        self.rows.push([what.to_owned(), bar.to_owned(), measured, String::new(), verdict(ok)]);
        self.show_last();
    }

    /// A value that could not be measured here, and the reason.
    pub fn absent(&mut self, what: &str, why: &str) {
        self.rows.push([what.to_owned(), String::new(), why.to_owned(), String::new(), "not measured".to_owned()]);
        self.show_last();
    }

    /// Prints a row as soon as it is measured, since each takes minutes.
    fn show_last(&self) {
        if let Some([what, _, measured, ratio, verdict]) = self.rows.last() {
            let _ = writeln!(std::io::stderr().lock(), "{what}: {measured} {ratio} {verdict}");
        }
    }

    pub fn print(&self) {
        let head = HEAD.map(str::to_owned);
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut out = std::io::stdout().lock();
        let rule = widths.map(|width| "-".repeat(width));
        for row in [&head, &rule].into_iter().chain(&self.rows) {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
}

fn verdict(ok: bool) -> String {
    if ok { "ok" } else { "missed" }.to_owned()
}

/// Repeated measurements of one duration.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Measures the time until a future is ready.
    pub async fn take<T>(&mut self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.await;
        self.0.push(started.elapsed());
        done
    }

    /// Adds a duration that was measured elsewhere.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The quantile: this share of all durations is not longer.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
    }
}
