//! Scripts for roles that lack some rights, and for names that were chosen to do harm.

use expect_test::{Expect, expect};

use super::{Datname, DatnameLacks, NEEDS, Need, SequencesOf, ServerLacks, script, without};
use crate::snapshot::PartId;

const MONITOR: [Need; 3] = [Need::Stats, Need::Settings, Need::Files];

fn server(needs: &[Need]) -> ServerLacks {
    ServerLacks {
        needs: needs.to_vec(),
        inherits: true,
        in_recovery: false,
        datname: "postgres".to_owned(),
        statements_available: true,
        statements_schema: None,
        has_public: true,
        datnames: Vec::new(),
    }
}

fn datname(name: &str, needs: &[Need], sequences: &[(&str, &str)]) -> Datname {
    let sequences =
        sequences.iter().map(|(schema, owner)| SequencesOf { schema: (*schema).to_owned(), owner: (*owner).to_owned() }).collect();
    Datname { name: name.to_owned(), lacks: Some(DatnameLacks { needs: needs.to_vec(), sequences, has_escaped: false }) }
}

fn closed(name: &str) -> Datname {
    Datname { name: name.to_owned(), lacks: None }
}

fn check(role: &str, major: u32, server: &ServerLacks, datnames: &[Datname], expected: Expect) {
    expected.assert_eq(&script(role, major, server, datnames).unwrap_or_default());
}

#[test]
fn a_role_that_has_all_needs_no_script() {
    check("pharos", 17, &server(&[]), &[datname("app", &[], &[])], expect![""]);
}

#[test]
fn a_role_with_login_alone_gets_the_least_that_does() {
    let needs = [&MONITOR[..], &[Need::StatementsExtension]].concat();
    let datnames = [
        datname("postgres", &[Need::Statistic], &[]),
        datname("app", &[Need::Statistic, Need::Sequences], &[("public", "alice"), ("sales", "bob")]),
        closed("hr"),
    ];
    check(
        "pharos",
        17,
        &server(&needs),
        &datnames,
        expect![[r#"
            -- Run it in psql as a superuser, more than once if you like.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset
            -- Each session below begins with these, whatever its datname presets.
            \set pharos_options ' options='''
            \set pharos_options :pharos_options ' -c search_path=pg_catalog,pg_temp'
            \set pharos_options :pharos_options ' -c default_transaction_read_only=off'
            \set pharos_options :pharos_options ' -c statement_timeout=0'
            \set pharos_options :pharos_options ' -c lock_timeout=0'
            \set pharos_options :pharos_options ' -c idle_session_timeout=0'
            \set pharos_options :pharos_options ' -c idle_in_transaction_session_timeout=0'
            \set pharos_options :pharos_options ' -c transaction_timeout=0'
            \set pharos_options :pharos_options ''''
            GRANT pg_monitor TO "pharos";
            GRANT CONNECT ON DATABASE "hr" TO "pharos";

            \set pharos_datname 'dbname=postgres' :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public;
            -- For bloat: how wide and how often null columns are, none of their values.
            GRANT SELECT (starelid, staattnum, stainherit,
                stanullfrac, stawidth, stadistinct)
              ON pg_catalog.pg_statistic TO "pharos";

            \set pharos_datname 'dbname=app' :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            -- For bloat: how wide and how often null columns are, none of their values.
            GRANT SELECT (starelid, staattnum, stainherit,
                stanullfrac, stawidth, stadistinct)
              ON pg_catalog.pg_statistic TO "pharos";
            -- For sequences that run out: those there are, and those that are added later.
            GRANT SELECT ON ALL SEQUENCES IN SCHEMA "public" TO "pharos";
            ALTER DEFAULT PRIVILEGES FOR ROLE "alice" IN SCHEMA "public"
              GRANT SELECT ON SEQUENCES TO "pharos";
            GRANT SELECT ON ALL SEQUENCES IN SCHEMA "sales" TO "pharos";
            ALTER DEFAULT PRIVILEGES FOR ROLE "bob" IN SCHEMA "sales"
              GRANT SELECT ON SEQUENCES TO "pharos";

            \set pharos_datname 'dbname=hr' :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            -- For bloat: how wide and how often null columns are, none of their values.
            GRANT SELECT (starelid, staattnum, stainherit,
                stanullfrac, stawidth, stadistinct)
              ON pg_catalog.pg_statistic TO "pharos";
            -- For sequences that run out: those there are, and those that are added later.
            SELECT pg_catalog.format(
                     'GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO %s', s.nspname, E'"pharos"'),
                   pg_catalog.format(
                     'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '
                     'GRANT SELECT ON SEQUENCES TO %s', s.owner, s.nspname, E'"pharos"')
            FROM (SELECT DISTINCT n.nspname, pg_catalog.pg_get_userbyid(c.relowner) AS owner
                  FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                  WHERE c.relkind OPERATOR(pg_catalog.=) 'S'
                    AND c.relpersistence OPERATOR(pg_catalog.<>) 't') s
            \gexec
        "#]],
    );
}

#[test]
fn a_role_that_inherits_nothing_gets_more_than_a_membership() {
    let lacks = ServerLacks { inherits: false, ..server(&MONITOR) };
    check(
        "pharos",
        15,
        &lacks,
        &[],
        expect![[r#"
            -- Run it in psql as a superuser, more than once if you like.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset
            GRANT pg_monitor TO "pharos";
            ALTER ROLE "pharos" INHERIT;
        "#]],
    );
    check(
        "pharos",
        16,
        &lacks,
        &[],
        expect![[r#"
            -- Run it in psql as a superuser, more than once if you like.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset
            GRANT pg_monitor TO "pharos" WITH INHERIT TRUE;
        "#]],
    );
}

#[test]
fn advice_about_restarts_and_decisions_is_a_comment() {
    let needs = [Need::Activities, Need::Counts, Need::StatementsLibrary, Need::StatementsExtension];
    check(
        "pharos",
        17,
        &server(&needs),
        &[datname("postgres", &[], &[])],
        expect![[r#"
            -- Run it in psql as a superuser, more than once if you like.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset

            -- For statements, which needs a restart: add pg_stat_statements to
            -- shared_preload_libraries (on Debian its files are in postgresql-contrib),
            -- restart the server and ask again, for where to create the extension.

            -- While this is off, the activity of sessions is not visible:
            -- ALTER SYSTEM SET track_activities = on;
            -- SELECT pg_catalog.pg_reload_conf();

            -- While this is off, nothing is counted and autovacuum does not run:
            -- ALTER SYSTEM SET track_counts = on;
            -- SELECT pg_catalog.pg_reload_conf();
        "#]],
    );
}

#[test]
fn a_standby_is_granted_nothing_itself() {
    check(
        "pharos",
        17,
        &ServerLacks { in_recovery: true, ..server(&[Need::Stats]) },
        &[],
        expect![[r#"
            -- This server is a standby: run it on its primary, from where it comes here by itself.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset
            GRANT pg_monitor TO "pharos";
        "#]],
    );
}

#[test]
fn names_that_were_chosen_to_do_harm_stay_names() {
    let lacks = ServerLacks { statements_schema: Some("a\"; DROP".to_owned()), ..server(&[Need::Stats, Need::StatementsSchema]) };
    let lacks = ServerLacks { datname: "two\n\\! rm -rf /".to_owned(), ..lacks };
    let datnames = [
        datname("two\n\\! rm -rf /", &[Need::Sequences], &[("x\"\n-- y", "o'w\\n")]),
        datname("host=evil", &[Need::Statistic], &[]),
        closed("it's\\"),
    ];
    check(
        "ph\"aros'; DROP TABLE t; --",
        17,
        &lacks,
        &datnames,
        expect![[r#"
            -- Run it in psql as a superuser, more than once if you like.
            \set ON_ERROR_STOP on
            \set AUTOCOMMIT on
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET statement_timeout = 0;
            SET lock_timeout = 0;
            SELECT current_user AS pharos_runs_as \gset
            -- Each session below begins with these, whatever its datname presets.
            \set pharos_options ' options='''
            \set pharos_options :pharos_options ' -c search_path=pg_catalog,pg_temp'
            \set pharos_options :pharos_options ' -c default_transaction_read_only=off'
            \set pharos_options :pharos_options ' -c statement_timeout=0'
            \set pharos_options :pharos_options ' -c lock_timeout=0'
            \set pharos_options :pharos_options ' -c idle_session_timeout=0'
            \set pharos_options :pharos_options ' -c idle_in_transaction_session_timeout=0'
            \set pharos_options :pharos_options ' -c transaction_timeout=0'
            \set pharos_options :pharos_options ''''
            GRANT pg_monitor TO "ph""aros'; DROP TABLE t; --";
            GRANT CONNECT ON DATABASE "it's\" TO "ph""aros'; DROP TABLE t; --";

            SELECT E'dbname=''two\u000A\\\\! rm -rf /''' AS pharos_datname \gset
            \set pharos_datname :pharos_datname :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            GRANT USAGE ON SCHEMA "a""; DROP" TO "ph""aros'; DROP TABLE t; --";
            -- For sequences that run out: those there are, and those that are added later.
            GRANT SELECT ON ALL SEQUENCES IN SCHEMA U&"x""\000A-- y" TO "ph""aros'; DROP TABLE t; --";
            ALTER DEFAULT PRIVILEGES FOR ROLE "o'w\n" IN SCHEMA U&"x""\000A-- y"
              GRANT SELECT ON SEQUENCES TO "ph""aros'; DROP TABLE t; --";

            SELECT E'dbname=''host=evil''' AS pharos_datname \gset
            \set pharos_datname :pharos_datname :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            -- For bloat: how wide and how often null columns are, none of their values.
            GRANT SELECT (starelid, staattnum, stainherit,
                stanullfrac, stawidth, stadistinct)
              ON pg_catalog.pg_statistic TO "ph""aros'; DROP TABLE t; --";

            SELECT E'dbname=''it\\''s\\\\''' AS pharos_datname \gset
            \set pharos_datname :pharos_datname :pharos_options
            \connect -reuse-previous=on :"pharos_datname"
            \encoding UTF8
            SET search_path = pg_catalog, pg_temp;
            SET ROLE :"pharos_runs_as";
            -- For bloat: how wide and how often null columns are, none of their values.
            GRANT SELECT (starelid, staattnum, stainherit,
                stanullfrac, stawidth, stadistinct)
              ON pg_catalog.pg_statistic TO "ph""aros'; DROP TABLE t; --";
            -- For sequences that run out: those there are, and those that are added later.
            SELECT pg_catalog.format(
                     'GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO %s', s.nspname, E'"ph""aros''; DROP TABLE t; --"'),
                   pg_catalog.format(
                     'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '
                     'GRANT SELECT ON SEQUENCES TO %s', s.owner, s.nspname, E'"ph""aros''; DROP TABLE t; --"')
            FROM (SELECT DISTINCT n.nspname, pg_catalog.pg_get_userbyid(c.relowner) AS owner
                  FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                  WHERE c.relkind OPERATOR(pg_catalog.=) 'S'
                    AND c.relpersistence OPERATOR(pg_catalog.<>) 't') s
            \gexec
        "#]],
    );
}

#[test]
fn every_need_has_a_text_about_what_is_missing() {
    for entry in NEEDS {
        assert!(!entry.parts.is_empty() && !entry.without.is_empty(), "{:?}", entry.need);
        assert!(entry.parts.iter().all(|part| without(*part, &[entry.need]).eq([entry.without])), "{:?}", entry.need);
    }
    assert_eq!(without(PartId::Server, &MONITOR).count(), 0);
}
