//! Grave alerts are sent in time: critical ones, and those graver than all that their group was sent in the running interval. Nothing but
//! a hold makes them wait longer than `group_wait`.
//!
//! A watch beside the dispatcher measures that. The watch records what receivers were sent and when, on a clock that outlives every
//! process. The test tests itself too: dispatchers that count the wrong things as sent are caught.

use super::*;
use crate::dispatch::flush::BEHIND_PAUSE;
use crate::dispatch::key::GroupId;
use crate::dispatch::{Dispatcher, Release};
use crate::outbox::IncidentPart;

/// A deliberate mistake of the agent under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Every message counts as one of the gravest severity.
    AllAlike,
    /// A held notification counts as sent at every release.
    HeldCountsAsSent,
    /// A restart counts every earlier message as one of the gravest severity.
    RestartsAlike,
}

/// Seconds, longer than all waits and all intervals but one. The watch checks at every due time in them.
const LONG: u64 = 900;

struct Message {
    /// Time on the watch's own clock.
    at_ms: i64,
    /// Time on the wall clock, from which the agent computes it after a restart.
    wall_ms: u64,
    /// Highest severity that the message reported as firing.
    gravest: Option<Severity>,
}

/// Notifications of all receivers, and the times since which further ones are missing.
struct Watch {
    story: Story,
    wrong: Wrong,
    stored: (SavedBook, SavedDispatch),
    /// How far the watch's clock is ahead of the process's monotonic clock.
    ahead_ms: i64,
    messages: BTreeMap<GroupId, Vec<Message>>,
    known: BTreeMap<(String, IncidentKey), Severity>,
    /// Since when nothing holds a missing notification back.
    owed_since_ms: BTreeMap<(String, IncidentKey), i64>,
    /// Since when the receivers have room; `None` without room.
    room_since_ms: Option<i64>,
    /// True if the wall clock was set since the process began.
    was_set: bool,
    complaints: Vec<String>,
}

impl Watch {
    fn new(routes: Vec<Route>, wrong: Wrong) -> Self {
        let story = Story::new(routes);
        Self {
            stored: story.export(),
            story,
            wrong,
            ahead_ms: 0,
            messages: BTreeMap::new(),
            known: BTreeMap::new(),
            owed_since_ms: BTreeMap::new(),
            room_since_ms: Some(i64::MIN / 2),
            was_set: false,
            complaints: Vec::new(),
        }
    }

    fn now_ms(&self) -> i64 {
        self.ahead_ms + millis(self.story.now.monotonic)
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Pass(seconds) => self.pass((*seconds).min(LONG)),
            Event::Restart => self.restart(self.was_set),
            Event::Kill(last) => {
                apply(&mut self.story, last);
                self.story.release();
                self.restart(true);
            }
            event => {
                self.was_set |= matches!(event, Event::Step(_));
                apply(&mut self.story, event);
                self.release();
            }
        }
        self.stored = self.story.export();
    }

    /// Releases at every time for which the agent asked.
    fn pass(&mut self, seconds: u64) {
        let end = self.story.now.monotonic + Duration::from_secs(seconds);
        while self.story.now.monotonic < end {
            let due = self.story.dispatcher.next_due(self.story.now).filter(|due| *due > self.story.now.monotonic);
            self.story.advance(due.map_or(end, |due| due.min(end)) - self.story.now.monotonic);
            self.release();
        }
    }

    /// Starts another process from the store. With `waits_anew` all waits may begin again: the process hung, or its clock differs.
    fn restart(&mut self, waits_anew: bool) {
        let before_ms = self.now_ms();
        self.story.restart_with(self.stored.clone());
        self.ahead_ms = before_ms - millis(self.story.now.monotonic);
        let (now_ms, wall_ms) = (self.now_ms(), self.story.now.wall_ms);
        for messages in self.messages.values_mut() {
            // The new process has only the wall time of the messages. A time in the future is unknown to it.
            for message in messages {
                let ago_ms = wall_ms.checked_sub(message.wall_ms).and_then(|ago_ms| i64::try_from(ago_ms).ok());
                message.at_ms = ago_ms.map_or(i64::MIN / 2, |ago_ms| now_ms - ago_ms);
            }
        }
        if waits_anew {
            self.owed_since_ms.clear();
        }
        self.was_set = false;
        if self.wrong == Wrong::RestartsAlike {
            count_as_grave(&mut self.story.dispatcher, |_, _| true, self.story.now.monotonic);
        }
        self.release();
    }

    fn release(&mut self) {
        let release = self.story.release();
        self.apply_mistake(&release);
        self.room_since_ms = self.story.has_room.then(|| self.room_since_ms.unwrap_or(self.now_ms()));
        // A message of this very release may also be too late.
        self.find_missing();
        self.record_sent(&release.rows);
        self.find_missing();
    }

    fn apply_mistake(&mut self, release: &Release) {
        let now = self.story.now.monotonic;
        let dispatcher = &mut self.story.dispatcher;
        match self.wrong {
            Wrong::AllAlike => {
                let is_sent = |id: &GroupId| release.rows.iter().any(|row| group_id(row) == *id);
                count_as_grave(dispatcher, |id, _| is_sent(id), now);
            }
            Wrong::HeldCountsAsSent => {
                let held = dispatcher.held.clone();
                let holds =
                    |id: &GroupId, members: &BTreeSet<IncidentKey>| members.iter().any(|key| held.contains(&(*key, id.receiver.clone())));
                count_as_grave(dispatcher, holds, now);
            }
            Wrong::Nothing | Wrong::RestartsAlike => {}
        }
    }

    fn record_sent(&mut self, rows: &[NewRow]) {
        let key = |row: &NewRow| (row.receiver.clone(), IncidentKey::from(row));
        let over: BTreeSet<_> = rows.iter().filter(|row| row.part == IncidentPart::End).map(key).collect();
        let mut gravest: BTreeMap<GroupId, Option<Severity>> = BTreeMap::new();
        for row in rows {
            let of_group = gravest.entry(group_id(row)).or_default();
            if !over.contains(&key(row)) {
                *of_group = (*of_group).max(Some(row.alert.severity));
                self.known.insert(key(row), row.alert.severity);
            }
        }
        let (at_ms, wall_ms) = (self.now_ms(), self.story.now.wall_ms);
        for (id, gravest) in gravest {
            self.messages.entry(id).or_default().push(Message { at_ms, wall_ms, gravest });
        }
    }

    /// Records which receivers miss a notification, and since when.
    fn find_missing(&mut self) {
        let mut owed = BTreeMap::new();
        for alert in self.story.book.alerts() {
            let key = IncidentKey::from(alert);
            for (receiver, route) in self.story.routes.receivers(alert) {
                let who = (receiver.to_owned(), key);
                if self.known.get(&who).is_some_and(|known| *known >= alert.severity) || !self.is_free(receiver, route, alert) {
                    continue;
                }
                let from_ms = self.room_since_ms.map_or(self.now_ms(), |room| self.now_ms().max(room + millis(BEHIND_PAUSE)));
                let since_ms = *self.owed_since_ms.get(&who).unwrap_or(&from_ms);
                let waited_ms = self.now_ms() - since_ms;
                if waited_ms > millis(route.group_wait) {
                    self.complaints.push(format!("{receiver} waits {waited_ms} ms for {} of {}", alert.rule, alert.subject.id));
                }
                owed.insert(who, since_ms);
            }
        }
        self.owed_since_ms = owed;
    }

    /// Returns true if nothing holds an alert, and it is critical or graver than what its group was sent in this interval.
    fn is_free(&self, receiver: &str, route: &Route, alert: &crate::alert::Alert) -> bool {
        let interval_ms = millis(route.group_interval);
        let id = GroupId { receiver: receiver.to_owned(), group_key: route.group(alert).0 };
        let lately = self.messages.get(&id).into_iter().flatten().filter(|message| self.now_ms() - message.at_ms < interval_ms);
        let is_held = self.story.dispatcher.suppression(IncidentKey::from(alert), alert, self.story.now.wall_ms).is_some();
        let is_graver = alert.severity == Severity::Critical || Some(alert.severity) > lately.filter_map(|message| message.gravest).max();
        self.story.has_room && !is_held && is_graver
    }
}

fn group_id(row: &NewRow) -> GroupId {
    GroupId { receiver: row.receiver.clone(), group_key: row.group_key.clone() }
}

fn count_as_grave(dispatcher: &mut Dispatcher, concerned: impl Fn(&GroupId, &BTreeSet<IncidentKey>) -> bool, now: Duration) {
    for (id, group) in &mut dispatcher.groups {
        if concerned(id, &group.members) {
            group.intervals.record_message(Some(Severity::Critical), now + group.interval);
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("no story lasts so long")
}

fn late(routes: Vec<Route>, wrong: Wrong, events: &[Event]) -> Vec<String> {
    let mut watch = Watch::new(routes, wrong);
    events.iter().for_each(|event| watch.step(event));
    watch.pass(1_000);
    watch.complaints
}

/// Routes without a wait, and with a wait longer than the interval.
fn waits() -> Vec<Route> {
    let wait = |seconds, interval, receiver| {
        let (group_wait, group_interval) = (Duration::from_secs(seconds), Duration::from_secs(interval));
        Route { continues: true, group_wait, group_interval, group_by: vec![], ..route(&[], receiver) }
    };
    vec![wait(0, 300, "boss"), wait(30, 20, "pager"), wait(60, 3_600, "ops")]
}

#[test]
fn a_dispatcher_that_counts_the_wrong_things_as_sent_is_caught() {
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(400) };
    // All alerts form one group, so that news of one subject affects the other.
    let together = || vec![Route { group_by: vec![], ..route(&[], "ops") }];
    let caught = |wrong| {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let verdict = TestRunner::new_with_rng(config.clone(), rng).run(&vec(event(), 1..60), |events| {
            let complaints = late(together(), wrong, &events);
            if complaints.is_empty() { Ok(()) } else { Err(TestCaseError::fail(complaints.join("\n"))) }
        });
        verdict.err().map(|err| err.to_string())
    };
    assert_eq!(caught(Wrong::Nothing), None);
    for wrong in [Wrong::AllAlike, Wrong::HeldCountsAsSent, Wrong::RestartsAlike] {
        let complaint = caught(wrong).unwrap_or_else(|| panic!("{wrong:?} gets past"));
        assert!(complaint.contains(" ms for "), "{complaint}");
    }
}

proptest! {
    #![proptest_config(Config::with_cases(64))]

    #[test]
    fn news_graver_than_its_groups_messages_is_sent_after_the_wait(events in vec(event(), 1..60)) {
        prop_assert_eq!(late(two_receivers(), Wrong::Nothing, &events), [""; 0]);
    }

    #[test]
    fn graver_news_is_in_time_without_a_wait_and_with_one_longer_than_the_interval(events in vec(event(), 1..60)) {
        prop_assert_eq!(late(waits(), Wrong::Nothing, &events), [""; 0]);
    }
}
