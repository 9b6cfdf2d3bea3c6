//! No wrong agent passes the judge of these tests, since they would prove nothing.
//!
//! The judge compares what an agent recorded with what a receiver got, once all incidents are over.
//!
//! Every incident must have its beginning at least once and its end exactly once, in this order, and a repetition has the same id. An
//! incident that was withheld because of a silence must not be reported at all, and the agent must have recorded that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pharos::demo::receiver::Delivery;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// An incident, as both sides identify it: the alert's fingerprint and the time of its beginning.
pub type Incident = (String, String);

/// Reports about each incident at one receiver, in order: message id, and what the message reported.
pub type Arrivals = BTreeMap<Incident, Vec<(String, Reported)>>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reported {
    Firing,
    /// The alert fires, and it flaps.
    Flapping,
    /// The alert still fires.
    Reminder,
    Resolved,
    /// The alert fired and resolved.
    Whole,
}

impl Reported {
    fn is_end(self) -> bool {
        matches!(self, Self::Resolved | Self::Whole)
    }
}

pub fn arrivals<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Arrivals {
    let mut arrivals = Arrivals::new();
    for delivery in deliveries.filter(|delivery| delivery.status.is_success()) {
        let id = delivery.headers["webhook-id"].to_str().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        for alert in body["alerts"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
            let reported = match (alert["status"] == "resolved", summary) {
                (true, "") => Reported::Resolved,
                (true, _) => Reported::Whole,
                (false, "") => Reported::Firing,
                (false, "it still fires") => Reported::Reminder,
                (false, _) => Reported::Flapping,
            };
            arrivals.entry((text(&alert["fingerprint"]), text(&alert["startsAt"]))).or_default().push((id.clone(), reported));
        }
    }
    arrivals
}

/// Number of repetitions.
pub fn repeated(arrivals: &Arrivals) -> usize {
    arrivals.values().map(|arrivals| arrivals.len() - arrivals.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()).sum()
}

/// The records of an agent.
#[derive(Debug, Default)]
pub struct Recorded {
    pub fired: BTreeSet<Incident>,
    /// Receivers, each with an incident that will never be reported to it.
    pub withheld: BTreeSet<(String, Incident)>,
    /// By fingerprint and number.
    numbers: BTreeMap<(String, u64), Incident>,
}

impl Recorded {
    /// Adds the records of the store in this directory, which removes old ones some day.
    pub fn read(&mut self, data_dir: &Path) {
        let events = query(data_dir, "SELECT kind, subject, detail FROM events ORDER BY id", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        for (kind, subject, detail) in events {
            let detail: Value = serde_json::from_str(&detail).unwrap();
            match kind.as_str() {
                "alert" if detail["reason"] == "firing" => {
                    let began = detail["alert"]["started_at_ms"].as_u64().unwrap();
                    let incident = (subject.clone(), pharos::clock::rfc3339(began));
                    self.numbers.insert((subject, detail["incident"].as_u64().unwrap()), incident.clone());
                    self.fired.insert(incident);
                }
                "withheld" if detail["for_good"] == true => {
                    let number = detail["incident"].as_u64().unwrap();
                    let incident = self.numbers[&(subject, number)].clone();
                    self.withheld.insert((detail["receiver"].as_str().unwrap().to_owned(), incident));
                }
                _ => {}
            }
        }
    }
}

/// Number of reports that a store still has to send: entries of the ledger, and notifications.
pub fn left(data_dir: &Path) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM ledger) + (SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending'))";
    query(data_dir, sql, |row| row.get::<_, i64>(0)).into_iter().sum()
}

fn query<T>(data_dir: &Path, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let path = data_dir.join("pharos.db");
    // One that was killed before it had a store wrote nothing down.
    if !path.exists() {
        return Vec::new();
    }
    let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query = store.prepare(sql).unwrap();
    query.query_map([], read).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Everything that is wrong with the reports to a receiver.
pub fn judge(recorded: &Recorded, receiver: &str, arrivals: &Arrivals) -> Vec<String> {
    let mut complaints = Vec::new();
    for incident in &recorded.fired {
        let is_withheld = recorded.withheld.contains(&(receiver.to_owned(), incident.clone()));
        match arrivals.get(incident) {
            None if is_withheld => {}
            None => complaints.push(format!("{receiver}: {incident:?} was never reported")),
            Some(arrivals) if is_withheld => {
                complaints.push(format!("{receiver}: {incident:?} was reported, and recorded as withheld: {arrivals:?}"))
            }
            Some(arrivals) => {
                complaints.extend(judge_incident(arrivals).into_iter().map(|why| format!("{receiver}: {incident:?} {why}: {arrivals:?}")))
            }
        }
    }
    let strange = arrivals.keys().filter(|incident| !recorded.fired.contains(*incident));
    complaints.extend(strange.map(|incident| format!("{receiver}: {incident:?} has no cause")));
    complaints
}

fn judge_incident(arrivals: &[(String, Reported)]) -> Vec<&'static str> {
    let ids =
        |wanted: &[Reported]| arrivals.iter().filter(|(_, reported)| wanted.contains(reported)).map(|(id, _)| id).collect::<BTreeSet<_>>();
    let mut complaints = Vec::new();
    if matches!(arrivals[0].1, Reported::Resolved | Reported::Reminder) {
        complaints.push("did not begin with its beginning");
    }
    if ids(&[Reported::Resolved, Reported::Whole]).len() != 1 {
        complaints.push("did not end once");
    }
    if ids(&[Reported::Firing]).len() > 1 {
        complaints.push("began under several ids");
    }
    let had_begun = arrivals.iter().any(|(_, reported)| !reported.is_end());
    if had_begun && arrivals.iter().any(|(_, reported)| *reported == Reported::Whole) {
        complaints.push("began, and was reported as a whole all the same");
    }
    if arrivals.iter().skip_while(|(_, reported)| !reported.is_end()).any(|(_, reported)| !reported.is_end()) {
        complaints.push("went on after its end");
    }
    complaints
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let incident = |name: &str| (name.to_owned(), "t".to_owned());
    let made = |made: &[(&str, Reported)]| {
        let made = made.iter().map(|(id, reported)| ((*id).to_owned(), *reported)).collect();
        Arrivals::from([(incident("a"), made)])
    };
    let recorded = Recorded { fired: BTreeSet::from([incident("a")]), ..Recorded::default() };
    let complaints = |arrivals: &[(&str, Reported)]| judge(&recorded, "ops", &made(arrivals)).len();
    let (begin, flaps, still, end, whole) = (Reported::Firing, Reported::Flapping, Reported::Reminder, Reported::Resolved, Reported::Whole);
    assert_eq!(complaints(&[("1", begin), ("2", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("2", flaps), ("3", still), ("4", still), ("5", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("1", begin), ("2", end), ("2", end)]), 0, "repetitions with their ids");
    assert_eq!(complaints(&[("1", whole)]), 0);
    assert_eq!(complaints(&[("1", begin)]), 1, "no end");
    assert_eq!(complaints(&[("1", end)]), 1, "no beginning");
    assert_eq!(complaints(&[("1", still), ("2", end)]), 1, "a reminder of nothing");
    assert_eq!(complaints(&[("1", begin), ("2", end), ("3", end)]), 1, "two ends");
    assert_eq!(complaints(&[("1", begin), ("2", begin), ("3", end)]), 1, "the same under another id");
    assert_eq!(complaints(&[("1", begin), ("2", whole)]), 1, "reported as a whole at its end");
    assert_eq!(complaints(&[("1", begin), ("2", end), ("3", still)]), 1, "a reminder of what is over");
    assert!(complaints(&[("2", end), ("1", begin)]) > 0, "the wrong way round");
    assert_eq!(judge(&recorded, "ops", &Arrivals::new()).len(), 1, "nothing at all");
    assert_eq!(judge(&Recorded::default(), "ops", &made(&[("1", whole)])).len(), 1, "out of thin air");

    let recorded = Recorded { withheld: BTreeSet::from([("ops".to_owned(), incident("a"))]), ..recorded };
    assert_eq!(judge(&recorded, "ops", &Arrivals::new()), [""; 0], "it was silenced to its end");
    assert_eq!(judge(&recorded, "ops", &made(&[("1", whole)])).len(), 1, "silenced, and reported");
    assert_eq!(judge(&recorded, "pager", &Arrivals::new()).len(), 1, "silenced for another one");
}
