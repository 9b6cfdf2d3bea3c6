//! No option in a URL is ignored without an error, since its user would get less than the URL asks for. No time limit becomes 0, which
//! means no limit.
//!
//! Covers the URLs of servers and the durations of a config.

use expect_test::expect;

use super::check;

#[test]
fn an_option_in_a_url_is_refused_with_what_to_write_instead() {
    check(
        r#"
[[database]]
name = "app"
primary = "postgresql://pharos@db1/app?sslmode=require"
replicas = [
  "postgresql://pharos@db2/app?sslmode=verify-full&sslrootcert=/etc/ca.crt",
  "postgresql://pharos@db3/app?application_name=x&connect_timeout=3&options=-c%20a%3Db",
  "postgresql://pharos@db4/app?target_session_attrs=read-write&channel_binding=require&keepalives=1&hostaddr=1.2.3.4",
  "postgresql://pharos@db5/app?nonsense=1",
  "postgresql://pharos@db6/app#x",
  "postgresql:///app?host=/run/postgresql&user=pharos",
]
[[redis]]
name = "cache"
nodes = [
  "redis://h1,h2:6379",
  "redis://127.0.0.1/abc",
  "rediss://127.0.0.1/#insecure",
  "redis://127.0.0.1/0?protocol=3",
  "redis://[::1]:6379/1",
]
"#,
        expect![[r#"
            4:11: `database[0].primary`: has options that are not read there: `sslmode`: write `tls = { mode = "require" }` beside `primary`
            6:3: `database[0].replicas[0]`: has options that are not read there: `sslmode`: write `tls = { mode = "verify-full", ca = "FILE" }` beside `primary`; `sslrootcert`: write `tls = { mode = "verify-full", ca = "FILE" }` beside `primary`
            7:3: `database[0].replicas[1]`: has options that are not read there: `application_name`: sessions are named after `agent.name`; `connect_timeout`: write `connect_timeout` in `[collect]`; `options`: the settings of its sessions are Pharos' own; see `[collect]` for their time limits
            8:3: `database[0].replicas[2]`: has options that are not read there: `target_session_attrs`: name each server by itself, under `primary` and `replicas`; Pharos finds out which one is the primary; `channel_binding`: it is used wherever the session is encrypted and the server offers it; `keepalives`: they are always on; `hostaddr`: write the address in the place of the host
            9:3: `database[0].replicas[3]`: has options that are not read there: `nonsense`: remove it
            10:3: `database[0].replicas[4]`: has a `#`, which has no meaning here; inside a name write it as %23
            16:3: `redis[0].nodes[0]`: must name exactly one host; list further servers under nodes
            17:3: `redis[0].nodes[1]`: must end in the number of a database, such as redis://host:6379/0, or in nothing
            18:3: `redis[0].nodes[2]`: ends in a `#`, which Pharos does not read; for a certificate that cannot be checked write `tls = { mode = "require" }` beside `nodes`
            19:3: `redis[0].nodes[3]`: has the option `protocol`, which Pharos does not read; remove it
        "#]],
    );
}

#[test]
fn a_duration_below_a_millisecond_is_refused_where_it_stands() {
    check(
        "[collect]\nlock_timeout = \"400us\"\nstatement_timeout = \"900us\"\nconnect_timeout = \"1ns\"\n[collect.deadlines]\nsizes = \"999us\"\n\
         [[database]]\nname = \"app\"\nprimary = \"postgresql://p@db/app\"\nslow_query = { threshold = \"1us\" }\n",
        expect![[r#"
            2:16: `collect.lock_timeout` is "400us" but must be at least a millisecond
            3:21: `collect.statement_timeout` is "900us" but must be at least a millisecond
            4:19: `collect.connect_timeout` is "1ns" but must be at least a millisecond
            6:9: `collect.deadlines.sizes` is "999us" but must be at least a millisecond
            10:28: `database[0].slow_query.threshold` is "1us" but must be at least a millisecond
        "#]],
    );
}

#[test]
fn tls_of_redis_is_for_encrypted_nodes_and_names_both_halves_of_an_identity() {
    check(
        r#"
[[redis]]
name = "a"
nodes = ["rediss://a:6380", "redis://b:6379"]
tls = { mode = "disable", ca = 3 }
[[redis]]
name = "b"
nodes = ["rediss://d"]
tls = { cert = "x.pem", sert = "x" }
"#,
        expect![[r#"
            5:16: `redis[0].tls.mode` is "disable" but must be one of "require", "verify-ca", "verify-full"
            5:32: `redis[0].tls.ca` is an integer but must be a text
            9:25: unknown key `sert` in `redis[1].tls`; did you mean `cert`?
        "#]],
    );
    check(
        r#"
[[redis]]
name = "a"
nodes = ["rediss://a:6380", "redis://b:6379"]
tls = { ca = "x.pem" }
[[redis]]
name = "b"
nodes = ["rediss://e"]
tls = { cert = "x.pem" }
[[redis]]
name = "c"
nodes = ["rediss://pharos%FF@f", "rediss://g"]
tls = { key = "x.pem" }
"#,
        expect![[r#"
            4:29: `redis[0].nodes[1]`: is not encrypted, so `tls` does not count; write rediss://
            9:16: `redis[1].tls.cert`: needs the certificate's private key; name its file with `key`
            12:10: `redis[2].nodes[0]`: holds a user that is not UTF-8
            13:15: `redis[2].tls.key`: needs the key's certificate; name its file with `cert`
        "#]],
    );
}
