//! Comparison with simulated servers: a single writer is found at the first reading that shows it, and nothing is invented.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::alert::Now;
use crate::postgres::lsn_history::Course;

const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// Event at one of three servers between two readings.
#[derive(Debug, Clone)]
enum Event {
    Stop(usize),
    Start(usize),
    Promote(usize),
    /// The server is rebuilt as a standby of the present primary.
    Rebuild(usize),
    Write(u64),
    /// All servers are asked, or only one.
    Look(Option<usize>),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let server = || 0..MEMBERS.len();
    let event = prop_oneof![
        2 => server().prop_map(Event::Stop),
        3 => server().prop_map(Event::Start),
        2 => server().prop_map(Event::Promote),
        2 => server().prop_map(Event::Rebuild),
        3 => (1..1_000_u64).prop_map(Event::Write),
        6 => prop::option::of(server()).prop_map(Event::Look),
    ];
    vec(event, 1..120)
}

#[derive(Debug, Clone, Copy)]
struct Server {
    up: bool,
    in_recovery: bool,
    timeline: i64,
    lsn: u64,
    epoch: u64,
}

struct World {
    servers: [Server; 3],
    timelines: i64,
    seconds: u64,
    reports: Vec<Report>,
}

impl World {
    fn new() -> Self {
        // Two servers never have the same epoch, however often they start.
        let server = |in_recovery, epoch| Server { up: true, in_recovery, timeline: 1, lsn: 1_000, epoch };
        let servers = [server(false, 1_000), server(true, 2_000), server(true, 3_000)];
        let report = |member: &&str| Report { member: (*member).to_owned(), up: false, identity: None, is_asked: true };
        Self { servers, timelines: 1, seconds: 0, reports: MEMBERS.iter().map(report).collect() }
    }

    fn happen(&mut self, event: &Event) {
        self.seconds += 1;
        match *event {
            Event::Stop(index) => self.servers[index].up = false,
            Event::Start(index) if !self.servers[index].up => {
                (self.servers[index].up, self.servers[index].epoch) = (true, self.servers[index].epoch + 1);
            }
            Event::Promote(index) if self.servers[index].up && self.servers[index].in_recovery => {
                self.timelines += 1;
                (self.servers[index].in_recovery, self.servers[index].timeline) = (false, self.timelines);
            }
            Event::Rebuild(index) => {
                if let Some(primary) =
                    self.writers().into_iter().max_by_key(|index| self.servers[*index].timeline).filter(|it| *it != index)
                {
                    let epoch = self.servers[index].epoch + 1;
                    self.servers[index] = Server { in_recovery: true, epoch, ..self.servers[primary] };
                }
            }
            Event::Write(bytes) => self.writers().into_iter().for_each(|index| self.servers[index].lsn += bytes),
            Event::Look(one) => (0..MEMBERS.len()).filter(|index| one.is_none_or(|one| one == *index)).for_each(|index| self.ask(index)),
            _ => {}
        }
    }

    fn writers(&self) -> Vec<usize> {
        (0..MEMBERS.len()).filter(|index| self.servers[*index].up && !self.servers[*index].in_recovery).collect()
    }

    fn ask(&mut self, index: usize) {
        let server = self.servers[index];
        let identity = Identity {
            at: Duration::from_secs(self.seconds),
            system_identifier: Some("one".to_owned()),
            in_recovery: server.in_recovery,
            course: Course { epoch: server.epoch, timeline: server.timeline },
            lsn: Some(server.lsn),
            received_lsn: server.in_recovery.then_some(server.lsn),
        };
        (self.reports[index].up, self.reports[index].identity) = (server.up, server.up.then_some(identity));
    }
}

proptest! {
    #[test]
    fn the_picture_equals_the_real_servers(events in events()) {
        let (mut world, mut topology) = (World::new(), Topology::default());
        let mut changes = 0;
        for event in &events {
            world.happen(event);
            let now = Now { monotonic: Duration::from_secs(world.seconds), wall_ms: world.seconds * 1_000 };
            let picture = topology.observe(&world.reports, now);

            prop_assert!(picture.primary_changes >= changes, "the counter never falls");
            changes = picture.primary_changes;
            let known: Vec<&Member> = picture.members.iter().filter(|member| member.up && member.role == Role::Primary).collect();
            prop_assert_eq!(picture.primary.is_some(), !known.is_empty(), "a primary that is known is shown");
            let newest = known.iter().filter_map(|member| member.timeline).max();
            let shown = picture.members.iter().find(|member| Some(&member.name) == picture.primary.as_ref());
            prop_assert_eq!(shown.and_then(|member| member.timeline), newest, "the newest timeline leads");
            prop_assert!(picture.split_brain.len() != 1 && picture.primaries().is_some_and(|primaries| picture.split_brain.len() <= primaries));
            for member in &picture.members {
                let behind = member.lag.time.map(|time| time.by);
                prop_assert!(behind.is_none_or(|by| by.as_secs() <= world.seconds), "{member:?}");
                prop_assert!(member.lag.time.is_none() || member.role == Role::Standby, "only standbys lag");
                prop_assert!(member.up || member.lag == Lag::default(), "the lag of a member that is down is unknown");
            }

            // All servers were asked at this instant, so the state must be exact.
            if matches!(event, Event::Look(None)) {
                let writers: Vec<String> = world.writers().into_iter().map(|index| MEMBERS[index].to_owned()).collect();
                prop_assert_eq!(picture.primaries(), Some(writers.len()));
                if let [one] = &writers[..] {
                    prop_assert_eq!(picture.primary.as_ref(), Some(one));
                }
                let split = if writers.len() > 1 { writers } else { Vec::new() };
                prop_assert_eq!(&picture.split_brain, &split, "all members that write at the same instant");
            }
        }
    }
}
