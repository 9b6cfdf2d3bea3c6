//! `GET /metrics`: a read of memory.
//!
//! The lines of a server's series are written as soon as a part was read anew, and kept; a scrape puts them in order. Series whose part
//! failed, or was not read again in time, are not there.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use pharos_model::snapshot::Change;
use pharos_model::snapshot::Reading;
use pharos_model::subject::{Label, SubjectKey};

use crate::collect;
use crate::http::exposition::{self, Format};
use crate::http::{Api, Shared};

/// Written lines of every server's latest snapshot.
#[derive(Default)]
pub struct Exposition {
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
    /// By metric.
    lines: BTreeMap<String, String>,
}

pub async fn show(State(api): Shared, headers: HeaderMap, exposition: Arc<Exposition>) -> Response {
    let format = Format::of_accept(headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], exposition.text(&api, format)).into_response()
}

impl Exposition {
    /// The whole exposition.
    pub fn text(&self, api: &Api, format: Format) -> String {
        let now = api.clock.monotonic();
        let subjects = self.subjects(api);
        let own = own_lines(api, now);
        let parts: Vec<&WrittenPart> =
            subjects.iter().flat_map(|written| &written.parts).filter(|part| part.reading.fresh_until >= now).map(Arc::as_ref).collect();
        let mut out = String::with_capacity(parts.iter().map(|part| part.size()).sum::<usize>() * 5 / 4 + (64 << 10));
        for (metric, spec) in exposition::catalogue() {
            let mut fresh = parts.iter().filter_map(|part| part.lines.get(metric)).chain(own.get(metric)).peekable();
            if fresh.peek().is_none() {
                continue;
            }
            exposition::head(&mut out, metric, spec, format);
            fresh.for_each(|lines| out.push_str(lines));
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    /// Writes the lines of every new snapshot, so that no scrape has to.
    pub async fn follow(&self, api: &Api) -> Infallible {
        let mut snapshots = api.board.snapshots();
        loop {
            self.subjects(api);
            // The board that sends is alive as long as this borrow of it.
            let _ = snapshots.changed().await;
        }
    }

    fn subjects(&self, api: &Api) -> Vec<Arc<Written>> {
        let picture = api.board.picture();
        let mut known = self.written.lock().unwrap_or_else(PoisonError::into_inner);
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
            exposition::lines(&mut text, labels, family);
            text.shrink_to_fit();
            lines.insert(family.metric.clone(), text);
        }
        Self { reading, labels: labels.to_vec(), lines }
    }

    fn size(&self) -> usize {
        self.lines.values().map(String::len).sum()
    }
}

/// The agent's own metrics, most of them computed now.
fn own_lines(api: &Api, now: Duration) -> BTreeMap<String, String> {
    api.metrics.set("pharos_ticker_age_seconds", &[], api.plugins.ticker_age().as_secs_f64());
    let families = collect::agent::families(&api.board, &api.metrics, now);
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for family in families.iter().filter(|family| !family.values.is_empty()) {
        exposition::lines(own.entry(family.metric.clone()).or_default(), &[], family);
    }
    own
}
