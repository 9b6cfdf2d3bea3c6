//! Stories of what a receiver gets.

use std::time::Duration;

use super::gate::GateState;
use super::queue::{Next, Queue, Settlement};
use super::row::{IncidentPart, Row};
use crate::alert::Fingerprint;
use crate::notification::{Delivery, UndeliveredReason};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn fingerprint(incident: u64) -> Fingerprint {
    format!("{incident:016x}").parse().expect("sixteen hex digits")
}

pub(super) fn row(seq: u64, incident: u64, part: IncidentPart, group: &str, due: Duration) -> Row {
    Row {
        seq,
        id: format!("{incident}-{seq}"),
        group_key: group.to_owned(),
        fingerprint: fingerprint(incident),
        incident,
        part,
        due,
        attempts: 0,
        waited: Duration::ZERO,
        message: None,
    }
}

/// A queue and its clock. Pauses have their longest value.
struct Story {
    queue: Queue,
    now: Duration,
}

impl Story {
    fn with(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut queue = Queue::default();
        rows.into_iter().for_each(|row| queue.push(row));
        Self { queue, now: SECOND }
    }

    /// Sends the next message; returns its rows, its id and its settlement.
    fn deliver(&mut self, delivery: Delivery) -> Option<(Vec<u64>, String, Settlement)> {
        match self.queue.take(self.now)? {
            Next::Send(batch) => {
                let settlement = self.queue.settle(&batch, delivery, self.now, 1.0);
                Some((batch.seqs, batch.id, settlement))
            }
            Next::Settle(settlement) => panic!("nothing was sent: {settlement:?}"),
        }
    }

    fn accept(&mut self) -> Option<(Vec<u64>, String)> {
        self.deliver(Delivery::Accepted).map(|(seqs, id, _)| (seqs, id))
    }
}

fn busy() -> Delivery {
    Delivery::Retry { after: None, why: "status 503".to_owned() }
}

fn lost() -> Delivery {
    Delivery::Ambiguous("no answer".to_owned())
}

#[test]
fn rows_of_an_incident_are_sent_in_order_and_other_incidents_do_not_wait() {
    let mut story = Story::with([
        row(1, 1, IncidentPart::Begin, "a", SECOND),
        row(2, 2, IncidentPart::Begin, "b", SECOND),
        row(3, 1, IncidentPart::End, "a", 2 * SECOND),
    ]);
    assert!(matches!(story.deliver(lost()).unwrap().2, Settlement::Waiting { .. }));
    assert_eq!(story.accept(), Some((vec![2], "2-2".to_owned())), "another incident goes on");
    story.now = 3 * SECOND;
    assert_eq!(story.accept(), None, "the end is due, but its beginning waits for its second try");
    story.now = 7 * SECOND;
    assert_eq!(story.accept(), Some((vec![1], "1-1".to_owned())));
    assert_eq!(story.accept(), Some((vec![3], "1-3".to_owned())));
    assert!(story.queue.is_empty());
}

#[test]
fn rows_of_a_group_are_sent_as_one_message_with_its_own_id() {
    let group = [
        row(1, 1, IncidentPart::Begin, "a", SECOND),
        row(2, 2, IncidentPart::Begin, "a", SECOND),
        row(3, 3, IncidentPart::Begin, "b", SECOND),
    ];
    let mut story = Story::with(group);
    let (seqs, first, _) = story.deliver(busy()).unwrap();
    assert_eq!(seqs, [1, 2]);
    story.now = 6 * SECOND;
    assert_eq!(story.accept().unwrap().0, [3]);
    let (seqs, again, _) = story.deliver(busy()).unwrap();
    assert_eq!((seqs.as_slice(), &again), (&[1, 2][..], &first), "the same rows, the same id");
    story.queue.push(row(4, 4, IncidentPart::Begin, "a", 7 * SECOND));
    story.now = 60 * SECOND;
    let (seqs, other) = story.accept().unwrap();
    assert_eq!(seqs, [1, 2, 4]);
    assert_ne!(other, first, "a receiver that took the first one would drop another under its id");
}

#[test]
fn a_message_that_may_have_arrived_is_repeated_unchanged() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND), row(2, 2, IncidentPart::Begin, "a", SECOND)]);
    let (_, first, settlement) = story.deliver(lost()).unwrap();
    let Settlement::Waiting { message, .. } = settlement else { panic!("{settlement:?}") };
    assert_eq!(message.as_ref(), Some(&first));
    story.queue.push(row(3, 1, IncidentPart::End, "a", SECOND));
    story.queue.push(row(4, 5, IncidentPart::Begin, "a", SECOND));
    assert_eq!(story.accept().unwrap().0, [4], "a new incident of the group does not wait");
    story.now = 6 * SECOND;
    assert_eq!(story.deliver(busy()).unwrap().1, first, "a later answer shows nothing about the first attempt");
    story.now = 60 * SECOND;
    assert_eq!(story.accept(), Some((vec![1, 2], first)));
    assert_eq!(story.accept().unwrap().0, [3]);
}

#[test]
fn an_incident_that_ended_while_its_receiver_was_away_is_sent_as_a_whole() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
    story.deliver(busy());
    story.queue.push(row(2, 1, IncidentPart::End, "a", 2 * SECOND));
    story.now = 6 * SECOND;
    assert_eq!(story.accept().unwrap().0, [1, 2]);
}

#[test]
fn no_receiver_gets_an_end_without_the_beginning() {
    let refuse = || Delivery::Rejected { reason: UndeliveredReason::Rejected, why: "status 400".to_owned() };
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND), row(2, 1, IncidentPart::End, "a", 2 * SECOND)]);
    assert!(matches!(story.deliver(refuse()).unwrap().2, Settlement::Dead { reason: UndeliveredReason::Rejected, .. }));
    story.now = 2 * SECOND;
    let next = story.queue.take(story.now);
    assert!(
        matches!(&next, Some(Next::Settle(Settlement::Dead { seqs, reason: UndeliveredReason::BeginningNotSent, .. })) if *seqs == [2]),
        "{next:?}"
    );
    assert!(story.queue.is_empty());

    // Both are tried again together, and sent as a whole.
    story.queue.push(row(2, 1, IncidentPart::End, "a", story.now));
    story.queue.push(row(1, 1, IncidentPart::Begin, "a", story.now));
    assert_eq!(story.accept().unwrap().0, [1, 2]);

    // A refused change does not affect what was sent before.
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
    story.accept();
    story.queue.push(row(2, 1, IncidentPart::Change, "a", SECOND));
    story.deliver(refuse());
    story.queue.push(row(3, 1, IncidentPart::End, "a", SECOND));
    assert_eq!(story.accept().unwrap().0, [3]);
}

#[test]
fn a_receiver_that_fails_again_and_again_is_probed_with_one_message() {
    let mut story = Story::with((1..=20).map(|seq| row(seq, seq, IncidentPart::Begin, &seq.to_string(), SECOND)));
    for _ in 0..5 {
        story.deliver(busy());
    }
    assert_eq!((story.queue.gate(), story.accept()), (GateState::Open, None));
    story.now = story.queue.next_due().unwrap();
    let Some(Next::Send(probe)) = story.queue.take(story.now) else { panic!("a probe goes out") };
    assert_eq!((story.queue.gate(), story.queue.take(story.now)), (GateState::HalfOpen, None), "and no other message");
    story.queue.settle(&probe, Delivery::Accepted, story.now, 1.0);
    let mut received = probe.seqs;
    while let Some((seqs, _)) = story.accept() {
        received.extend(seqs);
    }
    received.sort_unstable();
    assert_eq!(received, (1..=20).collect::<Vec<_>>(), "messages that failed before do not wait for their pauses to end");
}

#[test]
fn a_pause_that_a_receiver_requests_holds_for_all_its_messages() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND), row(2, 2, IncidentPart::Begin, "b", SECOND)]);
    let settlement = story.deliver(Delivery::Retry { after: Some(60 * SECOND), why: "status 429".to_owned() }).unwrap().2;
    assert!(matches!(settlement, Settlement::Waiting { pause, reason: UndeliveredReason::Throttled, .. } if pause == 60 * SECOND));
    assert_eq!((story.queue.gate(), story.queue.next_due()), (GateState::Closed, Some(61 * SECOND)));
}

#[test]
fn a_notifier_that_does_not_serve_is_no_attempt() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
    for _ in 0..10 {
        let settlement = story.deliver(Delivery::Unavailable("it is loading".to_owned())).unwrap().2;
        assert!(matches!(settlement, Settlement::Waiting { attempts: 0, pause: SECOND, .. }), "{settlement:?}");
        story.now += SECOND;
    }
    assert_eq!((story.queue.gate(), story.accept().map(|(seqs, _)| seqs)), (GateState::Closed, Some(vec![1])));
}

#[test]
fn a_row_is_given_up_after_three_days_of_pauses_or_an_hour_without_credentials() {
    for (delivery, reason, least, most) in [
        (busy(), UndeliveredReason::TooLate, 72 * 3_600, 73 * 3_600),
        (Delivery::Unauthorised("status 401".to_owned()), UndeliveredReason::Unauthorised, 3_600, 3_900),
    ] {
        let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
        let settlement = loop {
            match story.deliver(delivery.clone()).unwrap().2 {
                Settlement::Waiting { .. } => story.now = story.queue.next_due().unwrap(),
                settlement => break settlement,
            }
        };
        assert!(matches!(&settlement, Settlement::Dead { reason: why, .. } if *why == reason), "{settlement:?}");
        let lasted = story.now.as_secs();
        assert!((least..=most).contains(&lasted), "{reason:?}: {lasted} s");
    }
}

#[test]
fn a_receiver_that_is_gone_keeps_its_rows_for_another_day() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND), row(2, 2, IncidentPart::Begin, "b", SECOND)]);
    assert!(matches!(
        story.deliver(Delivery::Gone("status 410".to_owned())).unwrap().2,
        Settlement::Dead { reason: UndeliveredReason::Gone, .. }
    ));
    story.now = 1_000_000 * SECOND;
    assert_eq!((story.accept(), story.queue.len(), story.queue.next_due()), (None, 1, None));
}

#[test]
fn a_person_may_drop_waiting_rows_but_not_rows_being_sent() {
    let mut story = Story::with([
        row(1, 1, IncidentPart::Begin, "a", SECOND),
        row(2, 2, IncidentPart::Begin, "b", SECOND),
        row(3, 1, IncidentPart::End, "a", 9 * SECOND),
    ]);
    let Some(Next::Send(batch)) = story.queue.take(story.now) else { panic!("one is due") };
    assert_eq!(batch.seqs, [1]);
    let dropped = story.queue.drop_rows(None).expect("one of them waits");
    assert!(matches!(&dropped, Settlement::Dead { seqs, reason: UndeliveredReason::Dropped, .. } if *seqs == [2]), "{dropped:?}");
    assert_eq!(story.queue.drop_rows(Some(&[1, 3, 7])), None, "the incident of both is under way, and the third does not exist");
    story.queue.settle(&batch, Delivery::Accepted, story.now, 1.0);
    assert!(matches!(story.queue.drop_rows(Some(&[3])), Some(Settlement::Dead { .. })));
    assert!(story.queue.is_empty() && story.queue.next_due().is_none());
}

#[test]
fn no_receiver_gets_the_end_of_a_dropped_incident() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
    story.queue.drop_rows(None);
    story.queue.push(row(2, 1, IncidentPart::End, "a", SECOND));
    let next = story.queue.take(story.now);
    assert!(matches!(next, Some(Next::Settle(Settlement::Dead { reason: UndeliveredReason::BeginningNotSent, .. }))), "{next:?}");
}

#[test]
fn a_person_can_revive_a_receiver_that_was_gone() {
    let mut story = Story::with([row(1, 1, IncidentPart::Begin, "a", SECOND)]);
    story.deliver(Delivery::Gone("status 410".to_owned()));
    story.queue.push(row(2, 2, IncidentPart::Begin, "b", SECOND));
    assert_eq!((story.accept(), story.queue.gate()), (None, GateState::Gone));
    story.queue.revive();
    story.queue.push(row(1, 1, IncidentPart::Begin, "a", SECOND));
    assert_eq!(story.accept(), Some((vec![1], "1-1".to_owned())));
    assert_eq!(story.accept(), Some((vec![2], "2-2".to_owned())));
}

#[test]
fn a_row_stays_given_up_while_a_younger_one_of_its_incident_is_being_sent() {
    let begin = || row(1, 1, IncidentPart::Begin, "a", SECOND);
    let mut story = Story::with([begin(), row(2, 1, IncidentPart::Change, "a", 2 * SECOND)]);
    let rejected = Delivery::Rejected { reason: UndeliveredReason::Rejected, why: "status 400".to_owned() };
    assert!(matches!(story.deliver(rejected).unwrap().2, Settlement::Dead { .. }));
    story.now += SECOND;
    let Some(Next::Send(change)) = story.queue.take(story.now) else { panic!("the change is due") };
    let overtaken = |settlement: Option<Settlement>| matches!(settlement, Some(Settlement::Dead { reason: UndeliveredReason::Overtaken, seqs, .. }) if seqs == [1]);
    assert!(overtaken(story.queue.push_again(begin())), "it is under way");
    story.queue.settle(&change, Delivery::Ambiguous("no answer".to_owned()), story.now, 1.0);
    assert!(overtaken(story.queue.push_again(begin())), "it may have arrived");
    story.now += 60 * SECOND;
    assert_eq!(story.accept().map(|(seqs, _)| seqs), Some(vec![2]));

    let mut story = Story::with([row(2, 1, IncidentPart::Change, "a", 9 * SECOND)]);
    assert_eq!(story.queue.push_again(begin()), None, "no attempt for the other row began");
    assert_eq!(story.accept().map(|(seqs, _)| seqs), Some(vec![1]));
}
