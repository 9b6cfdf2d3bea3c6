//! No owner of a datname gains anything when a superuser runs the printed script, and no name in it becomes a command.
//!
//! The script of `pharos doctor` is run by a superuser in datnames that belong to others: their owners must gain nothing by it.

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer};
use serde_json::Value;

use super::{configured, encoded, identifier, psql, report, superuser};
use crate::fixture::{postgres, runtime_tasks};

/// Datnames of tenants. The last ones are meant for psql, the shell and the terminal.
const TENANTS: [&str; 5] =
    ["tenant", "a`touch pwned`b", "a:\"x\" :'y' $HOME %n", "quit\n\\! touch pwned\u{3}\n\\! touch pwned\n", "a b' user='tenant"];

/// What a tenant puts in the way: an operator, a function, a type and a cast of the same names as those of the catalogue, before it in the
/// search_path that everybody has who comes here, and every preset that a datname can have.
const TRAPS: &[&str] = &[
    "CREATE SCHEMA evil; CREATE SEQUENCE evil.numbers; CREATE TABLE public.pg_class (oid oid, relname name)",
    "CREATE FUNCTION evil.seize() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
       IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
         EXECUTE 'ALTER ROLE tenant SUPERUSER'; END IF; END $$",
    "CREATE FUNCTION evil.same(oid, oid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN true; END $$",
    "CREATE FUNCTION evil.same(\"char\", \"char\") RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN true; END $$",
    "CREATE FUNCTION evil.same(\"char\", text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN true; END $$",
    "CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.same)",
    "CREATE OPERATOR evil.= (LEFTARG = \"char\", RIGHTARG = \"char\", FUNCTION = evil.same)",
    "CREATE OPERATOR evil.= (LEFTARG = \"char\", RIGHTARG = text, FUNCTION = evil.same)",
    "CREATE OPERATOR evil.<> (LEFTARG = \"char\", RIGHTARG = \"char\", FUNCTION = evil.same)",
    "CREATE OPERATOR evil.<> (LEFTARG = \"char\", RIGHTARG = text, FUNCTION = evil.same)",
    "CREATE FUNCTION evil.format(text, VARIADIC name[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN 'SELECT 1'; END $$",
    "CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN 'x'; END $$",
    "CREATE FUNCTION evil.pg_reload_conf() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.seize(); RETURN true; END $$",
    "CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.seize() IS NULL)",
    "GRANT USAGE ON SCHEMA evil TO PUBLIC",
];
const PRESETS: [&str; 10] = [
    "search_path = evil, pg_catalog",
    "role = tenant",
    "client_encoding = 'SJIS'",
    "standard_conforming_strings = off",
    "default_transaction_read_only = on",
    "quote_all_identifiers = on",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_session_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
];

async fn furnish(server: &PostgresServer) {
    let admin = superuser(server, "postgres").await;
    admin.run("CREATE ROLE tenant LOGIN").await.unwrap();
    for datname in TENANTS {
        let name = identifier(datname);
        admin.run(&format!("CREATE DATABASE {name} OWNER tenant")).await.unwrap();
        admin.run(&format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")).await.unwrap();
        let tenant = server.connect("tenant", datname).await.unwrap();
        // A name whose last byte would take the quote with it, where the encoding were the one of the preset.
        tenant.run("CREATE SCHEMA \"b\u{c1}\"; CREATE SEQUENCE \"b\u{c1}\".\"; ALTER ROLE tenant SUPERUSER; --\"").await.unwrap();
        for trap in TRAPS {
            tenant.run(trap).await.unwrap_or_else(|err| panic!("{trap}: {err:?}"));
        }
        for preset in PRESETS {
            tenant.run(&format!("ALTER DATABASE {name} SET {preset}")).await.unwrap();
        }
    }
}

async fn assert_tenant_has_no_rights(server: &PostgresServer, script: &str) {
    let admin = superuser(server, "postgres").await;
    let has_more = "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb) OR (SELECT count(*) > 0 FROM pg_auth_members m \
                    JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'tenant') FROM pg_roles WHERE rolname = 'tenant'";
    assert!(!admin.query_value::<bool>(has_more).await.unwrap(), "{script}");
    assert!(!std::path::Path::new("pwned").exists(), "{script}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_datname_gains_nothing_by_the_script_and_nothing_is_missing_after_it() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    // Once as a stranger to the datnames, then as one who may connect: the two are written in different ways.
    for role in ["stranger", MONITORING_ROLE] {
        let admin = superuser(&server, "postgres").await;
        admin.run("DO $$ BEGIN CREATE ROLE stranger LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$").await.unwrap();
        if role == MONITORING_ROLE {
            for datname in TENANTS {
                admin.run(&format!("GRANT CONNECT ON DATABASE {} TO {role}", identifier(datname))).await.unwrap();
            }
        }
        let url = server.url(&encoded(role), "postgres");
        let config = configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{url}\"\n"));
        let found = report(&config).await;
        let script = found["servers"][0]["script"].as_str().unwrap().to_owned();
        assert!(script.chars().all(|char| char == '\n' || !char.is_control()), "a terminal would obey it: {script}");
        psql(&server, &script).await;
        assert_tenant_has_no_rights(&server, &script).await;
        let after = report(&config).await;
        assert_eq!((&after["ok"], &after["servers"][0]["script"]), (&Value::from(true), &Value::Null), "{role}: {after:#}\n{script}");
    }
}
