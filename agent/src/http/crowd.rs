//! The connections of the API that there are, and which one makes room.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answer::Progress;
use crate::lifecycle::descriptors_max;
use crate::telemetry::metrics::SelfMetrics;

/// Connections at the same time, as far as the limit of open files allows: three quarters of that are for everything else.
const CONNECTIONS_MAX: usize = 64;

/// All connections there are, the oldest first.
pub struct Crowd {
    next: u64,
    places: BTreeMap<u64, Arc<Place>>,
    max: usize,
    /// Whether visitors were turned away since there was room last.
    is_full: bool,
    is_refused: bool,
    metrics: Arc<SelfMetrics>,
}

impl Crowd {
    pub fn new(metrics: Arc<SelfMetrics>) -> Self {
        for reason in ["made-room", "no-room", "own-limit"] {
            metrics.add("pharos_http_connections_ended_total", &[reason], 0.0);
        }
        let max = usize::try_from(descriptors_max() / 4).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX);
        let crowd = Self { next: 0, places: BTreeMap::new(), max, is_full: false, is_refused: false, metrics };
        crowd.show();
        crowd
    }

    /// A place for a visitor, for which another one may have to leave; none while all of them are being answered.
    pub fn admit(&mut self, peer: SocketAddr) -> Option<(u64, Arc<Place>)> {
        self.is_refused = false;
        if self.places.len() >= self.max && !self.make_room() {
            self.count("no-room");
            if !std::mem::replace(&mut self.is_full, true) {
                warn!(connections = self.places.len(), "all connections of the API are being answered; others are turned away meanwhile");
            }
            return None;
        }
        let place = Arc::new(Place { peer: peer.ip(), leave: CancellationToken::new(), progress: Progress::new() });
        self.next += 1;
        self.places.insert(self.next, Arc::clone(&place));
        self.show();
        Some((self.next, place))
    }

    /// Ends the oldest connection without a whole request, or whose answer takes too long, of the address that has most of them.
    fn make_room(&mut self) -> bool {
        let idle = || self.places.iter().filter(|(_, place)| !place.progress.is_undisturbed());
        let mut by_peer: BTreeMap<IpAddr, usize> = BTreeMap::new();
        idle().for_each(|(_, place)| *by_peer.entry(place.peer).or_default() += 1);
        let Some(crowded) = by_peer.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer) else { return false };
        let Some(id) = idle().find(|(_, place)| place.peer == crowded).map(|(id, _)| *id) else { return false };
        if let Some(place) = self.places.remove(&id) {
            place.leave.cancel();
        }
        self.count("made-room");
        true
    }

    pub fn left(&mut self, id: Option<u64>) {
        match id {
            Some(id) => drop(self.places.remove(&id)),
            // It panicked, and took its number along.
            None => self.places.retain(|_, place| Arc::strong_count(place) > 1),
        }
        self.show();
        if self.is_full && self.places.len() < self.max {
            self.is_full = false;
            info!("the API has room for connections again");
        }
    }

    /// Our own operating system gives us no connection: it is out of descriptors or memory.
    pub fn refused(&mut self, err: &io::Error) {
        self.count("own-limit");
        self.metrics.add("pharos_own_limit_total", &["http"], 1.0);
        self.make_room();
        if !std::mem::replace(&mut self.is_refused, true) {
            let limit = descriptors_max();
            warn!(error = %err, limit, "the agent's own system gives it no connection; its limit of open files is {limit}");
        }
    }

    fn count(&self, reason: &str) {
        self.metrics.add("pharos_http_connections_ended_total", &[reason], 1.0);
    }

    fn show(&self) {
        self.metrics.set("pharos_http_connections", &[], self.places.len() as f64);
    }
}

/// One connection.
pub struct Place {
    peer: IpAddr,
    /// Cancelled when it has to make room.
    pub leave: CancellationToken,
    /// How far its answer is.
    pub progress: Arc<Progress>,
}
