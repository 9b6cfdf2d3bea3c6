//! Follows the topology of one database from reading to reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::news::News;
use super::report::{Identity, Report, Role, are_two_of_one_cluster, differ};
use super::state::{Lag, Member, TopologyState};
use crate::alert::Now;
use crate::postgres::lsn_history::LsnHistory;

/// Stored state of a member.
#[derive(Debug, Clone)]
struct Known {
    up: bool,
    /// Last report of the member about itself.
    identity: Option<Identity>,
    /// True if that report is still valid.
    is_current: bool,
    is_asked: bool,
    /// Time of the first report of the present role, without a break since.
    role_from: Duration,
    role_since_ms: u64,
    was_primary: bool,
}

/// The primary and its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Primary {
    member: String,
    system_identifier: Option<String>,
    epoch: u64,
}

/// A member that writes.
struct Writer<'a> {
    member: &'a str,
    identity: &'a Identity,
    /// Time of the first report of this role, without a break since.
    since: Duration,
}

/// Topology of one database over time.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    known: BTreeMap<String, Known>,
    primary: Option<Primary>,
    primary_changes: u64,
    history: LsnHistory,
    split_brain: Vec<String>,
}

impl Topology {
    /// Adds a reading of every member, and returns the new state.
    pub fn observe(&mut self, reports: &[Report], now: Now) -> TopologyState {
        let mut news = Vec::new();
        self.known.retain(|member, _| reports.iter().any(|report| report.member == *member));
        for report in reports {
            news.extend(self.record_report(report, now));
        }
        news.extend(self.update_primary());
        let split_brain = self.writing_at_once();
        if split_brain != self.split_brain {
            let members = split_brain.clone();
            news.push(if members.is_empty() { News::SplitBrainEnded } else { News::SplitBrain { members } });
            self.split_brain.clone_from(&split_brain);
        }
        TopologyState {
            is_split_known: !split_brain.is_empty() || !self.may_write_at_once(),
            members: reports.iter().map(|report| self.member(&report.member)).collect(),
            primary: self.writer().map(|writer| writer.member.to_owned()),
            split_brain,
            clusters: self.clusters(),
            primary_changes: self.primary_changes,
            news,
        }
    }

    fn record_report(&mut self, report: &Report, now: Now) -> Option<News> {
        let Report { member, up, identity, is_asked } = report;
        let (role_from, role_since_ms) = (now.monotonic, now.wall_ms);
        let fresh = Known { up: *up, identity: None, is_current: false, is_asked: false, role_from, role_since_ms, was_primary: false };
        let known = self.known.entry(member.clone()).or_insert(fresh);
        known.up = *up;
        known.is_current = *up && identity.is_some();
        known.is_asked = *is_asked;
        let identity = identity.as_ref().filter(|_| *up)?;
        let before = known.identity.replace(identity.clone());
        let is_replaced = before.as_ref().is_some_and(|before| differ(before, identity));
        if is_replaced || before.as_ref().is_none_or(|before| before.role() != identity.role()) {
            (known.role_from, known.role_since_ms) = (identity.at, now.wall_ms);
        }
        // An address that moves with the primary leads to another server, although its role is the same.
        if before.is_some_and(|before| before.course.epoch != identity.course.epoch) {
            known.role_from = identity.at;
        }
        known.was_primary |= !identity.in_recovery;
        is_replaced.then(|| News::ClusterReplaced { member: member.clone() })
    }

    /// Members that write now, as far as known.
    fn writers(&self) -> impl Iterator<Item = Writer<'_>> {
        let current = self.known.iter().filter(|(_, known)| known.is_current);
        current.filter_map(|(member, known)| {
            let identity = known.identity.as_ref().filter(|identity| !identity.in_recovery)?;
            Some(Writer { member, identity, since: known.role_from })
        })
    }

    /// Follows the present primary, and records its position.
    fn update_primary(&mut self) -> Option<News> {
        let cluster = self.main_cluster();
        let rank = |member: &str, identity: &Identity| {
            let is_the_same = self.primary.as_ref().is_some_and(|primary| primary.member == member);
            (identity.system_identifier == cluster, identity.course.timeline, is_the_same)
        };
        let best = self.writers().max_by_key(|writer| rank(writer.member, writer.identity))?;
        let (member, identity) = (best.member.to_owned(), best.identity.clone());
        let next = Primary { member, system_identifier: identity.system_identifier.clone(), epoch: identity.course.epoch };
        let before = self.primary.replace(next.clone());
        let is_another = before.as_ref().is_some_and(|before| is_another(before, &next));
        if is_another {
            self.history = LsnHistory::default();
        }
        if let Some(lsn) = identity.lsn {
            self.history.push(identity.course, identity.at, lsn);
        }
        let before = before.filter(|_| is_another)?;
        self.primary_changes += 1;
        Some(News::PrimaryChanged { from: before.member, to: next.member })
    }

    /// Cluster of most servers; among equals, the one that was followed before.
    fn main_cluster(&self) -> Option<String> {
        let mut servers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for identity in self.current() {
            if let Some(cluster) = &identity.system_identifier {
                servers.entry(cluster).or_default().insert(identity.course.epoch);
            }
        }
        let followed = self.primary.as_ref().and_then(|primary| primary.system_identifier.as_deref());
        let best = servers.into_iter().max_by_key(|(cluster, servers)| (servers.len(), followed == Some(*cluster)));
        best.map(|(cluster, _)| cluster.to_owned())
    }

    /// Returns true if two members write to one cluster, and it is not known whether at the same time: one may have followed the other.
    /// After a start of the agent, the second reading of one of them decides.
    fn may_write_at_once(&self) -> bool {
        let writers: Vec<&Identity> = self.writers().map(|writer| writer.identity).collect();
        writers.iter().enumerate().any(|(place, one)| writers[place + 1..].iter().any(|other| are_two_of_one_cluster(one, other)))
    }

    /// Members whose times of writing to one cluster overlap.
    fn writing_at_once(&self) -> Vec<String> {
        let overlap = |one: &Writer<'_>, other: &Writer<'_>| {
            are_two_of_one_cluster(one.identity, other.identity) && one.identity.at >= other.since && other.identity.at >= one.since
        };
        let split = self.writers().filter(|one| self.writers().any(|other| other.member != one.member && overlap(one, &other)));
        split.map(|writer| writer.member.to_owned()).collect()
    }

    /// The primary, while it is known to write.
    fn writer(&self) -> Option<Writer<'_>> {
        let primary = self.primary.as_ref()?;
        self.writers().find(|writer| writer.member == primary.member)
    }

    /// Identities that are still valid.
    fn current(&self) -> impl Iterator<Item = &Identity> {
        self.known.values().filter(|known| known.is_current).filter_map(|known| known.identity.as_ref())
    }

    fn clusters(&self) -> usize {
        self.current().filter_map(|identity| identity.system_identifier.as_deref()).collect::<BTreeSet<_>>().len()
    }

    fn member(&self, name: &str) -> Member {
        let known = self.known.get(name);
        let identity = known.and_then(|known| known.identity.as_ref());
        let read = identity.filter(|_| known.is_some_and(|known| known.is_current && known.is_asked));
        let lag_of = |lsn: fn(&Identity) -> Option<u64>| read.map(|identity| self.lag(name, identity, lsn(identity))).unwrap_or_default();
        Member {
            name: name.to_owned(),
            role: identity.map_or(Role::Unknown, Identity::role),
            up: known.is_some_and(|known| known.up),
            is_asked: known.is_some_and(|known| known.is_asked),
            timeline: identity.map(|identity| identity.course.timeline),
            system_identifier: identity.and_then(|identity| identity.system_identifier.clone()),
            lsn: identity.and_then(|identity| identity.lsn),
            lag: lag_of(|identity| identity.lsn),
            shipping: lag_of(|identity| identity.received_lsn),
            role_since_ms: known.filter(|_| identity.is_some()).map(|known| known.role_since_ms),
            was_primary: known.is_some_and(|known| known.was_primary),
            epoch: identity.map(|identity| identity.course.epoch),
        }
    }

    /// Lag of a standby at `lsn` behind the primary, at the time of the standby's report. While the primary is away, the lag stays as at
    /// its last reading, because no new WAL exists. For a primary that was not asked there is no lag, because it may write.
    fn lag(&self, name: &str, identity: &Identity, lsn: Option<u64>) -> Lag {
        let primary = self.primary.as_ref().filter(|primary| primary.member != name && identity.in_recovery);
        let leader = primary.and_then(|primary| self.known.get(&primary.member)).filter(|leader| leader.is_asked);
        let leader = leader.and_then(|leader| leader.identity.as_ref());
        let (Some(leader), Some(lsn), Some(last_at)) = (leader, lsn, self.history.last_at()) else { return Lag::default() };
        let is_elsewhere = differ(leader, identity);
        // A standby on another timeline and beyond the primary's position has diverged; it is not ahead.
        let went_another_way = identity.course.timeline != leader.course.timeline && leader.lsn.is_none_or(|last| lsn > last);
        if is_elsewhere || went_another_way {
            return Lag::default();
        }
        let at = if self.writer().is_some() { identity.at } else { identity.at.min(last_at) };
        let bytes = self.history.lsn_at(at).map(|there| there.saturating_sub(lsn));
        Lag { bytes, time: self.history.lag(lsn, at) }
    }
}

fn is_another(before: &Primary, next: &Primary) -> bool {
    let is_replaced =
        before.system_identifier.is_some() && next.system_identifier.is_some() && before.system_identifier != next.system_identifier;
    (before.member != next.member && before.epoch != next.epoch) || is_replaced
}
