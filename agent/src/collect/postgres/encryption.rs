//! Sessions by encryption and origin (pg_stat_ssl, pg_stat_gssapi).

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};

use super::rights::{Right, query_planned};
use super::row::Fields;
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Encryption;

pub(super) fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let rows = query_planned(session, PART, Right::Stats, include_str!("sql/encryption.sql")).await?;
    let groups = rows.iter().map(Group::read).collect::<Result<Vec<_>, _>>()?;
    // A kind without sessions has the value 0.
    let kinds = ["tls", "gss", "none"].into_iter().flat_map(|encryption| ["network", "local"].map(|origin| (encryption, origin)));
    let mut sessions: BTreeMap<(&str, &str), i64> = kinds.map(|kind| (kind, 0)).collect();
    for group in &groups {
        *sessions.entry((group.encryption, group.origin)).or_default() += group.sessions;
    }
    let mut families = FamiliesBuilder::new(&["encryption", "origin"], &["pharos_postgres_sessions_encrypted"]);
    for ((encryption, origin), count) in sessions {
        families.push(&[encryption, origin], &[Some(count as f64)]);
    }
    Ok(Facts { epoch: session.epoch(), families: families.finish(), tables: vec![table(&groups)], ..Facts::default() })
}

/// Number of sessions with the same encryption and origin.
struct Group<'a> {
    encryption: &'a str,
    origin: &'a str,
    version: &'a str,
    cipher: &'a str,
    sessions: i64,
}

impl<'a> Group<'a> {
    fn read(row: &'a Row) -> Result<Self, CollectError> {
        let row = Fields::new(PART, row);
        Ok(Self {
            encryption: row.text("encryption")?,
            origin: row.text("origin")?,
            version: row.text("version")?,
            cipher: row.text("cipher")?,
            sessions: row.field("sessions")?,
        })
    }
}

/// Makes the table of TLS sessions by protocol and cipher, from all origins.
fn table(groups: &[Group<'_>]) -> Table {
    let mut ciphers: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.encryption == "tls") {
        *ciphers.entry((group.version, group.cipher)).or_default() += group.sessions;
    }
    Table::new(
        "tls_sessions",
        vec![
            Column::text("version", ciphers.keys().map(|(version, _)| Some(*version))),
            Column::text("cipher", ciphers.keys().map(|(_, cipher)| Some(*cipher))),
            Column::integer("sessions", ciphers.values().map(|sessions| Some(*sessions))),
        ],
    )
}
