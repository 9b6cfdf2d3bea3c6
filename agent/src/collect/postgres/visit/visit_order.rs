//! The datnames of a server: the order in which they are visited, and why some cannot be visited.

use std::collections::{BTreeSet, VecDeque};

use pharos_model::postgres::privilege::sql::identifier;
use pharos_model::postgres::visits::resume;
use pharos_model::snapshot::{FailureReason, PartId};

use super::round::Failure;
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::Session;

/// What one round leaves to the next.
#[derive(Debug, Default)]
pub(super) struct VisitOrder {
    /// All datnames but the configured one, as listed last.
    pub others: Vec<OtherDatname>,
    /// The datname that the next round begins with.
    pub resume_at: Option<String>,
}

impl VisitOrder {
    /// Returns the datnames in the order of the next round.
    pub(super) fn datnames(&self) -> VecDeque<OtherDatname> {
        resume(self.others.clone(), self.resume_at.as_deref(), |other| &other.datname).into()
    }
}

/// A datname other than the configured one.
#[derive(Debug, Clone)]
pub(super) struct OtherDatname {
    pub datname: String,
    /// Whether the name has bytes that are not text, and is shown with escapes.
    pub is_escaped: bool,
    /// Whether the datname is a template. PostgreSQL copies a template only while no session is connected to it.
    pub is_template: bool,
    pub hindrance: Option<Hindrance>,
}

/// Why no role, or not this role, can connect to a datname. The catalogue shows it, so no connection is tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hindrance {
    Invalid,
    Closed,
    Limit,
    Privilege,
}

impl Hindrance {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "invalid" => Self::Invalid,
            "closed" => Self::Closed,
            "limit" => Self::Limit,
            "privilege" => Self::Privilege,
            _ => return None,
        })
    }

    /// Makes the failure of a visit, with the statement that removes the hindrance.
    pub(super) fn failure(self, datname: &str, is_escaped: bool, role: &str) -> Failure {
        // A name with escapes is not the name on the server, and may be the name of another datname.
        let name = if is_escaped { format!("<{datname}>") } else { identifier(datname) };
        let (reason, missing) = match self {
            Self::Invalid => (
                FailureReason::DatnameInvalid,
                Missing::new("an interrupted DROP DATABASE left it behind, and its data is gone").cured_by(format!("DROP DATABASE {name}")),
            ),
            Self::Closed => (FailureReason::DatnameClosed, Missing::new("it accepts no sessions at all: ALLOW_CONNECTIONS is false")),
            Self::Limit => {
                (FailureReason::DatnameLimit, Missing::new("its CONNECTION LIMIT is 0, so none but superusers can connect to it"))
            }
            Self::Privilege => (
                FailureReason::Privilege,
                Missing::new(format!("role `{role}` may not connect to it"))
                    .cured_by(format!("GRANT CONNECT ON DATABASE {name} TO {}", identifier(role))),
            ),
        };
        Failure::unsupported(reason, missing)
    }
}

/// The datnames of a server, as listed at the start of a round.
pub(super) struct ListedDatnames {
    /// All datnames but the configured one, in the order of their names.
    pub others: Vec<OtherDatname>,
    /// Numbers (oid) of all datnames.
    pub numbers: BTreeSet<u32>,
    /// Number of datnames beyond the limit of the list.
    pub unlisted: u64,
}

/// Lists the datnames of the server, with the reason why one cannot be visited.
pub(super) async fn list(session: &Session, home: &str) -> Result<ListedDatnames, CollectError> {
    let rows = query(session, PartId::Datnames, include_str!("../sql/datnames.sql")).await?;
    let (mut others, mut numbers, mut total) = (Vec::new(), BTreeSet::new(), 0);
    for row in &rows {
        let fields = Fields::new(PartId::Datnames, row);
        numbers.insert(fields.field("oid")?);
        total = fields.field::<i64>("total")?.unsigned_abs();
        let datname = fields.text("datname")?;
        if datname != home {
            let is_escaped = fields.is_escaped("datname");
            let hindrance = fields.field::<Option<&str>>("hindrance")?.and_then(Hindrance::from_name);
            others.push(OtherDatname { datname: datname.to_owned(), is_escaped, is_template: fields.field("is_template")?, hindrance });
        }
    }
    others.sort_by(|a, b| a.datname.cmp(&b.datname));
    let unlisted = total.saturating_sub(rows.len() as u64);
    Ok(ListedDatnames { others, numbers, unlisted })
}
