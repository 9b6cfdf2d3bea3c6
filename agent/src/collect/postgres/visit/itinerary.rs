//! The datnames of a server: in which order they are visited, and which of them cannot be.

use std::collections::{BTreeSet, VecDeque};

use pharos_model::postgres::privilege::sql::identifier;
use pharos_model::postgres::visits::resume;
use pharos_model::snapshot::{FailureReason, PartId};

use super::round::Failure;
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::Session;

/// Knowledge that one round leaves to the next.
#[derive(Debug, Default)]
pub struct Itinerary {
    /// Besides the monitor's own, as listed last.
    pub others: Vec<Other>,
    /// Where the next round goes on.
    pub resume_at: Option<String>,
}

impl Itinerary {
    pub fn way(&self) -> VecDeque<Other> {
        resume(self.others.clone(), self.resume_at.as_deref(), |other| &other.datname).into()
    }
}

/// A datname besides the monitor's own.
#[derive(Debug, Clone)]
pub struct Other {
    pub datname: String,
    /// Whether the name holds bytes that are no text, and is shown in another way.
    pub is_escaped: bool,
    /// Whether new datnames are copies of it, for which nobody may be connected to it.
    pub is_template: bool,
    pub hindrance: Option<Hindrance>,
}

/// Why nobody, or not this role, can connect to a datname. It is known from the catalogue, so nobody knocks in vain.
#[derive(Debug, Clone, Copy)]
pub enum Hindrance {
    Invalid,
    Closed,
    Limit,
    Privilege,
}

impl Hindrance {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "invalid" => Self::Invalid,
            "closed" => Self::Closed,
            "limit" => Self::Limit,
            "privilege" => Self::Privilege,
            _ => return None,
        })
    }

    pub fn failure(self, datname: &str, is_escaped: bool, role: &str) -> Failure {
        // A name that is shown with escapes is not the server's own, and may be another datname's.
        let name = if is_escaped { format!("<{datname}>") } else { identifier(datname) };
        let (reason, missing) = match self {
            Self::Invalid => (
                FailureReason::DatnameInvalid,
                Missing::new("an interrupted DROP DATABASE left it behind, and its data is gone").cured_by(format!("DROP DATABASE {name}")),
            ),
            Self::Closed => (FailureReason::DatnameClosed, Missing::new("it takes no sessions at all: ALLOW_CONNECTIONS is false")),
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
pub struct Listed {
    /// Besides the monitor's own, in the order of their names.
    pub others: Vec<Other>,
    /// Numbers of all datnames.
    pub numbers: BTreeSet<u32>,
    pub unlisted: u64,
}

/// Lists the datnames of the server that somebody may connect to.
pub async fn list(session: &Session, home: &str) -> Result<Listed, CollectError> {
    let rows = query(session, PartId::Datnames, include_str!("../sql/datnames.sql")).await?;
    let (mut others, mut numbers, mut total) = (Vec::new(), BTreeSet::new(), 0);
    for row in &rows {
        let fields = Fields::new(PartId::Datnames, row);
        numbers.insert(fields.field("oid")?);
        total = fields.field::<i64>("total")?.unsigned_abs();
        let datname = fields.text("datname")?;
        if datname != home {
            let is_escaped = fields.is_escaped("datname");
            let hindrance = fields.field::<Option<&str>>("hindrance")?.and_then(Hindrance::named);
            others.push(Other { datname: datname.to_owned(), is_escaped, is_template: fields.field("is_template")?, hindrance });
        }
    }
    others.sort_by(|a, b| a.datname.cmp(&b.datname));
    let unlisted = total.saturating_sub(rows.len() as u64);
    Ok(Listed { others, numbers, unlisted })
}
