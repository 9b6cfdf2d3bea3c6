//! `GET /metrics`: a read of memory.
//!
//! The lines of a server's series are written once per snapshot and kept; a scrape puts them in order. Series whose part failed, or was
//! not read again in time, are not there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use pharos_model::delta::Change;
use pharos_model::snapshot::{FamiliesBuilder, Family};
use pharos_model::subject::SubjectKey;

use super::exposition::{self, Format};
use super::{Api, Shared};

/// Written lines of every subject's latest snapshot.
#[derive(Default)]
pub struct Exposition {
    written: Mutex<HashMap<SubjectKey, Arc<Written>>>,
}

struct Written {
    change: Arc<Change>,
    /// By metric: until when they are fresh, and the lines.
    lines: BTreeMap<String, (Duration, String)>,
}

pub async fn show(State(api): Shared, headers: HeaderMap, exposition: Arc<Exposition>) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::of_accept(accept);
    ([(CONTENT_TYPE, format.content_type())], exposition.text(&api, format)).into_response()
}

impl Exposition {
    /// The whole exposition.
    pub fn text(&self, api: &Api, format: Format) -> String {
        let now = api.clock.monotonic();
        let subjects = self.subjects(api);
        let own = own_lines(api, now);
        let mut out = String::with_capacity(subjects.iter().map(|written| written.size()).sum::<usize>() * 5 / 4 + (64 << 10));
        for (metric, spec) in exposition::catalogue() {
            let fresh = subjects.iter().filter_map(|written| written.lines.get(metric));
            let mut fresh = fresh.filter(|(until, _)| *until >= now).map(|(_, lines)| lines).chain(own.get(metric)).peekable();
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

    fn subjects(&self, api: &Api) -> Vec<Arc<Written>> {
        let picture = api.board.picture();
        let mut known = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|subject, _| picture.subjects.contains_key(subject));
        let written = |(subject, change): (&SubjectKey, &Arc<Change>)| {
            if let Some(written) = known.get(subject).filter(|written| Arc::ptr_eq(&written.change, change)) {
                return Arc::clone(written);
            }
            let written = Arc::new(Written::new(Arc::clone(change)));
            known.insert(subject.clone(), Arc::clone(&written));
            written
        };
        picture.subjects.iter().map(written).collect()
    }
}

impl Written {
    fn new(change: Arc<Change>) -> Self {
        let mut lines = BTreeMap::new();
        let labels = &change.snapshot.subject.labels;
        for reading in change.snapshot.parts.values().filter_map(|part| part.reading.as_ref()) {
            for family in reading.families.iter().filter(|family| !family.values.is_empty()) {
                let mut text = String::with_capacity(family.values.len() * 96);
                exposition::lines(&mut text, labels, family);
                lines.insert(family.metric.clone(), (reading.fresh_until, text));
            }
        }
        Self { change, lines }
    }

    fn size(&self) -> usize {
        self.lines.values().map(|(_, lines)| lines.len()).sum()
    }
}

/// The agent's own metrics, most of them computed now.
fn own_lines(api: &Api, now: Duration) -> BTreeMap<String, String> {
    api.metrics.set("pharos_ticker_age_seconds", &[], api.plugins.ticker_age().as_secs_f64());
    let mut families = api.metrics.families();
    families.extend(ages(api, now));
    families.extend(alerts(api));
    families.extend(process());
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for family in families.iter().filter(|family| !family.values.is_empty()) {
        exposition::lines(own.entry(family.metric.clone()).or_default(), &[], family);
    }
    own
}

/// How old each part's facts are, failed ones included.
fn ages(api: &Api, now: Duration) -> Vec<Family> {
    let mut ages = FamiliesBuilder::new(&["server", "collector"], &["pharos_collect_age_seconds"]);
    for (subject, parts) in &api.board.picture().read_at {
        for (name, at) in parts {
            ages.push(&[&subject.id, name], &[Some(now.saturating_sub(*at).as_secs_f64())]);
        }
    }
    ages.finish()
}

fn alerts(api: &Api) -> Vec<Family> {
    let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for state in ["pending", "firing", "recovering"] {
        for severity in ["info", "warning", "critical"] {
            counts.insert((state, severity), 0.0);
        }
    }
    let picture = api.board.picture();
    for alert in picture.alerts.iter() {
        *counts.entry((alert.state.as_str(), alert.severity.as_str())).or_default() += 1.0;
    }
    let mut rows = FamiliesBuilder::new(&["state", "severity"], &["pharos_alerts"]);
    for ((state, severity), count) in counts {
        rows.push(&[state, severity], &[Some(count)]);
    }
    rows.finish()
}

/// What the kernel says of this process; nothing where it does not say.
fn process() -> Vec<Family> {
    let Ok(me) = procfs::process::Process::myself() else { return Vec::new() };
    let Ok(stat) = me.stat() else { return Vec::new() };
    let ticks = procfs::ticks_per_second() as f64;
    let mut families = vec![
        Family::scalar("process_cpu_seconds_total", (stat.utime + stat.stime) as f64 / ticks),
        Family::scalar("process_resident_memory_bytes", stat.rss as f64 * procfs::page_size() as f64),
    ];
    families.extend(me.fd_count().ok().map(|count| Family::scalar("process_open_fds", count as f64)));
    let started = procfs::boot_time_secs().ok().map(|boot| boot as f64 + stat.starttime as f64 / ticks);
    families.extend(started.map(|at| Family::scalar("process_start_time_seconds", at)));
    families
}
