//! The CPU time and memory of processes, from /proc.

use std::time::Duration;

use anyhow::Context;
use pharos::demo::postgres::PostgresServer;
use procfs::process::{Process, Stat};

/// CPU time of one process, user and system time together.
pub fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = stat(pid)?;
    Ok(ticks(stat.utime + stat.stime))
}

/// CPU time of a server: the postmaster, its processes that run, and those that ended.
pub fn cpu_of_server(server: &PostgresServer) -> anyhow::Result<Duration> {
    let postmaster = stat(server.postmaster_pid().context("the server ended")?)?;
    let ended = u64::try_from(postmaster.cutime + postmaster.cstime).unwrap_or_default();
    let running = server.pids().into_iter().filter(|pid| i32::try_from(*pid) != Ok(postmaster.pid)).filter_map(|pid| stat(pid).ok());
    let running: u64 = running.map(|stat| stat.utime + stat.stime).sum();
    Ok(ticks(postmaster.utime + postmaster.stime + ended + running))
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    Ok(Process::new(i32::try_from(pid)?)?.status()?.vmrss.unwrap_or_default() * 1_024)
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    Ok(Process::new(i32::try_from(pid)?)?.stat()?)
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64)
}
