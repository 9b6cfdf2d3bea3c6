//! Lock waits as a forest: which session to end, and how many sessions that would free.
//!
//! `pg_blocking_pids` returns for each waiter the sessions that it waits for directly, in queue order too. Two special cases: pid 0 stands
//! for any prepared transaction, and a parallel query is one waiter under its leader's pid. A deadlock that the server has not resolved
//! yet is a circle. It becomes a root of its own, so that every walk ends.

mod reading;
mod remedy;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::reading::LockReading;
pub use self::remedy::{Backend, Lock, LockSession, Remedy, RemedyKind, remedy};

/// Holder of a lock that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    /// Prepared transactions, one or several: the server does not report which.
    Prepared,
    /// The session with this process id.
    Session(i32),
}

impl From<i32> for Blocker {
    fn from(pid: i32) -> Self {
        if pid == 0 { Self::Prepared } else { Self::Session(pid) }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepared => f.write_str("prepared transaction"),
            Self::Session(pid) => write!(f, "{pid}"),
        }
    }
}

/// Waiting session, from `pg_stat_activity` and `pg_blocking_pids`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Process id of the waiter.
    pub pid: i32,
    /// Process id of the leader, for a parallel worker.
    pub leader_pid: Option<i32>,
    /// Process ids from `pg_blocking_pids`.
    pub blocked_by: Vec<i32>,
}

/// Waiting sessions, and the sessions at the end of each chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockForest {
    /// Roots, those with the most victims first.
    pub roots: Vec<Root>,
    /// Waiters by pid. A parallel worker counts as its leader.
    pub waiters: Vec<Waiter>,
}

/// A blocker that waits for no other session, or a circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The blocker; for a circle, its lowest pid.
    pub blocker: Blocker,
    /// Number of sessions that wait for the root, directly or not. A session that waits for two roots counts under both.
    pub victims: usize,
    /// Length of the longest chain of waiters behind the root.
    pub depth: usize,
    /// All pids of a deadlock; empty for an ordinary root.
    pub deadlock: Vec<i32>,
}

/// Waiting session in the forest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Process id of the waiter.
    pub pid: i32,
    /// Direct blockers.
    pub blocked_by: Vec<Blocker>,
    /// All roots that must end before this session can continue.
    pub roots: Vec<Blocker>,
    /// Number of sessions on the longest path to a root: 1 waits for the root itself. 0 is in a circle that waits for no other session.
    pub depth: usize,
}

/// Edges from each session to others.
type Edges = BTreeMap<Blocker, BTreeSet<Blocker>>;

/// Position of a session: the length of the longest path to each of its roots.
type Place = BTreeMap<Blocker, usize>;

impl LockForest {
    /// Builds the forest from all waiting sessions.
    pub fn new(waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let blocked_by = edges(waiting);
        let mut places: BTreeMap<Blocker, Place> = BTreeMap::new();
        let mut deadlocks: BTreeMap<Blocker, Vec<i32>> = BTreeMap::new();
        for root in blocked_by.values().flatten().filter(|blocker| !blocked_by.contains_key(*blocker)) {
            places.insert(*root, Place::from([(*root, 0)]));
        }
        let mut rest: BTreeSet<Blocker> = blocked_by.keys().copied().collect();
        while !rest.is_empty() {
            place_all_that_can_be(&blocked_by, &mut places, &mut rest);
            let circle = closed_circle(&blocked_by, &rest);
            if let Some(root) = circle.first() {
                let mut place = place_behind(circle.iter().flat_map(|member| &blocked_by[member]), &places);
                place.insert(*root, 0);
                deadlocks.insert(*root, circle.iter().filter_map(pid).collect());
                for member in &circle {
                    rest.remove(member);
                    places.insert(*member, place.clone());
                }
            }
        }
        Self::from_places(&blocked_by, &places, deadlocks)
    }

    /// Root with the most victims, among those that must end before this session can continue.
    pub fn gravest_root(&self, waiter: &Waiter) -> Option<&Root> {
        self.roots.iter().find(|root| waiter.roots.contains(&root.blocker))
    }

    /// Waiter with this process id; `None` if the session does not wait.
    pub fn waiter(&self, pid: i32) -> Option<&Waiter> {
        self.waiters.binary_search_by_key(&pid, |waiter| waiter.pid).ok().map(|index| &self.waiters[index])
    }

    fn from_places(blocked_by: &Edges, places: &BTreeMap<Blocker, Place>, mut deadlocks: BTreeMap<Blocker, Vec<i32>>) -> Self {
        let mut roots: BTreeMap<Blocker, Root> = BTreeMap::new();
        for (blocker, place) in places {
            for (root, depth) in place {
                let new = || Root { blocker: *root, victims: 0, depth: 0, deadlock: deadlocks.remove(root).unwrap_or_default() };
                let entry = roots.entry(*root).or_insert_with(new);
                entry.victims += usize::from(blocker != root);
                entry.depth = entry.depth.max(*depth);
            }
        }
        let waiter = |(blocker, direct): (&Blocker, &BTreeSet<Blocker>)| {
            let place = places.get(blocker)?;
            let depth = place.values().max().copied().unwrap_or_default();
            let (roots, blocked_by) = (place.keys().copied().collect(), direct.iter().copied().collect());
            Some(Waiter { pid: pid(blocker)?, blocked_by, roots, depth })
        };
        let mut roots: Vec<Root> = roots.into_values().collect();
        roots.sort_by_key(|root| (std::cmp::Reverse(root.victims), root.blocker));
        Self { roots, waiters: blocked_by.iter().filter_map(waiter).collect() }
    }
}

fn pid(blocker: &Blocker) -> Option<i32> {
    match blocker {
        Blocker::Session(pid) => Some(*pid),
        Blocker::Prepared => None,
    }
}

/// Blockers of each waiter, with workers counted as their leader. A query that only waits for itself does not wait.
fn edges(waiting: impl IntoIterator<Item = Waiting>) -> Edges {
    let waiting: Vec<Waiting> = waiting.into_iter().collect();
    let leaders: BTreeMap<i32, i32> = waiting.iter().filter_map(|waiting| Some((waiting.pid, waiting.leader_pid?))).collect();
    let of_query = |pid: i32| Blocker::from(leaders.get(&pid).copied().unwrap_or(pid));
    let mut edges = Edges::new();
    for Waiting { pid, blocked_by, .. } in &waiting {
        let waiter = of_query(*pid);
        let blockers: BTreeSet<Blocker> = blocked_by.iter().map(|pid| of_query(*pid)).filter(|blocker| *blocker != waiter).collect();
        if !blockers.is_empty() {
            edges.entry(waiter).or_default().extend(blockers);
        }
    }
    // A prepared transaction never waits for locks.
    edges.remove(&Blocker::Prepared);
    edges
}

/// Places every waiter whose blockers are all placed. The rest are circles and the sessions that wait for them.
fn place_all_that_can_be(blocked_by: &Edges, places: &mut BTreeMap<Blocker, Place>, rest: &mut BTreeSet<Blocker>) {
    let mut waiters_of: BTreeMap<Blocker, Vec<Blocker>> = BTreeMap::new();
    let mut missing: BTreeMap<Blocker, usize> = BTreeMap::new();
    for waiter in rest.iter() {
        let unplaced = blocked_by[waiter].iter().filter(|blocker| !places.contains_key(*blocker));
        missing.insert(*waiter, unplaced.clone().count());
        for blocker in unplaced {
            waiters_of.entry(*blocker).or_default().push(*waiter);
        }
    }
    let mut ready: Vec<Blocker> = missing.iter().filter(|(_, count)| **count == 0).map(|(waiter, _)| *waiter).collect();
    while let Some(waiter) = ready.pop() {
        places.insert(waiter, place_behind(&blocked_by[&waiter], places));
        rest.remove(&waiter);
        for behind in waiters_of.remove(&waiter).unwrap_or_default() {
            if let Some(count) = missing.get_mut(&behind) {
                *count -= 1;
                if *count == 0 {
                    ready.push(behind);
                }
            }
        }
    }
}

/// Position behind all of these blockers, as far as they are placed.
fn place_behind<'a>(blockers: impl IntoIterator<Item = &'a Blocker>, places: &BTreeMap<Blocker, Place>) -> Place {
    let mut behind = Place::default();
    for place in blockers.into_iter().filter_map(|blocker| places.get(blocker)) {
        for (root, depth) in place {
            let deepest = behind.entry(*root).or_default();
            *deepest = (*deepest).max(depth + 1);
        }
    }
    behind
}

/// Sessions of the rest that all wait for each other and for no other session of the rest. Every session of the rest waits for another one
/// in it, so such a circle exists.
fn closed_circle(blocked_by: &Edges, rest: &BTreeSet<Blocker>) -> BTreeSet<Blocker> {
    let mut waited_for_by = Edges::new();
    for (waiter, blockers) in blocked_by {
        for blocker in blockers {
            waited_for_by.entry(*blocker).or_default().insert(*waiter);
        }
    }
    let mut at = rest.first().copied();
    while let Some(start) = at {
        let ahead = reached(blocked_by, start, rest);
        let circle = reached(&waited_for_by, start, &ahead);
        match ahead.difference(&circle).next() {
            // Some of the sessions ahead do not wait for this circle: continue there.
            Some(further) => at = Some(*further),
            None => return circle,
        }
    }
    BTreeSet::new()
}

/// All sessions that a walk from `start` reaches, within bounds.
fn reached(edges: &Edges, start: Blocker, within: &BTreeSet<Blocker>) -> BTreeSet<Blocker> {
    let mut reached = BTreeSet::from([start]);
    let mut ends = vec![start];
    while let Some(end) = ends.pop() {
        for next in edges.get(&end).into_iter().flatten() {
            if within.contains(next) && reached.insert(*next) {
                ends.push(*next);
            }
        }
    }
    reached
}
