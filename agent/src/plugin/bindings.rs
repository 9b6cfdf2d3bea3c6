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
            "pharos:plugin/snapshots.snapshot": crate::plugin::snapshots::SnapshotHandle,
            "pharos:plugin/snapshots.table": crate::plugin::snapshots::TableHandle,
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
            "pharos:plugin/types": crate::plugin::bindings::alert_rule::pharos::plugin::types,
            "pharos:plugin/log": crate::plugin::bindings::alert_rule::pharos::plugin::log,
            "pharos:plugin/telemetry": crate::plugin::bindings::alert_rule::pharos::plugin::telemetry,
            "pharos:plugin/config": crate::plugin::bindings::alert_rule::pharos::plugin::config,
            "pharos:plugin/state": crate::plugin::bindings::alert_rule::pharos::plugin::state,
        },
    });
}
