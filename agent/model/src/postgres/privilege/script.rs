//! The script that a superuser runs in psql to grant what is missing, and no more.
//!
//! Every statement may be repeated. Names come from the server and may contain anything. So no name stands in a comment, and none is
//! printed in a form that a terminal would execute. The owner of a datname controls how a session in it begins: its search_path, role and
//! encoding. So every name is qualified, and after each \connect the session is set up again first.

use std::fmt::Write as _;

use super::sql::{identifier, literal};
use super::{DatnameLacks, Need, STATISTIC_COLUMNS, SequencesOf, ServerLacks};

/// A datname and what the role lacks in it.
pub struct Datname {
    /// Name of the datname.
    pub name: String,
    /// Unmet needs; `None` if they are unknown because the role may not connect yet.
    pub lacks: Option<DatnameLacks>,
}

/// First lines of the script: the encoding for psql and the server, and the schemas for names.
const SETUP: &str = "\\encoding UTF8\nSET search_path = pg_catalog, pg_temp;\n";
/// Removes limits that presets may set for the script's first session.
const UNLIMITED: &str = "SET statement_timeout = 0;\nSET lock_timeout = 0;\n";
/// Stores the role that began, whatever role a datname presets. RESET ROLE would return to the preset role.
const ROLE: &str = "SELECT current_user AS pharos_runs_as \\gset\n";
const AGAIN: &str = "SET ROLE :\"pharos_runs_as\";\n";

const CONNECT: &str = "\\connect -reuse-previous=on :\"pharos_datname\"";

/// The script for a server where `role` lacks something; `None` if nothing is missing.
pub fn script(role: &str, major: u32, server: &ServerLacks, datnames: &[Datname]) -> Option<String> {
    let mut body = String::new();
    if [Need::Stats, Need::Settings, Need::Files].iter().any(|need| server.needs.contains(need)) {
        for grant in membership(role, major, server.inherits) {
            let _ = writeln!(body, "{grant};");
        }
    }
    let role = identifier(role);
    for datname in datnames.iter().filter(|datname| datname.lacks.is_none()) {
        let _ = writeln!(body, "GRANT CONNECT ON DATABASE {} TO {role};", identifier(&datname.name));
    }
    for datname in datnames {
        let statements = in_datname(&role, server, datname);
        if !statements.is_empty() {
            let _ = write!(body, "\n{}{SETUP}{AGAIN}{statements}", connect(&datname.name));
        }
    }
    if body.contains(CONNECT) {
        body = options(major) + &body;
    }
    advice(&mut body, server);
    let place = if server.in_recovery {
        "-- This server is a standby: run it on its primary, from where it comes here by itself.\n"
    } else {
        "-- Run it in psql as a superuser, more than once if you like.\n"
    };
    // Autocommit makes each grant permanent before the next \connect, whatever a psqlrc presets.
    (!body.is_empty()).then(|| format!("{place}\\set ON_ERROR_STOP on\n\\set AUTOCOMMIT on\n{SETUP}{UNLIMITED}{ROLE}{body}"))
}

/// Grants that let a role read all statistics, settings and file names, and no row of any table.
pub fn membership(role: &str, major: u32, inherits: bool) -> Vec<String> {
    let role = identifier(role);
    // A NOINHERIT role gets no rights from its memberships. Since PostgreSQL 16, each membership has an option for that.
    match (inherits, major) {
        (true, _) => vec![format!("GRANT pg_monitor TO {role}")],
        (false, 16..) => vec![format!("GRANT pg_monitor TO {role} WITH INHERIT TRUE")],
        (false, _) => vec![format!("GRANT pg_monitor TO {role}"), format!("ALTER ROLE {role} INHERIT")],
    }
}

fn in_datname(role: &str, server: &ServerLacks, datname: &Datname) -> String {
    let mut text = String::new();
    if datname.name == server.datname {
        statements_extension(&mut text, role, server);
    }
    let unseen = datname.lacks.is_none();
    let needs = |need| unseen || datname.lacks.as_ref().is_some_and(|lacks| lacks.needs.contains(&need));
    if needs(Need::Statistic) {
        text.push_str("-- For bloat: how wide and how often null columns are, none of their values.\n");
        let [keys, facts] = [&STATISTIC_COLUMNS[..3], &STATISTIC_COLUMNS[3..]].map(|columns| columns.join(", "));
        let _ = writeln!(text, "GRANT SELECT ({keys},\n    {facts})\n  ON pg_catalog.pg_statistic TO {role};");
    }
    if needs(Need::Sequences) {
        text.push_str("-- For sequences that run out: those there are, and those that are added later.\n");
        match datname.lacks.as_ref().filter(|lacks| !lacks.has_escaped) {
            Some(lacks) => lacks.sequences.iter().for_each(|of| sequences(&mut text, role, of)),
            None => text.push_str(&unseen_sequences(role)),
        }
    }
    text
}

fn statements_extension(text: &mut String, role: &str, server: &ServerLacks) {
    let needs = |need| server.needs.contains(&need);
    if needs(Need::StatementsExtension) && !needs(Need::StatementsLibrary) && server.statements_available {
        // The schema is named, because otherwise search_path would decide.
        text.push_str(if server.has_public {
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public;\n"
        } else {
            "-- This datname has no schema public, so choose one that the role may use:\n\
             -- CREATE EXTENSION pg_stat_statements SCHEMA ...;\n"
        });
    }
    if let Some(schema) = server.statements_schema.as_ref().filter(|_| needs(Need::StatementsSchema)) {
        let _ = writeln!(text, "GRANT USAGE ON SCHEMA {} TO {role};", identifier(schema));
    }
}

fn sequences(text: &mut String, role: &str, SequencesOf { schema, owner }: &SequencesOf) {
    let (schema, owner) = (identifier(schema), identifier(owner));
    let _ = writeln!(text, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};");
    let _ = writeln!(text, "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}\n  GRANT SELECT ON SEQUENCES TO {role};");
}

/// Grants for sequences whose names are unknown or are no text; SQL finds them on the server.
fn unseen_sequences(role: &str) -> String {
    let role = literal(role);
    format!(
        "SELECT pg_catalog.format(\n         \
         'GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO %s', s.nspname, {role}),\n       \
         pg_catalog.format(\n         \
         'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '\n         \
         'GRANT SELECT ON SEQUENCES TO %s', s.owner, s.nspname, {role})\n\
         FROM (SELECT DISTINCT n.nspname, pg_catalog.pg_get_userbyid(c.relowner) AS owner\n      \
         FROM pg_catalog.pg_class c\n      \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace\n      \
         WHERE c.relkind OPERATOR(pg_catalog.=) 'S'\n        \
         AND c.relpersistence OPERATOR(pg_catalog.<>) 't') s\n\
         \\gexec\n"
    )
}

/// Advice on needs that are no grants and that a superuser must decide.
fn advice(body: &mut String, server: &ServerLacks) {
    let needs = |need| server.needs.contains(&need);
    if needs(Need::StatementsLibrary) {
        body.push_str(
            "\n-- For statements, which needs a restart: add pg_stat_statements to\n\
             -- shared_preload_libraries (on Debian its files are in postgresql-contrib),\n\
             -- restart the server and ask again, for where to create the extension.\n",
        );
    } else if needs(Need::StatementsExtension) && !server.statements_available {
        body.push_str("\n-- For statements: the files of the extension pg_stat_statements are missing\n-- (on Debian they are in postgresql-contrib).\n");
    }
    for (need, setting, off) in [
        (Need::Activities, "track_activities", "the activity of sessions is not visible"),
        (Need::Counts, "track_counts", "nothing is counted and autovacuum does not run"),
    ] {
        if needs(need) {
            let _ = writeln!(
                body,
                "\n-- While this is off, {off}:\n-- ALTER SYSTEM SET {setting} = on;\n-- SELECT pg_catalog.pg_reload_conf();"
            );
        }
    }
}

/// Lines that connect psql to a datname, with its present host, port and user.
fn connect(datname: &str) -> String {
    let name = if !datname.is_empty() && datname.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        format!("\\set pharos_datname 'dbname={datname}'")
    } else {
        // A psql variable is used verbatim, whatever the name contains.
        let value: String =
            datname.chars().flat_map(|char| matches!(char, '\'' | '\\').then_some('\\').into_iter().chain([char])).collect();
        let name = literal(&format!("dbname='{value}'"));
        format!("SELECT {name} AS pharos_datname \\gset\n\\set pharos_datname :pharos_datname")
    };
    format!("{name} :pharos_options\n{CONNECT}\n")
}

/// Options from the start of a session, before the presets of its datname. Otherwise the datname's owner could end the session between two
/// statements.
fn options(major: u32) -> String {
    let limits = ["statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"];
    let since_17 = (major >= 17).then_some("transaction_timeout");
    let limits = limits.into_iter().chain(since_17).map(|limit| format!("{limit}=0"));
    let settings = ["search_path=pg_catalog,pg_temp", "default_transaction_read_only=off"].map(str::to_owned).into_iter().chain(limits);
    let lines = settings.map(|setting| format!("\\set pharos_options :pharos_options ' -c {setting}'\n")).collect::<String>();
    format!(
        "-- Each session below begins with these, whatever its datname presets.\n\\set pharos_options ' options='''\n{lines}\\set pharos_options :pharos_options ''''\n"
    )
}
