//! A route is an operation with its handler. An area is a group of routes that share one state.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use tokio::sync::Semaphore;

use super::access::Access;
use super::error::ApiError;
use super::operation::{AnswerKind, Limits, Operation, PathParameter, Permission, schema_of};

/// An operation with its handler, before the handler gets its state.
pub struct Route<S> {
    operation: Operation,
    handler: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// A route for viewers that only reads. `id` names the operation for generated clients.
    pub fn get<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, S>) -> Self {
        Self::new(Method::GET, path, id, on(MethodFilter::GET, handler))
    }

    /// A route for operators that changes something.
    pub fn post<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, S>) -> Self {
        Self::new(Method::POST, path, id, on(MethodFilter::POST, handler))
    }

    pub fn put<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, S>) -> Self {
        Self::new(Method::PUT, path, id, on(MethodFilter::PUT, handler))
    }

    pub fn delete<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, S>) -> Self {
        Self::new(Method::DELETE, path, id, on(MethodFilter::DELETE, handler))
    }

    fn new(method: Method, path: &'static str, id: &'static str, handler: MethodRouter<S>) -> Self {
        let permission = if method == Method::GET { Permission::Viewer } else { Permission::Change };
        let operation = Operation {
            method,
            path,
            id,
            summary: "",
            description: "",
            permission,
            limits: Limits::MEMORY,
            path_parameter: None,
            query: None,
            body: None,
            answers: Vec::new(),
        };
        Self { operation, handler }
    }

    /// Documents the operation: a line that names it, and further details.
    pub fn describes(mut self, summary: &'static str, description: &'static str) -> Self {
        (self.operation.summary, self.operation.description) = (summary, description);
        self
    }

    pub fn permission(mut self, permission: Permission) -> Self {
        self.operation.permission = permission;
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.operation.limits = limits;
        self
    }

    pub fn path_parameter(mut self, name: &'static str, description: &'static str, pattern: Option<&'static str>) -> Self {
        self.operation.path_parameter = Some(PathParameter { name, description, pattern });
        self
    }

    pub fn query<Q: JsonSchema>(mut self) -> Self {
        self.operation.query = Some(Q::json_schema);
        self
    }

    pub fn body<B: JsonSchema>(mut self) -> Self {
        self.operation.body = Some(schema_of::<B>);
        self
    }

    /// Documents a JSON answer.
    pub fn answers<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.kind(AnswerKind { status, description, media_types: &["application/json"], schema: Some(schema_of::<T>) })
    }

    /// Documents a text answer.
    pub fn answers_text(self, status: u16, description: &'static str, media_types: &'static [&'static str]) -> Self {
        self.kind(AnswerKind { status, description, media_types, schema: None })
    }

    /// Documents an error that only this operation has. Errors of permissions, parameters and limits are documented automatically.
    pub fn refuses(self, status: u16, description: &'static str) -> Self {
        self.answers::<crate::api::error::ErrorAnswer>(status, description)
    }

    fn kind(mut self, answer: AnswerKind) -> Self {
        self.operation.answers.push(answer);
        self
    }
}

/// Routes about one topic, with their state.
pub struct Area {
    /// Name and description of the area in the documentation.
    pub name: &'static str,
    pub description: &'static str,
    routes: Vec<(Operation, MethodRouter)>,
}

impl Area {
    pub fn new<S>(name: &'static str, description: &'static str, state: &S, routes: impl IntoIterator<Item = Route<S>>) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let routes = routes.into_iter().map(|Route { operation, handler }| (operation, handler.with_state(state.clone())));
        Self { name, description, routes: routes.collect() }
    }

    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.routes.iter().map(|(operation, _)| operation)
    }

    /// Paths and handlers of the area. Each handler checks its permission and enforces its limits.
    pub fn guarded(self, access: &Arc<Access>) -> impl Iterator<Item = (&'static str, MethodRouter)> {
        self.routes.into_iter().map(|(operation, handler)| (operation.path, guarded(&operation, handler, Arc::clone(access))))
    }
}

fn guarded(operation: &Operation, handler: MethodRouter, access: Arc<Access>) -> MethodRouter<(), Infallible> {
    let Operation { permission, limits, .. } = *operation;
    let guard = Arc::new(Guard { access, permission, limits, turns: Semaphore::new(limits.concurrent_max) });
    let handler =
        handler.route_layer(DefaultBodyLimit::max(limits.body_bytes_max)).route_layer(middleware::from_fn_with_state(guard, admit));
    match permission {
        // Unsupported methods of a path without permission need no token either.
        Permission::Anyone => handler.fallback(async || ApiError::method_not_allowed()),
        _ => handler,
    }
}

/// Permission and limits that a route enforces for each request.
struct Guard {
    access: Arc<Access>,
    permission: Permission,
    limits: Limits,
    turns: Semaphore,
}

/// Checks the permission of a request, waits for its turn and bounds the time of its answer.
async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let caller = match guard.access.admit(request.headers(), guard.permission) {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    let answer = async {
        // The semaphore is never closed. If it were, requests would only run without this limit.
        let _turn = guard.turns.acquire().await.ok();
        next.run(request).await
    };
    tokio::time::timeout(guard.limits.deadline, answer).await.unwrap_or_else(|_| ApiError::timeout().into_response())
}
