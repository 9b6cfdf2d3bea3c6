//! Operations of the interface. Each is declared once, and its route enforces what `GET /api/openapi.json` documents.

use std::time::Duration;

use axum::http::Method;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

/// Permissions that a route can require of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// No permission: every request is answered, and no token is read.
    Anyone,
    /// Callers that may read. Without configured tokens, these are all callers of this machine.
    Viewer,
    /// Operators that read. A viewer is refused with this sentence.
    Operator(&'static str),
    /// Operators that change something. Such a request also needs a JSON content type and a host name that is the agent's own.
    Change,
}

impl Permission {
    /// Name of the least role that has the permission.
    pub fn role(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Viewer => "viewer",
            Self::Operator(_) | Self::Change => "operator",
        }
    }
}

/// Bounds of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a request, in bytes. People send a few lines.
    pub body_bytes_max: usize,
    /// Longest time until the head of an answer. After it the caller gets an error instead.
    pub deadline: Duration,
    /// Most requests that are answered at the same time. Others wait for their turn, within the deadline.
    pub concurrent_max: usize,
}

impl Limits {
    /// Limits of operations that only read memory. All connections can be answered at the same time.
    pub const MEMORY: Self = Self { body_bytes_max: 64 << 10, deadline: Duration::from_secs(10), concurrent_max: 64 };
    /// Limits of operations that use the store or wait for the pipeline. Both do one thing at a time, so more requests would only queue
    /// there.
    pub const STORE: Self = Self { concurrent_max: 16, ..Self::MEMORY };
    /// Limits of operations that send a message and wait for its receiver.
    pub const DELIVERY: Self = Self { concurrent_max: 4, ..Self::MEMORY };
}

/// Makes the schema of a type.
pub(super) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type, by reference where it has a name.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A parameter in the path.
#[derive(Debug, Clone, Copy)]
pub struct PathParameter {
    pub name: &'static str,
    pub description: &'static str,
    /// Regular expression that documents valid values. `None`: any text is valid.
    pub pattern: Option<&'static str>,
}

/// A kind of answer, documented under its status.
#[derive(Debug, Clone)]
pub struct AnswerKind {
    pub status: u16,
    pub description: &'static str,
    /// Media types, and the schema of a JSON body.
    pub media_types: &'static [&'static str],
    pub schema: Option<MakeSchema>,
}

/// Everything that is documented of one operation.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    pub path: &'static str,
    /// Name of the operation for generated clients.
    pub id: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub permission: Permission,
    pub limits: Limits,
    pub path_parameter: Option<PathParameter>,
    /// The type whose fields are the parameters of the query.
    pub query: Option<MakeSchema>,
    pub body: Option<MakeSchema>,
    pub answers: Vec<AnswerKind>,
}
