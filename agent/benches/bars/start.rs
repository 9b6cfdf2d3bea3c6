//! From the start of the process to the first facts that it serves, as after an upgrade of the machine: plugins are compiled already.

use super::agent::{Place, Servers};
use super::table::{Table, Times};

const STARTS: usize = 5;
const BAR_SECONDS: f64 = 1.0;

pub async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let place = Place::new(&servers).await?;
    let first = place.start()?;
    place.settle().await?;
    first.stop().await?;
    let mut times = Times::default();
    for _ in 0..STARTS {
        let started = async {
            let process = place.start()?;
            place.wait("/metrics", |text| text.windows(SERVED.len()).any(|window| window == SERVED)).await?;
            anyhow::Ok(process)
        };
        let process = times.take(started).await?;
        place.settle().await?;
        process.stop().await?;
    }
    let time = times.median();
    table.plain("start to first served snapshot, warm, median of 5", "<= 1 s", format!("{time:.0?}"), time.as_secs_f64() <= BAR_SECONDS);
    Ok(())
}

/// A text that `/metrics` has from the first snapshot of the server on.
const SERVED: &[u8] = b"\npharos_postgres_up{";
