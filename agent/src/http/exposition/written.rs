//! Series as written lines, which are stored until their facts are read again.
//!
//! The lines of a server's series are written as soon as a part was read, so a scrape only puts them in order. Series whose part failed or
//! was not read again in time are left out.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::snapshot::{Change, Reading};
use pharos_model::subject::{Label, SubjectKey};

use super::format::{self, Format};
use crate::board::Board;
use crate::clock::Clock;
use crate::collect;
use crate::plugin::PluginHost;
use crate::telemetry::metrics::SelfMetrics;

/// Written lines of every server's latest snapshot, beside the agent's own metrics.
pub struct Exposition {
    board: Arc<Board>,
    plugins: PluginHost,
    metrics: Arc<SelfMetrics>,
    clock: Clock,
    written: Mutex<HashMap<SubjectKey, Arc<Written>>>,
}

struct Written {
    change: Arc<Change>,
    parts: Vec<Arc<WrittenPart>>,
}

/// The lines of one reading, which several snapshots share until its collector runs again.
struct WrittenPart {
    reading: Arc<Reading>,
    labels: Vec<Label>,
    /// Lines by the name of their metric.
    lines: BTreeMap<String, String>,
}

impl Exposition {
    pub fn new(board: Arc<Board>, plugins: PluginHost, metrics: Arc<SelfMetrics>, clock: Clock) -> Self {
        Self { board, plugins, metrics, clock, written: Mutex::default() }
    }

    /// The whole exposition.
    pub fn text(&self, format: Format) -> String {
        let now = self.clock.monotonic();
        let subjects = self.subjects();
        let own = self.own_lines(now);
        let parts: Vec<&WrittenPart> =
            subjects.iter().flat_map(|written| &written.parts).filter(|part| part.reading.fresh_until >= now).map(Arc::as_ref).collect();
        let mut out = String::with_capacity(parts.iter().map(|part| part.size()).sum::<usize>() * 5 / 4 + (64 << 10));
        for (metric, spec) in format::catalogue() {
            let mut fresh = parts.iter().filter_map(|part| part.lines.get(metric)).chain(own.get(metric)).peekable();
            if fresh.peek().is_none() {
                continue;
            }
            format::head(&mut out, metric, spec, format);
            fresh.for_each(|lines| out.push_str(lines));
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    /// Writes the lines of every new snapshot, so that a scrape finds them written. Never returns.
    pub async fn follow(&self) -> Infallible {
        let mut snapshots = self.board.snapshots();
        loop {
            self.subjects();
            // This cannot fail: the board, which is the sender, outlives this borrow of it.
            let _ = snapshots.changed().await;
        }
    }

    fn subjects(&self) -> Vec<Arc<Written>> {
        let picture = self.board.picture();
        let mut known = self.written.lock();
        known.retain(|subject, _| picture.subjects.contains_key(subject));
        let written = |(subject, change): (&SubjectKey, &Arc<Change>)| {
            if let Some(written) = known.get(subject).filter(|written| Arc::ptr_eq(&written.change, change)) {
                return Arc::clone(written);
            }
            let written = Arc::new(Written::new(Arc::clone(change), known.get(subject).map(Arc::as_ref)));
            known.insert(subject.clone(), Arc::clone(&written));
            written
        };
        picture.watched().map(written).collect()
    }

    /// Lines of the agent's own metrics. Most are computed at this moment.
    fn own_lines(&self, now: Duration) -> BTreeMap<String, String> {
        self.metrics.set("pharos_ticker_age_seconds", &[], self.plugins.ticker_age().as_secs_f64());
        let families = collect::agent::families(&self.board, &self.metrics, now);
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        for family in families.iter().filter(|family| !family.values.is_empty()) {
            format::lines(own.entry(family.metric.clone()).or_default(), &[], family);
        }
        own
    }
}

impl Written {
    fn new(change: Arc<Change>, before: Option<&Self>) -> Self {
        let labels = &change.snapshot.subject.labels;
        let readings = change.snapshot.parts.values().filter_map(|part| part.reading.as_ref());
        let part = |reading: &Arc<Reading>| {
            let same = |part: &&Arc<WrittenPart>| Arc::ptr_eq(&part.reading, reading) && part.labels == *labels;
            let known = before.and_then(|before| before.parts.iter().find(same));
            known.map_or_else(|| Arc::new(WrittenPart::new(Arc::clone(reading), labels)), Arc::clone)
        };
        let parts = readings.map(part).collect();
        Self { change, parts }
    }
}

impl WrittenPart {
    fn new(reading: Arc<Reading>, labels: &[Label]) -> Self {
        let mut lines = BTreeMap::new();
        for family in reading.families.iter().filter(|family| !family.values.is_empty()) {
            let mut text = String::with_capacity(family.values.len() * 96);
            format::lines(&mut text, labels, family);
            text.shrink_to_fit();
            lines.insert(family.metric.clone(), text);
        }
        Self { reading, labels: labels.to_vec(), lines }
    }

    fn size(&self) -> usize {
        self.lines.values().map(String::len).sum()
    }
}
