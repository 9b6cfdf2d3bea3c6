//! What a superuser runs in psql, so that nothing is missing any more: the least that does it.
//!
//! Every statement may be run again. Names come from the server and may hold anything, so none of them stands in a comment.

use std::fmt::Write as _;

use super::{DatnameLacks, Need, STATISTIC_COLUMNS, ServerLacks};

/// A datname, and what is known of it.
pub struct Datname {
    pub name: String,
    /// None: nobody could look, since the role may not connect to it yet.
    pub lacks: Option<DatnameLacks>,
}

/// The script for a server where `role` lacks this, if it lacks anything.
pub fn script(role: &str, major: u32, server: &ServerLacks, datnames: &[Datname]) -> Option<String> {
    let role = identifier(role);
    let mut body = String::new();
    membership(&mut body, &role, major, server);
    for datname in datnames.iter().filter(|datname| datname.lacks.is_none()) {
        let _ = writeln!(body, "GRANT CONNECT ON DATABASE {} TO {role};", identifier(&datname.name));
    }
    for datname in datnames {
        let statements = in_datname(&role, server, datname);
        if !statements.is_empty() {
            let _ = write!(body, "\n{}{statements}", connect(&datname.name));
        }
    }
    advice(&mut body, server);
    let place = if server.in_recovery {
        "-- This server is a standby: run it on its primary, from where it comes here by itself.\n"
    } else {
        "-- Run it in psql as a superuser, more than once if you like.\n"
    };
    (!body.is_empty()).then(|| format!("{place}\\set ON_ERROR_STOP on\n{body}"))
}

/// pg_monitor sees statistics, settings and names of files of everybody, and no row of any table.
fn membership(body: &mut String, role: &str, major: u32, server: &ServerLacks) {
    if ![Need::Stats, Need::Settings, Need::Files].iter().any(|need| server.needs.contains(need)) {
        return;
    }
    // A role with NOINHERIT is a member without having anything of it; from 16 on each membership says so itself.
    let inherited = if server.inherits || major < 16 { "" } else { " WITH INHERIT TRUE" };
    let _ = writeln!(body, "GRANT pg_monitor TO {role}{inherited};");
    if !server.inherits && major < 16 {
        let _ = writeln!(body, "ALTER ROLE {role} INHERIT;");
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
        match &datname.lacks {
            Some(lacks) => lacks.sequences.iter().for_each(|(schema, owner)| sequences(&mut text, role, schema, owner)),
            None => text.push_str(&unseen_sequences(role)),
        }
    }
    text
}

fn statements_extension(text: &mut String, role: &str, server: &ServerLacks) {
    let needs = |need| server.needs.contains(&need);
    if needs(Need::StatementsExtension) && !needs(Need::StatementsLibrary) && server.statements_available {
        text.push_str("CREATE EXTENSION IF NOT EXISTS pg_stat_statements;\n");
    }
    if let Some(schema) = server.statements_schema.as_ref().filter(|_| needs(Need::StatementsSchema)) {
        let _ = writeln!(text, "GRANT USAGE ON SCHEMA {} TO {role};", identifier(schema));
    }
}

fn sequences(text: &mut String, role: &str, schema: &str, owner: &str) {
    let (schema, owner) = (identifier(schema), identifier(owner));
    let _ = writeln!(text, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};");
    let _ = writeln!(text, "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}\n  GRANT SELECT ON SEQUENCES TO {role};");
}

/// Written where they are found, since their names are not known here.
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
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n      \
         WHERE c.relkind = 'S' AND c.relpersistence <> 't') s\n\
         \\gexec\n"
    )
}

/// What is no grant, and a superuser's to decide.
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
        (Need::Activities, "track_activities", "nobody sees what sessions do"),
        (Need::Counts, "track_counts", "nothing is counted and autovacuum does not run"),
    ] {
        if needs(need) {
            let _ = writeln!(body, "\n-- While this is off, {off}:\n-- ALTER SYSTEM SET {setting} = on;\n-- SELECT pg_reload_conf();");
        }
    }
}

/// The line that leads psql into a datname, with the host, port and user that it has already.
fn connect(datname: &str) -> String {
    if !datname.is_empty() && datname.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return format!("\\connect {datname}\n");
    }
    // What psql reads there is a connection string if it looks like one, and ends with its line; a quoted variable is taken as it is.
    let value: String = datname.chars().flat_map(|char| matches!(char, '\'' | '\\').then_some('\\').into_iter().chain([char])).collect();
    format!("SELECT {} AS pharos_datname \\gset\n\\connect -reuse-previous=on :\"pharos_datname\"\n", literal(&format!("dbname='{value}'")))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Holds whatever standard_conforming_strings says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
