//! No mistake in a config is accepted, or reported at another place.
//!
//! Mistakes in a config that once were called ok: each is reported with its place, and with what was probably meant.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use expect_test::expect;
use pharos::config::parse;

use crate::config::check;
use crate::fixture::project;

#[test]
fn what_a_plugin_is_granted_must_be_there_and_leave_it_room() {
    check(
        "[secret]\nops-key = { env = \"A\" }\n[plugin.webhook]\ngrants = { secrets = [\"ops-kye\"], egress = [\"a:99999\", \"a:0\", \"a:80\", \"[::1]:9\", \"::1\"] }\n",
        expect![[r#"
            4:23: `plugin.webhook.grants.secrets[0]`: there is no secret "ops-kye" under [secret]; did you mean `ops-key`?
            4:45: `plugin.webhook.grants.egress[0]`: "a:99999" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
            4:56: `plugin.webhook.grants.egress[1]`: "a:0" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        "#]],
    );
    check(
        "[plugin.threshold]\nlimits = { memory = \"0\", cpu = \"0s\", wall = \"1ms\" }\n[plugin.webhook]\nlimits = { memory = \"1TB\" }\n[plugins]\ncompile_memory_max = \"0\"\n",
        expect![[r#"
            2:21: `plugin.threshold.limits.memory`: is 0 B, but an instance takes between 2.0 MiB and 4.0 GiB
            2:32: `plugin.threshold.limits.cpu`: is 0ns, in which no call can end; give it at least 10ms
            2:45: `plugin.threshold.limits.wall`: is 1ms, in which no call can end; give it at least 10ms
            4:21: `plugin.webhook.limits.memory`: is 931.3 GiB, but an instance takes between 2.0 MiB and 4.0 GiB
            6:22: `plugins.compile_memory_max`: is 0 B, in which nothing can be compiled; give it at least 16.0 MiB
        "#]],
    );
}

#[test]
fn a_route_that_can_never_match_is_an_error() {
    let receiver = "[[receiver]]\nname = \"ops\"\nplugin = \"webhook\"\n";
    let route = |matching: &str| format!("{receiver}[[route]]\nreceiver = \"ops\"\n{matching}\n");
    check(
        &route("match = { severity = \"critcal\" }"),
        expect![[r#"
            6:9: `route[0].match`: `severity="critcal"` never matches: a severity is one of info, warning, critical; did you mean `critical`?
        "#]],
    );
    check(
        &route("match = { severity = [] }"),
        expect![[r#"
            6:9: `route[0].match`: `severity`: an empty list of values matches nothing; name a value, or remove the line
        "#]],
    );
    check(
        &route("matchers = [\"severity=~warn|critical\", \"severity!=critical\"]"),
        expect![[r#"
            6:12: `route[0].matchers`: `severity=~"warn|critical",severity!="critical"` never matches: a severity is one of info, warning, critical
        "#]],
    );
    check(
        &route("match = { kind = \"postgresql\" }"),
        expect![[r#"
            6:9: `route[0].match`: `kind="postgresql"` never matches: a kind is one of agent, database, postgres, redis; did you mean `postgres`?
        "#]],
    );
    check(
        &route("match = { severity = [\"critical\", \"warning\"] }"),
        expect![[r#"
            ok
        "#]],
    );
    check(
        receiver,
        expect![[r#"
            2:8: `receiver[0].name`: no [[route]] leads to "ops", so it never gets an alert; add [[route]] receiver = "ops", or remove the receiver
        "#]],
    );
}

#[test]
fn regular_expressions_take_little_memory_together() {
    let silence = |name: usize, matchers: &str| {
        format!(
            "[[silence]]\nname = \"s{name}\"\nmatchers = {matchers}\nstarts = \"2026-01-01T00:00:00Z\"\nends = \"2026-01-02T00:00:00Z\"\nauthor = \"a\"\ncomment = \"c\"\n"
        )
    };
    let many = format!("[{}]", [r#"'rule=~[\w.-]+[\w.-]+[\w.-]+'"#; 50].join(","));
    check(
        &silence(0, &many),
        expect![[r#"
            1:1: `silence[0]`: the matchers take more than 1024 KiB together; write simpler regular expressions, without Unicode classes or counted repetitions
        "#]],
    );
    let some = format!("[{}]", [r#"'rule=~[\w.-]+[\w.-]+[\w.-]+'"#; 4].join(","));
    let all: String = (0..200).map(|number| silence(number, &some)).collect();
    let problems = parse(&all, Path::new("")).unwrap_err();
    assert!(
        problems.iter().all(|problem| problem.message.contains("the matchers of this file take more than 8 MiB together")),
        "{problems:?}"
    );
    assert!(problems[0].line > 50, "{problems:?}");
}

#[test]
fn names_are_there_and_servers_are_listed_once() {
    check(
        "[[database]]\nname = \"\"\nprimary = \"postgresql://u@h/app\"\n[[redis]]\nname = \"a\\u0000\"\nnodes = [\"redis://h\", \"redis://H\"]\n[agent]\nname = \" \"\n",
        expect![[r#"
            2:8: `database[0].name`: is empty; give it a name
            5:8: `redis[0].name`: has control characters, or blanks at its ends
            6:23: `redis[0].nodes[1]`: the server H:6379 is listed twice
            8:8: `agent.name`: is empty, or has control characters; give the agent a name
        "#]],
    );
}

#[test]
fn an_address_means_what_it_looks_like() {
    check(
        "[[database]]\nname = \"a\"\nprimary = \"postgresql://us%zz@h/app\"\nreplicas = [\"postgresql://u%00@h/app\", \"postgresql://u@/app?host=/a,/b\", \"postgresql://u%25@i/app\"]\n",
        expect![[r#"
            3:11: `database[0].primary`: has a `%` that begins no code of two hex digits; write the character itself as %25
            4:13: `database[0].replicas[0]`: has a control character, which no name has
            4:13: `database[0].replicas[0]`: the server h:5432 is listed twice
            4:40: `database[0].replicas[1]`: names several folders of sockets as one; list further servers under replicas
        "#]],
    );
}

#[test]
fn a_token_belongs_to_one_name_and_cannot_be_guessed() {
    let token = |name: &str, sha256: &str| format!("[[access.token]]\nname = \"{name}\"\nrole = \"viewer\"\nsha256 = \"{sha256}\"\n");
    check(
        &token("a", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        expect![[r#"
            4:10: `access.token[0].sha256`: is the digest of "test", which others guess; make a token with `openssl rand -hex 32`
        "#]],
    );
    let two = |names: [&str; 2], digits: [&str; 2]| token(names[0], &digits[0].repeat(32)) + &token(names[1], &digits[1].repeat(32));
    check(
        &two(["a", "a"], ["0a", "0b"]),
        expect![[r#"
            6:8: `access.token[1].name`: another [[access.token]] is named "a" already
        "#]],
    );
    check(
        &two(["a", "b"], ["0a", "0A"]),
        expect![[r#"
            8:10: `access.token[1].sha256`: is the token of "a" as well; give each its own
        "#]],
    );
}

#[test]
fn addresses_of_the_agent_are_what_browsers_know() {
    check(
        "[agent]\nexternal_url = \"javascript:alert(1)\"\n[http]\nhosts = [\"https://a.example/x\", \"a.example\", \"a.example:80\", \"\"]\n",
        expect![[r#"
            2:16: `agent.external_url`: is no address of a web page; write it like "https://pharos.example.com"
            4:10: `http.hosts[0]`: "https://a.example/x" is no host name like "pharos.example.com"; leave out scheme, port and path
            4:46: `http.hosts[2]`: "a.example:80" is no host name like "pharos.example.com"; leave out scheme, port and path
            4:62: `http.hosts[3]`: "" is no host name like "pharos.example.com"; leave out scheme, port and path
        "#]],
    );
    check(
        "[agent]\nexternal_url = \"https://u:p@h/\"\n",
        expect![[r#"
            2:16: `agent.external_url`: holds a user or a password, and goes into every notification; remove them
        "#]],
    );
}

#[test]
fn thirty_thousand_mistakes_are_found_in_one_walk_and_the_first_are_shown() {
    let text: String = (0..30_000).map(|number| format!("k{number}=1\n")).collect();
    let problems = parse(&text, Path::new("")).unwrap_err();
    assert_eq!(problems.len(), 201);
    assert_eq!((problems[199].line, problems[199].column), (200, 1));
    assert_eq!(problems[200].message, "and 29800 more problems after this one");
    // In one line, where the column is what has to be counted.
    let text: String = (0..30_000).map(|number| format!("k{number}=1,")).collect();
    let problems = parse(&format!("agent = {{{text}}}"), Path::new("")).unwrap_err();
    assert_eq!((problems[1].line, problems[1].column), (1, 15));
}

/// Source files of the shipped plugins.
fn plugin_sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![project().join("plugins")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("examples") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = std::fs::read_to_string(&path).unwrap();
                sources.push((path, code));
            }
        }
    }
    sources
}

#[test]
fn every_rule_of_a_shipped_check_is_known() {
    let sources = plugin_sources();
    let checks = sources.iter().flat_map(|(_, code)| code.split("Check {").skip(1));
    let rules: BTreeSet<&str> = checks.filter_map(|check| check.trim_start().strip_prefix("id: \"")?.split('"').next()).collect();
    let known: Vec<&str> = include_str!("../config/rules.txt").lines().collect();
    assert_eq!(known, Vec::from_iter(rules));
}

#[test]
fn every_label_of_a_shipped_check_is_known() {
    let known = pharos::config::labels::known();
    let mut labels = 0;
    for (path, code) in plugin_sources() {
        // In place, or as a constant that several checks have.
        let in_place = code.split("labels: &[").skip(1);
        let named = code.split("const ").skip(1).filter(|rest| {
            let name = rest.split(':').next().unwrap_or_default();
            code.contains(&format!("labels: &{name},"))
        });
        let named = named.filter_map(|rest| rest.split_once("= [").map(|(_, list)| list));
        for list in in_place.chain(named).filter_map(|rest| rest.split_once(']')) {
            for label in list.0.split('"').skip(1).step_by(2) {
                labels += 1;
                assert!(known.contains(label), "{label} of {}", path.display());
            }
        }
    }
    assert!(labels > 60, "{labels}");
}
