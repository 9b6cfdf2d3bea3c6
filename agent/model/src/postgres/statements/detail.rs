//! Counters that only some statements have: planning, WAL, temporary and local blocks, block times, JIT.
//!
//! Among hundreds of statements, few write, spill or compile. So a statement has a series of a detail only once the detail has counted
//! something.

use std::ops::{AddAssign, Index, IndexMut};

use serde::{Deserialize, Serialize};

/// Counter of `pg_stat_statements` that only grows while an entry exists. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Number of times the statement was planned.
    Plans,
    /// Planning time.
    PlanSeconds,
    /// Shared blocks dirtied.
    SharedBlocksDirtied,
    /// Shared blocks written.
    SharedBlocksWritten,
    /// Local blocks found in the cache.
    LocalBlocksHit,
    /// Local blocks read.
    LocalBlocksRead,
    /// Local blocks dirtied.
    LocalBlocksDirtied,
    /// Local blocks written.
    LocalBlocksWritten,
    /// Temporary blocks read.
    TempBlocksRead,
    /// Time of reading shared and local blocks.
    BlockReadSeconds,
    /// Time of writing shared and local blocks.
    BlockWriteSeconds,
    /// Time of reading temporary blocks.
    TempBlockReadSeconds,
    /// Time of writing temporary blocks.
    TempBlockWriteSeconds,
    /// WAL records.
    WalRecords,
    /// Full page images in the WAL.
    WalFullPageImages,
    /// WAL bytes.
    WalBytes,
    /// Time of just-in-time compilation.
    JitSeconds,
}

const COUNT: usize = 17;

impl Detail {
    /// All details.
    pub const ALL: [Self; COUNT] = [
        Self::Plans,
        Self::PlanSeconds,
        Self::SharedBlocksDirtied,
        Self::SharedBlocksWritten,
        Self::LocalBlocksHit,
        Self::LocalBlocksRead,
        Self::LocalBlocksDirtied,
        Self::LocalBlocksWritten,
        Self::TempBlocksRead,
        Self::BlockReadSeconds,
        Self::BlockWriteSeconds,
        Self::TempBlockReadSeconds,
        Self::TempBlockWriteSeconds,
        Self::WalRecords,
        Self::WalFullPageImages,
        Self::WalBytes,
        Self::JitSeconds,
    ];
}

/// Numbers of all details.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Details([f64; COUNT]);

impl Index<Detail> for Details {
    type Output = f64;

    fn index(&self, detail: Detail) -> &f64 {
        &self.0[detail as usize]
    }
}

impl IndexMut<Detail> for Details {
    fn index_mut(&mut self, detail: Detail) -> &mut f64 {
        &mut self.0[detail as usize]
    }
}

impl AddAssign for Details {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl Details {
    /// Differences from an earlier read; `None` if any counter fell.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let mut gained = Self::default();
        for detail in Detail::ALL {
            gained[detail] = Some(self[detail] - earlier[detail]).filter(|gained| *gained >= 0.0)?;
        }
        Some(gained)
    }

    /// Details above zero.
    pub(super) fn counting(&self) -> DetailSet {
        let mut set = DetailSet::default();
        Detail::ALL.into_iter().filter(|detail| self[*detail] > 0.0).for_each(|detail| set.insert(detail));
        set
    }

    /// Splits the numbers: details in the set, and all others.
    pub(super) fn split(self, set: DetailSet) -> (Self, Self) {
        let (mut inside, mut outside) = (Self::default(), Self::default());
        for detail in Detail::ALL {
            let half = if set.contains(detail) { &mut inside } else { &mut outside };
            half[detail] = self[detail];
        }
        (inside, outside)
    }
}

/// Set of details.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DetailSet(u32);

impl DetailSet {
    /// The set of all details.
    pub const ALL: Self = Self(u32::MAX);

    /// Returns true if the set has this detail.
    pub fn contains(self, detail: Detail) -> bool {
        self.0 & (1 << detail as u32) != 0
    }

    /// Adds a detail to the set.
    pub fn insert(&mut self, detail: Detail) {
        self.0 |= 1 << detail as u32;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
