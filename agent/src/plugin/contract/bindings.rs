//! What `bindgen!` makes of `wit/`, and nothing else. These types stay inside `plugin/`.

pub mod alert_rule {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "alert-rule-plugin",
        imports: {
            "pharos:plugin/state": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "pharos:plugin/snapshots.snapshot": crate::plugin::import::snapshots::SnapshotHandle,
            "pharos:plugin/snapshots.table": crate::plugin::import::snapshots::TableHandle,
        },
    });
}

pub mod notifier {
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
