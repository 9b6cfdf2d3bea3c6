//! When to leave the lock table alone: reading it takes every partition's lock, which others may be queueing for.

use crate::postgres::active_sessions::CROWD;

/// Runs that are left out in a row at most; one in so many tells how it goes on.
const LEFT_OUT_MAX: u32 = 11;

/// Decides run by run.
#[derive(Debug, Default)]
pub struct LockReading {
    /// Runs still to leave out.
    left: u32,
    /// Runs to leave out after the next read, if the crowd is still there.
    pause: u32,
}

impl LockReading {
    /// Whether to read now that so many sessions queue for the lock manager itself. A crowd is left alone at once, then for longer and
    /// longer between two reads; without one every run reads.
    pub fn is_fine(&mut self, lock_manager_waits: u64) -> bool {
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

    /// A run per character: how many queue; `r` where it read, `.` where it did not.
    fn check(crowds: &str, expected: &str) {
        let mut reading = LockReading::default();
        let run = |crowd: char| if reading.is_fine(u64::from(crowd.to_digit(10).unwrap())) { 'r' } else { '.' };
        assert_eq!(crowds.chars().map(run).collect::<String>(), expected, "{crowds}");
    }

    #[test]
    fn without_a_crowd_every_run_reads() {
        check("0012012", "rrrrrrr");
    }

    #[test]
    fn a_crowd_is_left_alone_for_longer_and_longer_and_never_for_ever() {
        check("033333333333333333333", "r..r..r....r........r");
        let mut reading = LockReading::default();
        let reads = (0..1_000).filter(|_| reading.is_fine(9)).count();
        assert!(reads >= 1_000 / (LEFT_OUT_MAX as usize + 1) - 1, "{reads}");
    }

    #[test]
    fn once_it_is_gone_every_run_reads_again() {
        check("33333030", "..r..r.r");
    }
}
