//! The routes of `/api/database`, alerts aside.

use super::snapshots::DatabaseState;
use super::{facts, indexes, locks, slow_queries};
use crate::api::facts::ServerFacts;
use crate::api::indexes::{IndexFactList, IndexFactsQuery};
use crate::api::list::{DatabaseQuery, List};
use crate::api::locks::ServerLocks;
use crate::api::slow_queries::{SlowQueriesQuery, SlowQueryList};
use crate::http::route::{Area, Route};

pub(crate) fn area(state: &DatabaseState) -> Area {
    let facts = Route::get("/api/database/metrics", "listServerFacts", facts::list)
        .describes(
            "The latest facts of each server",
            "State of each family of facts, and every series that is not stale. Sorted by kind and id of the server.",
        )
        .query::<DatabaseQuery>()
        .answers::<List<ServerFacts>>(200, "One item for each server.");
    let slow_queries = Route::get("/api/database/slow-queries", "listSlowQueries", slow_queries::list)
        .describes(
            "Statements whose mean execution time is past the threshold",
            "Times between the latest two readings of `pg_stat_statements`. Sorted by total time, the longest first, then by server, datname and \
             fingerprint.",
        )
        .query::<SlowQueriesQuery>()
        .answers::<SlowQueryList>(200, "One page of the slow statements.");
    let indexes = Route::get("/api/database/indexes", "listIndexFacts", indexes::list)
        .describes(
            "Problems of indexes and tables",
            "Facts with their evidence, and everything that could not be judged. The largest relation first, then by server and name.",
        )
        .query::<IndexFactsQuery>()
        .answers::<IndexFactList>(200, "One page of the facts.");
    let locks = Route::get("/api/database/locks", "listLocks", locks::list)
        .describes(
            "Sessions that wait for locks, as trees",
            "Which session waits for which on each PostgreSQL server, and what would free them. Sorted by id of the server.",
        )
        .query::<DatabaseQuery>()
        .answers::<List<ServerLocks>>(200, "One item for each PostgreSQL server.");
    let routes = [facts, slow_queries, indexes, locks].map(|route| route.refuses(404, "No `[[database]]` or `[[redis]]` has that name."));
    Area::new("database", "The latest facts of the monitored servers.", state, routes)
}
