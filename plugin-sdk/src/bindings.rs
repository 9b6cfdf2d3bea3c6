//! Bindings that are generated from `wit/`: first the interfaces of every plugin, then those that each world adds.
//!
//! Both worlds export the interface `plugin`, and one crate can bind an interface only once. The worlds are therefore bound in slices,
//! which the export macros join again. The linker drops the imports that a plugin does not call.

pub mod plugin {
    wit_bindgen::generate!({
        inline: "
            package pharos:plugin-sdk;
            world plugin {
                import pharos:plugin/log@0.1.0;
                import pharos:plugin/telemetry@0.1.0;
                import pharos:plugin/config@0.1.0;
                import pharos:plugin/state@0.1.0;
                import pharos:plugin/snapshots@0.1.0;
                import pharos:plugin/egress@0.1.0;
                import pharos:plugin/mail@0.1.0;
                export pharos:plugin/plugin@0.1.0;
            }
        ",
        path: "../wit",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "pharos:plugin/types@0.1.0/severity": [#[derive(serde::Deserialize)] #[serde(rename_all = "lowercase")]],
            "pharos:plugin/snapshots@0.1.0/reading": [#[derive(serde::Deserialize)] #[serde(rename_all = "lowercase")]],
        },
        pub_export_macro: true,
    });
}

pub mod alert_rule {
    wit_bindgen::generate!({
        inline: "
            package pharos:plugin-sdk;
            world alert-rule {
                export pharos:plugin/alert-rule@0.1.0;
            }
        ",
        path: "../wit",
        with: {
            "pharos:plugin/types@0.1.0": crate::bindings::plugin::pharos::plugin::types,
            "pharos:plugin/snapshots@0.1.0": crate::bindings::plugin::pharos::plugin::snapshots,
            "pharos:plugin/alert-rule@0.1.0": generate,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
    });
}

pub mod notifier {
    wit_bindgen::generate!({
        inline: "
            package pharos:plugin-sdk;
            world notifier {
                export pharos:plugin/notifier@0.1.0;
            }
        ",
        path: "../wit",
        with: {
            "pharos:plugin/types@0.1.0": crate::bindings::plugin::pharos::plugin::types,
            "pharos:plugin/notifier@0.1.0": generate,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
    });
}
