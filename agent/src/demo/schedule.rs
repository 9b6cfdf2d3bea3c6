//! When each fault of a demo begins and ends.
//!
//! A run is cut into rounds, and each round causes every fault once, with time after it for the alert to resolve.

use std::time::Duration;

use pharos_model::error_chain::chain;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::faults::Fault;

/// The longest fault. A longer one would show nothing new.
const ROUND_MAX: Duration = Duration::from_secs(120);

/// Shares of a round: a calm start, for the first snapshots, and a calm end, for the last alert to resolve.
const LEAD: f64 = 0.13;
const TAIL: f64 = 0.15;
/// The share of its slot for which a fault lasts.
const ACTIVE: f64 = 0.6;

/// The begin and end of one fault, counted from the begin of its round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    pub begin: Duration,
    pub end: Duration,
}

/// The number and the length of rounds through all faults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    round: Duration,
    /// The number of rounds. `None` repeats them for ever.
    rounds: Option<u32>,
}

impl Schedule {
    /// Fills `total` with whole rounds.
    pub fn over(total: Duration) -> Self {
        let rounds = total.div_duration_f64(ROUND_MAX).ceil().max(1.0);
        Self { round: total.div_f64(rounds), rounds: Some(rounds as u32) }
    }

    /// Repeats rounds until the demo is stopped.
    pub fn endless() -> Self {
        Self { round: ROUND_MAX, rounds: None }
    }

    /// The slots of one round, one for each fault.
    pub fn slots(self, faults: usize) -> impl Iterator<Item = Slot> {
        let slot = self.round.mul_f64((1.0 - LEAD - TAIL) / faults as f64);
        (0..faults).map(move |number| {
            let begin = self.round.mul_f64(LEAD) + slot.mul_f64(number as f64);
            Slot { begin, end: begin + slot.mul_f64(ACTIVE) }
        })
    }

    /// Causes and heals the faults in turn until the schedule or `stop` ends, and reports each in `lines`. A stop heals nothing, since the
    /// servers end as well.
    pub async fn run(self, faults: &[Fault], lines: &mpsc::Sender<String>, stop: &CancellationToken) {
        let start = Instant::now();
        for round in 0..self.rounds.unwrap_or(u32::MAX) {
            let begin = start + self.round * round;
            select! {
                () = stop.cancelled() => return,
                () = self.run_round(begin, faults, lines) => {}
            }
        }
    }

    async fn run_round(self, begin: Instant, faults: &[Fault], lines: &mpsc::Sender<String>) {
        for (fault, slot) in faults.iter().zip(self.slots(faults.len())) {
            sleep_until(begin + slot.begin).await;
            send(lines, format!("cause  {}: {}", fault.name(), fault.description())).await;
            if let Err(error) = fault.cause().await {
                send(lines, format!("failed causing {}: {}", fault.name(), chain(&error))).await;
            }
            sleep_until(begin + slot.end).await;
            // Printed before it happens: healing may take longer than the agent needs to see its effect.
            send(lines, format!("heal   {}", fault.name())).await;
            // A step that fails does not end the demo; the failure is printed.
            if let Err(error) = fault.heal().await {
                send(lines, format!("failed healing {}: {}", fault.name(), chain(&error))).await;
            }
        }
        sleep_until(begin + self.round).await;
    }
}

async fn send(lines: &mpsc::Sender<String>, line: String) {
    // If nothing reads the lines any more, the faults still run.
    let _ = lines.send(line).await;
}
