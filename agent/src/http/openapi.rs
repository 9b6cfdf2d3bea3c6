//! `GET /api/openapi.json`: the description of the interface, made from the routes and the types that serve it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::operation::{AnswerKind, MakeSchema, Operation, PathParameter, Permission, schema_of};
use super::route::{Area, Route};
use crate::api::error::ErrorAnswer;

const DESCRIPTION: &str = "Facts, alerts and states that the agent serves, and the few requests that change something.

**Shapes.** Lists are `{\"items\": [...]}` in the order that their route documents. Where a list can be long, `limit` bounds a page and \
`next_cursor` leads to the next one. Times are RFC 3339 in UTC; names of other quantities end with their unit. Later versions add keys and \
names to these answers, so a client must ignore those that it does not know.

**Permission.** Each operation asks for `anyone`, `viewer` or `operator`, in `x-permission`. A token comes in `Authorization: Bearer TOKEN`. \
While no `[[access.token]]` is configured, callers on the agent's own machine read without one. Requests that change something need an \
operator's token, the header `content-type: application/json` and a `Host` that is an address, `localhost` or configured.

**Limits.** `x-limits` of an operation has the largest body, the deadline of the answer and how many requests are answered at the same time; \
others wait for their turn. The head of a request has at most 32 KiB and arrives within 5 s. The agent holds at most 64 connections.

**Errors.** Every error is `{\"error\": {\"code\", \"message\", \"hint\"}}`. A path that does not exist answers 404. A method that a path does \
not support answers 405 with the header `allow`.";

/// The area of this route. Its document is made once, from all other areas and this one.
pub(super) fn area(others: &[Area]) -> Area {
    const NAME: &str = "openapi";
    const ABOUT: &str = "This document.";
    let route = || {
        let route = Route::get("/api/openapi.json", "readOpenApi", show);
        route.describes("This document", "OpenAPI 3.1.").answers::<Map<String, Value>>(200, "The document.")
    };
    let own = Area::new(NAME, ABOUT, &Bytes::new(), [route()]);
    let document = document(others.iter().chain([&own]));
    Area::new(NAME, ABOUT, &Bytes::from(document.to_string()), [route()])
}

async fn show(State(document): State<Bytes>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document)
}

fn document<'a>(areas: impl Iterator<Item = &'a Area>) -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for area in areas {
        tags.push(json!({ "name": area.name, "description": area.description }));
        for operation in area.operations() {
            let path = paths.entry(operation.path).or_insert_with(|| json!({}));
            path[operation.method.as_str().to_ascii_lowercase()] = schemas.operation(area.name, operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pharos",
            "summary": "Monitoring agent for PostgreSQL and Redis.",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
        },
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `[[access.token]]`, or the one in `operator.token` of the agent's data directory.",
                },
            },
        },
    })
}

/// Generators of schemas. Schemas of answers require every key that is written; schemas of requests require only keys that must be sent.
struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self { answers: settings().for_serialize().into_generator(), requests: settings().for_deserialize().into_generator() }
    }
}

impl Schemas {
    /// All schemas that the document refers to. A type of answers and a type of requests have different names or equal schemas.
    fn definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.answers.take_definitions(true);
        definitions.extend(self.requests.take_definitions(true));
        definitions
    }

    fn operation(&mut self, tag: &str, operation: &Operation) -> Value {
        let Operation { id, summary, description, permission, limits, .. } = operation;
        let mut parameters: Vec<Value> = operation.path_parameter.iter().map(path_parameter).collect();
        parameters.extend(operation.query.into_iter().flat_map(|query| self.query_parameters(query)));
        let mut documented = json!({
            "operationId": id,
            "tags": [tag],
            "summary": summary,
            "description": format!("{description}\n\nPermission: `{}`.", permission.role()).trim_start(),
            "parameters": parameters,
            "responses": self.responses(operation),
            "security": security(*permission),
            "x-permission": permission.role(),
            "x-limits": {
                "body_bytes_max": limits.body_bytes_max,
                "deadline_seconds": limits.deadline.as_secs_f64(),
                "concurrent_max": limits.concurrent_max,
            },
        });
        if let Some(body) = operation.body {
            let schema = body(&mut self.requests);
            documented["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        documented
    }

    /// The fields of a query's type as parameters. A parameter that is not sent is absent, so no parameter accepts null.
    fn query_parameters(&mut self, query: MakeSchema) -> Vec<Value> {
        let schema = query(&mut self.requests).to_value();
        let fields = schema["properties"].as_object().cloned().unwrap_or_default();
        let parameter = |(name, mut schema): (String, Value)| {
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({ "name": name, "in": "query", "required": false, "description": description, "schema": without_null(schema) })
        };
        fields.into_iter().map(parameter).collect()
    }

    fn responses(&mut self, operation: &Operation) -> Map<String, Value> {
        let mut responses = Map::new();
        let common = common_errors(operation).into_iter().map(|(status, description)| AnswerKind {
            status,
            description,
            media_types: &["application/json"],
            schema: Some(schema_of::<ErrorAnswer>),
        });
        for answer in operation.answers.iter().cloned().chain(common) {
            let schema = answer.schema.map_or_else(|| json!({ "type": "string" }), |schema| schema(&mut self.answers).to_value());
            let content: Map<String, Value> =
                answer.media_types.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
            let status = answer.status.to_string();
            // A description by the operation itself takes precedence over the common one.
            responses.entry(status).or_insert_with(|| json!({ "description": answer.description, "content": content }));
        }
        responses
    }
}

/// Errors that follow from the permission, the parameters and the limits of an operation.
fn common_errors(operation: &Operation) -> Vec<(u16, &'static str)> {
    const BUSY: (u16, &str) = (503, "All connections are being answered, or the answer took longer than the deadline.");
    const MALFORMED: (u16, &str) =
        (400, "A parameter is unknown or out of bounds, the body does not have this schema, or there are two `Host` headers.");
    const UNKNOWN: (u16, &str) = (401, "No token was sent, or a token that the agent does not know.");
    const FORBIDDEN: (u16, &str) = (403, "The token lacks the permission, or the agent is not known under the name in `Host`.");
    const MEDIA: (u16, &str) = (415, "The request does not carry `content-type: application/json`.");
    match operation.permission {
        Permission::Anyone => vec![BUSY],
        Permission::Viewer | Permission::Operator(_) => vec![MALFORMED, UNKNOWN, FORBIDDEN, BUSY],
        Permission::Change => vec![MALFORMED, UNKNOWN, FORBIDDEN, MEDIA, BUSY],
    }
}

/// The security requirement of an operation. Reading has an empty alternative, since it needs no token while none is configured.
fn security(permission: Permission) -> Value {
    match permission {
        Permission::Anyone => json!([]),
        Permission::Viewer => json!([{}, { "token": [] }]),
        Permission::Operator(_) | Permission::Change => json!([{ "token": [] }]),
    }
}

fn path_parameter(parameter: &PathParameter) -> Value {
    let PathParameter { name, description, pattern } = parameter;
    let mut schema = json!({ "type": "string", "minLength": 1 });
    if let Some(pattern) = pattern {
        schema["pattern"] = (*pattern).into();
    }
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// Removes null from the schema of an optional field, since a parameter that is sent has a value.
fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema["type"].as_array() {
        let kept: Vec<Value> = types.iter().filter(|name| *name != "null").cloned().collect();
        schema["type"] = if let [one] = kept.as_slice() { one.clone() } else { kept.into() };
    }
    match schema["anyOf"].as_array().and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
        Some(choice) => choice.clone(),
        None => schema,
    }
}
