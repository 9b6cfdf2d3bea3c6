//! The zoo: one guest that can be any bad plugin. Tests write its orders into its bytes (see `orders`), so that a test names what it
//! wants: `id=looper; armed=loop`.
//!
//! Orders: `id`, `version`, `summary`, `schema`, `wants`; a deed at `start`, `describe`, `init`, `rules` and `evaluate`; a deed at `armed`,
//! done only while the watched Redis holds a key, so that a test can let a plugin misbehave and work again; `armed-for`, how the
//! subjects begin for which it is; `finds`, the rules it finds something for; `folder`, `tcp` and `udp`, what is there to be reached
//! (`outside`).

mod deeds;
mod orders;
#[cfg(feature = "outside")]
mod outside;
mod rants;
mod schemas;

#[cfg(not(feature = "notifier"))]
mod judge;
#[cfg(feature = "notifier")]
mod notifier;

use pharos_plugin::Failure;
use pharos_plugin::export::plugin;
use plugin::exports::pharos::plugin::plugin::{Description, Guest};

struct Zoo;

impl Guest for Zoo {
    fn describe() -> Description {
        deeds::act(&orders::text("describe", ""));
        Description {
            id: rants::or_text("id", "zoo"),
            version: orders::text("version", "1.0.0"),
            summary: rants::or_text("summary", "a guest of the tests"),
            settings_schema: schemas::ordered(),
            wants: rants::wants(),
        }
    }

    fn init() -> Result<(), Failure> {
        deeds::act(&orders::text("init", ""));
        if let Some(rant) = rants::ordered("init") {
            return Err(Failure::InvalidConfig(rant));
        }
        Ok(())
    }
}

/// Runs while the component is instantiated, before any of its exports is called.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    deeds::act(&orders::text("start", ""));
}

plugin::export! { Zoo with_types_in plugin }
