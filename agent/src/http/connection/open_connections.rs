//! The open connections of the API, and the choice of the connection that is closed to make room.
//!
//! When all places are taken, one connection is closed for the next client. An answer in progress is safe while its client reads fast
//! enough. Only a few answers of each address are safe: otherwise one stranger who reads many answers slowly would shut all others out. Of
//! the other connections, one of the address with most of them is closed, so that clients of other addresses have time to send their
//! requests.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pace::Standing;
use super::progress::Progress;
use crate::lifecycle::descriptors_max;
use crate::telemetry::metrics::SelfMetrics;

/// Most open connections, if the limit of open files allows them. At most a quarter of that limit is used; the rest is for everything else.
const CONNECTIONS_MAX: usize = 64;
/// Each address may have safe answers on an eighth of all places.
const SAFE_SHARE: usize = 8;

/// All open connections, the oldest first.
pub(super) struct OpenConnections {
    next: u64,
    places: BTreeMap<u64, Arc<Place>>,
    max: usize,
    /// Whether clients have been refused because all places are taken. Logged once until there is room again.
    is_full: bool,
    /// Whether the operating system refused the last connection. Only the first of several refusals in a row is logged.
    is_refused: bool,
    metrics: Arc<SelfMetrics>,
}

impl OpenConnections {
    pub(super) fn new(metrics: Arc<SelfMetrics>) -> Self {
        for reason in EndReason::ALL {
            metrics.add("pharos_http_connections_ended_total", &[reason.as_str()], 0.0);
        }
        let max = usize::try_from(descriptors_max() / 4).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX);
        let connections = Self { next: 0, places: BTreeMap::new(), max, is_full: false, is_refused: false, metrics };
        connections.publish();
        connections
    }

    /// Gives a new connection a place and closes another connection for it if necessary. `None` while all places have safe answers.
    pub(super) fn admit(&mut self, peer: SocketAddr) -> Option<(u64, Arc<Place>)> {
        self.is_refused = false;
        if self.places.len() >= self.max && !self.make_room() {
            self.count(EndReason::NoRoom);
            if !std::mem::replace(&mut self.is_full, true) {
                warn!(connections = self.places.len(), "all connections of the API are being answered; others are turned away meanwhile");
            }
            return None;
        }
        let place = Arc::new(Place { peer: neighbour(peer.ip()), leave: CancellationToken::new(), progress: Progress::new() });
        self.next += 1;
        self.places.insert(self.next, Arc::clone(&place));
        self.publish();
        Some((self.next, place))
    }

    /// Closes one connection that is not safe. Returns false if there is none.
    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        let held = self.places.iter().map(|(id, place)| Held { id: *id, peer: place.peer, standing: place.progress.standing(now) });
        let Some(place) = choose_to_end(held.collect(), self.max.div_ceil(SAFE_SHARE)).and_then(|id| self.places.remove(&id)) else {
            return false;
        };
        place.leave.cancel();
        self.count(EndReason::MadeRoom);
        true
    }

    /// Removes a connection that ended. `None`: its task panicked, so its number is not known.
    pub(super) fn remove(&mut self, id: Option<u64>) {
        match id {
            Some(id) => drop(self.places.remove(&id)),
            None => self.places.retain(|_, place| Arc::strong_count(place) > 1),
        }
        self.publish();
        if self.is_full && self.places.len() < self.max {
            self.is_full = false;
            info!("the API has room for connections again");
        }
    }

    /// Counts that the agent's own operating system refused a connection: descriptors or memory ran out.
    pub(super) fn refused(&mut self, err: &io::Error) {
        self.count(EndReason::OwnLimit);
        self.metrics.add("pharos_own_limit_total", &["http"], 1.0);
        self.make_room();
        if !std::mem::replace(&mut self.is_refused, true) {
            let limit = descriptors_max();
            warn!(error = %err, limit, "the agent's own system gives it no connection; its limit of open files is {limit}");
        }
    }

    fn count(&self, reason: EndReason) {
        self.metrics.add("pharos_http_connections_ended_total", &[reason.as_str()], 1.0);
    }

    fn publish(&self) {
        self.metrics.set("pharos_http_connections", &[], self.places.len() as f64);
    }
}

/// Why a connection ended, or never began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndReason {
    /// The connection was closed for another one.
    MadeRoom,
    /// All places had answers that are safe.
    NoRoom,
    /// The agent's own operating system refused the connection.
    OwnLimit,
}

impl EndReason {
    const ALL: [Self; 3] = [Self::MadeRoom, Self::NoRoom, Self::OwnLimit];

    /// The value of the label `reason`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::MadeRoom => "made-room",
            Self::NoRoom => "no-room",
            Self::OwnLimit => "own-limit",
        }
    }
}

/// A connection and its place among all others.
pub(super) struct Place {
    peer: IpAddr,
    /// Cancelled when the connection has to make room.
    pub leave: CancellationToken,
    /// Progress of its answer.
    pub progress: Arc<Progress>,
}

/// The address under which a client is counted. All loopback addresses count as one, and so do all addresses of one IPv6 /64 network, since
/// a single host may use them all.
fn neighbour(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// The facts about a connection that decide whether it makes room.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: u64,
    peer: IpAddr,
    standing: Standing,
}

/// Chooses the connection that makes room. `safe_max` answers of each address are safe. `None` if all connections are safe.
fn choose_to_end(mut held: Vec<Held>, safe_max: usize) -> Option<u64> {
    held.sort_by_key(|held| (held.standing.since, held.id));
    let mut safe: BTreeMap<IpAddr, usize> = BTreeMap::new();
    held.retain(|held| {
        let is_under_way = held.standing.is_answering && held.standing.keeps_up;
        let safe = safe.entry(held.peer).or_default();
        *safe += usize::from(is_under_way);
        !is_under_way || *safe > safe_max
    });
    let mut by_peer: BTreeMap<IpAddr, usize> = BTreeMap::new();
    held.iter().for_each(|held| *by_peer.entry(held.peer).or_default() += 1);
    let most = by_peer.values().copied().max()?;
    // Clients that read too slowly come first, then the oldest connections.
    let crowded = held.iter().filter(|held| by_peer[&held.peer] == most);
    crowded.min_by_key(|held| (held.standing.keeps_up, held.standing.since, held.id)).map(|held| held.id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Connections, each a second younger than the one before. The id of a connection is its index.
    fn connections(connections: impl IntoIterator<Item = (u8, bool, bool)>) -> Vec<Held> {
        let start = Instant::now();
        let held = |(id, (peer, is_answering, keeps_up)): (usize, (u8, bool, bool))| Held {
            id: id as u64,
            peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, peer)),
            standing: Standing { is_answering, keeps_up, since: start + Duration::from_secs(id as u64) },
        };
        connections.into_iter().enumerate().map(held).collect()
    }

    /// An answer whose client reads fast enough, an answer whose client does not, and a connection without a request.
    const fn answer(peer: u8) -> (u8, bool, bool) {
        (peer, true, true)
    }
    const fn slow(peer: u8) -> (u8, bool, bool) {
        (peer, true, false)
    }
    const fn idle(peer: u8) -> (u8, bool, bool) {
        (peer, false, true)
    }

    #[test]
    fn the_oldest_without_a_request_makes_room_before_answers_under_way() {
        assert_eq!(choose_to_end(connections([answer(1), idle(1), idle(1), answer(1)]), 2), Some(1));
        assert_eq!(choose_to_end(connections([answer(1), answer(2)]), 1), None);
    }

    #[test]
    fn an_answer_that_is_taken_too_slowly_makes_room_first_of_its_address() {
        assert_eq!(choose_to_end(connections([idle(1), answer(1), slow(1)]), 2), Some(2));
    }

    #[test]
    fn the_address_with_most_connections_that_are_not_safe_loses_one() {
        assert_eq!(choose_to_end(connections([idle(1), idle(2), idle(2), slow(3)]), 2), Some(1));
        // Four answers that keep up, of which two are safe.
        assert_eq!(choose_to_end(connections([idle(1), answer(2), answer(2), answer(2), answer(2)]), 2), Some(3));
    }

    #[test]
    fn one_address_cannot_hold_all_places_whatever_its_clients_do() {
        for connection in [answer(1), slow(1), idle(1)] {
            let mut held = vec![connection; 63];
            held.push(idle(2));
            let lost = choose_to_end(connections(held), 8).unwrap();
            assert!(lost < 63, "{connection:?} shut another address out");
        }
        // A client of the same address has time to ask: all that are not safe leave before.
        let mut held = vec![answer(1); 63];
        held.push(idle(1));
        assert_eq!(choose_to_end(connections(held), 8), Some(8));
    }

    #[test]
    fn addresses_that_one_host_may_choose_among_are_one() {
        let same = |one: &str, other: &str| neighbour(one.parse().unwrap()) == neighbour(other.parse().unwrap());
        assert!(same("127.0.0.1", "127.8.9.10") && same("127.0.0.1", "::1") && same("127.0.0.1", "::ffff:127.0.0.2"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:a:b:c:d") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
