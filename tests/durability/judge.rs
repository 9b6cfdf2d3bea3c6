//! No wrong agent gets past the judge of these tests, since they would prove nothing.
//!
//! The judge: what an agent recorded beside what a receiver heard, once all is over.
//!
//! Every incident began at its receiver at least once and ended exactly once, in this order, and a repetition has the same id. Who was not
//! told because of a silence was told nothing at all, and the agent said so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pharos::demo::receiver::Delivery;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// An incident, as both sides know it: the alert's fingerprint and when it began.
pub type Incident = (String, String);

/// What came to a receiver's ears about an incident, in order: message id, and what it said.
pub type Heard = BTreeMap<Incident, Vec<(String, Said)>>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    Firing,
    /// Firing, and that it comes and goes.
    Flapping,
    /// That it still fires.
    Reminder,
    Resolved,
    /// That it fired and resolved.
    Whole,
}

impl Said {
    fn is_end(self) -> bool {
        matches!(self, Self::Resolved | Self::Whole)
    }
}

pub fn hear<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Heard {
    let mut heard = Heard::new();
    for delivery in deliveries.filter(|delivery| delivery.status.is_success()) {
        let id = delivery.headers["webhook-id"].to_str().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        for alert in body["alerts"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
            let said = match (alert["status"] == "resolved", summary) {
                (true, "") => Said::Resolved,
                (true, _) => Said::Whole,
                (false, "") => Said::Firing,
                (false, "it still fires") => Said::Reminder,
                (false, _) => Said::Flapping,
            };
            heard.entry((text(&alert["fingerprint"]), text(&alert["startsAt"]))).or_default().push((id.clone(), said));
        }
    }
    heard
}

/// How often something was heard again.
pub fn repeated(heard: &Heard) -> usize {
    heard.values().map(|heard| heard.len() - heard.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()).sum()
}

/// The records of an agent.
#[derive(Debug, Default)]
pub struct Recorded {
    pub fired: BTreeSet<Incident>,
    /// Receiver and incident that it will never hear of.
    pub withheld: BTreeSet<(String, Incident)>,
    /// By fingerprint and number.
    numbers: BTreeMap<(String, u64), Incident>,
}

impl Recorded {
    /// Adds what the store in this directory has, which forgets it one day.
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

/// What a store still has to tell somebody: entries of the ledger and notifications.
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

/// Everything that is wrong with what a receiver heard.
pub fn judge(recorded: &Recorded, receiver: &str, heard: &Heard) -> Vec<String> {
    let mut complaints = Vec::new();
    for incident in &recorded.fired {
        let is_withheld = recorded.withheld.contains(&(receiver.to_owned(), incident.clone()));
        match heard.get(incident) {
            None if is_withheld => {}
            None => complaints.push(format!("{receiver}: {incident:?} was never told")),
            Some(heard) if is_withheld => complaints.push(format!("{receiver}: {incident:?} was told, and said not to be: {heard:?}")),
            Some(heard) => {
                complaints.extend(judge_incident(heard).into_iter().map(|why| format!("{receiver}: {incident:?} {why}: {heard:?}")))
            }
        }
    }
    let strange = heard.keys().filter(|incident| !recorded.fired.contains(*incident));
    complaints.extend(strange.map(|incident| format!("{receiver}: {incident:?} has no cause")));
    complaints
}

fn judge_incident(heard: &[(String, Said)]) -> Vec<&'static str> {
    let ids = |wanted: &[Said]| heard.iter().filter(|(_, said)| wanted.contains(said)).map(|(id, _)| id).collect::<BTreeSet<_>>();
    let mut complaints = Vec::new();
    if matches!(heard[0].1, Said::Resolved | Said::Reminder) {
        complaints.push("did not begin with its beginning");
    }
    if ids(&[Said::Resolved, Said::Whole]).len() != 1 {
        complaints.push("did not end once");
    }
    if ids(&[Said::Firing]).len() > 1 {
        complaints.push("began under several ids");
    }
    let told_before = heard.iter().any(|(_, said)| !said.is_end());
    if told_before && heard.iter().any(|(_, said)| *said == Said::Whole) {
        complaints.push("began, and was told as a whole all the same");
    }
    if heard.iter().skip_while(|(_, said)| !said.is_end()).any(|(_, said)| !said.is_end()) {
        complaints.push("went on after its end");
    }
    complaints
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let incident = |name: &str| (name.to_owned(), "t".to_owned());
    let told = |told: &[(&str, Said)]| {
        let told = told.iter().map(|(id, said)| ((*id).to_owned(), *said)).collect();
        Heard::from([(incident("a"), told)])
    };
    let recorded = Recorded { fired: BTreeSet::from([incident("a")]), ..Recorded::default() };
    let complaints = |heard: &[(&str, Said)]| judge(&recorded, "ops", &told(heard)).len();
    let (begin, flaps, still, end, whole) = (Said::Firing, Said::Flapping, Said::Reminder, Said::Resolved, Said::Whole);
    assert_eq!(complaints(&[("1", begin), ("2", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("2", flaps), ("3", still), ("4", still), ("5", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("1", begin), ("2", end), ("2", end)]), 0, "repetitions with their ids");
    assert_eq!(complaints(&[("1", whole)]), 0);
    assert_eq!(complaints(&[("1", begin)]), 1, "no end");
    assert_eq!(complaints(&[("1", end)]), 1, "no beginning");
    assert_eq!(complaints(&[("1", still), ("2", end)]), 1, "a reminder of nothing");
    assert_eq!(complaints(&[("1", begin), ("2", end), ("3", end)]), 1, "two ends");
    assert_eq!(complaints(&[("1", begin), ("2", begin), ("3", end)]), 1, "the same under another id");
    assert_eq!(complaints(&[("1", begin), ("2", whole)]), 1, "told anew at its end");
    assert_eq!(complaints(&[("1", begin), ("2", end), ("3", still)]), 1, "a reminder of what is over");
    assert!(complaints(&[("2", end), ("1", begin)]) > 0, "the wrong way round");
    assert_eq!(judge(&recorded, "ops", &Heard::new()).len(), 1, "nothing at all");
    assert_eq!(judge(&Recorded::default(), "ops", &told(&[("1", whole)])).len(), 1, "out of thin air");

    let recorded = Recorded { withheld: BTreeSet::from([("ops".to_owned(), incident("a"))]), ..recorded };
    assert_eq!(judge(&recorded, "ops", &Heard::new()), [""; 0], "it was silenced to its end");
    assert_eq!(judge(&recorded, "ops", &told(&[("1", whole)])).len(), 1, "silenced, and told");
    assert_eq!(judge(&recorded, "pager", &Heard::new()).len(), 1, "silenced for another one");
}
