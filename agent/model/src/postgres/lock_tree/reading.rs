//! Decides when not to read the lock table. A read locks every partition of it, for which other sessions may queue.

use crate::postgres::active_sessions::CROWD;

/// Most runs that are skipped in a row. The next run reads and shows the progress.
const LEFT_OUT_MAX: u32 = 11;

/// Decision for each run.
#[derive(Debug, Default)]
pub struct LockReading {
    /// Number of runs still to skip.
    left: u32,
    /// Number of runs to skip after the next read, if sessions still queue.
    pause: u32,
}

impl LockReading {
    /// Returns true if this run may read, when `lock_manager_waits` sessions queue for the lock manager. A crowd stops reads at once, with
    /// growing pauses between two reads. Without a crowd every run reads.
    pub fn may_read(&mut self, lock_manager_waits: u64) -> bool {
        if lock_manager_waits < CROWD {
            *self = Self::default();
            return true;
        }
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let first = self.pause == 0;
        self.pause = (self.pause * 2).clamp(1, LEFT_OUT_MAX);
        self.left = self.pause;
        !first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each character is a run: how many sessions queue. `r` is a run that read, `.` a run that did not.
    fn check(crowds: &str, expected: &str) {
        let mut reading = LockReading::default();
        let run = |crowd: char| if reading.may_read(u64::from(crowd.to_digit(10).unwrap())) { 'r' } else { '.' };
        assert_eq!(crowds.chars().map(run).collect::<String>(), expected, "{crowds}");
    }

    #[test]
    fn without_a_crowd_every_run_reads() {
        check("0012012", "rrrrrrr");
    }

    #[test]
    fn a_crowd_stops_reads_for_longer_and_longer_and_never_for_ever() {
        check("033333333333333333333", "r..r..r....r........r");
        let mut reading = LockReading::default();
        let reads = (0..1_000).filter(|_| reading.may_read(9)).count();
        assert!(reads >= 1_000 / (LEFT_OUT_MAX as usize + 1) - 1, "{reads}");
    }

    #[test]
    fn every_run_reads_after_the_crowd() {
        check("33333030", "..r..r.r");
    }
}
