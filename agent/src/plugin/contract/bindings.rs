//! Code that `bindgen!` makes of `wit/`, and nothing else. These types stay inside `plugin/`.

/// Exports of every plugin, whatever its world: `describe` and `init`.
pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package pharos:host;
            world plugin {
                export pharos:plugin/plugin@0.1.0;
            }
        ",
        world: "pharos:host/plugin",
        exports: { default: async },
        with: {
            "pharos:plugin/types": crate::plugin::contract::bindings::alert_rule::pharos::plugin::types,
        },
    });
}

/// The world `alert-rule-plugin`, and the imports that every world shares.
pub(crate) mod alert_rule {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "alert-rule-plugin",
        imports: {
            "pharos:plugin/state": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "pharos:plugin/snapshots.snapshot": crate::plugin::contract::handle::SnapshotHandle,
            "pharos:plugin/snapshots.table": crate::plugin::contract::handle::TableHandle,
        },
    });
}

/// The world `notifier-plugin`.
pub(crate) mod notifier {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "notifier-plugin",
        imports: {
            "pharos:plugin/egress": async | trappable,
            "pharos:plugin/mail": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "pharos:plugin/types": super::alert_rule::pharos::plugin::types,
            "pharos:plugin/log": super::alert_rule::pharos::plugin::log,
            "pharos:plugin/telemetry": super::alert_rule::pharos::plugin::telemetry,
            "pharos:plugin/config": super::alert_rule::pharos::plugin::config,
            "pharos:plugin/state": super::alert_rule::pharos::plugin::state,
        },
    });
}
