//! No relay or host is used that the config did not grant.
//!
//! Covers relays and grants of hosts in the config.

use expect_test::expect;

use crate::config::check;

#[test]
fn a_relay_needs_a_sender_and_never_a_login_over_clear_text() {
    check(
        "[relay.office]\nhost = \"smtp.example.com\"\nfrom = \"Pharos <pharos@example.com>\"\n",
        expect![[r#"
        ok
    "#]],
    );
    check(
        "[relay.office]\nhost = \"smtp.example.com\"\nform = \"pharos@example.com\"\nencryption = \"startls\"\nport = 0\n",
        expect![[r#"
            1:1: `relay.office` needs a key `from`
            3:1: unknown key `form` in `relay.office`; did you mean `from`?
            4:14: `relay.office.encryption` is "startls" but must be one of "starttls", "tls", "none"; did you mean `starttls`?
            5:8: `relay.office.port` is 0 but must be between 1 and 65535
        "#]],
    );
    check(
        "[relay.office]\nhost = \"smtp://smtp.example.com:587\"\nfrom = \"pharos\"\nhello = \"two words\"\ntimeout = \"3s\"\n",
        expect![[r#"
            2:8: `relay.office.host`: is no host name or address; write it without scheme, and the port under `port`
            3:8: `relay.office.from`: is no sender like "Pharos <pharos@example.com>": Invalid input
            4:9: `relay.office.hello`: is no host name like "monitor.example.com"
            5:11: `relay.office.timeout`: must be longer than connect_timeout, which is a part of it
        "#]],
    );
    check(
        "[relay.office]\nhost = \"10.0.0.1\"\nfrom = \"pharos@exämple.com\"\nencryption = \"none\"\nusername = \"a\"\npassword_env = \"B\"\nca = \"c\"\n",
        expect![[r#"
            3:8: `relay.office.from`: has an address outside of ASCII; write its domain as xn--...
            5:12: `relay.office.username`: a login over clear text is not allowed; set encryption = "starttls" or "tls", or remove username
            7:6: `relay.office.ca`: has no meaning over clear text; remove it, or set encryption
        "#]],
    );
    check(
        "[relay.a]\nhost = \"::1\"\nfrom = \"a@b.c\"\nusername = \"a\"\n[relay.b]\nhost = \"b\"\nfrom = \"a@b.c\"\npassword_file = \"x\"\npassword_env = \"X\"\n",
        expect![[r#"
            4:12: `relay.a.username`: needs a password: password_file or password_env
            8:17: `relay.b.password_file`: needs a username
            9:16: `relay.b.password_env`: password_file and password_env are both set; keep one
        "#]],
    );
    check(
        "[plugin.email]\ngrants = { mail = [\"offce\", \"x\"] }\n[relay.office]\nhost = \"a\"\nfrom = \"a@b.c\"\nconnect_timeout = \"0s\"\n",
        expect![[r#"
            2:20: `plugin.email.grants.mail[0]`: there is no [relay.offce]; did you mean `office`?
            2:29: `plugin.email.grants.mail[1]`: there is no [relay.x]
            6:19: `relay.office.connect_timeout`: must not be 0
        "#]],
    );
}

#[test]
fn a_grant_that_can_never_fit_is_an_error() {
    let grants = |grants: &[&str]| format!("[plugin.webhook]\ngrants = {{ egress = {grants:?} }}\n");
    check(
        &grants(&[
            "a.example.com",
            "a:8080",
            "*.b.org",
            "http://a",
            "https://a:1",
            "10.0.0.1",
            "[::1]:80",
            "::1",
            "10.0.0.0/8",
            "fd00::/8",
        ]),
        expect![[r#"
            ok
        "#]],
    );
    check(
        &grants(&["https://a/x", "a b", "u@a", "*", "", "10.0.0.0/33", "ftp://a", "a.*.b"]),
        expect![[r#"
        2:22: `plugin.webhook.grants.egress[0]`: "https://a/x" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:37: `plugin.webhook.grants.egress[1]`: "a b" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:44: `plugin.webhook.grants.egress[2]`: "u@a" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:51: `plugin.webhook.grants.egress[3]`: "*" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:56: `plugin.webhook.grants.egress[4]`: "" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:60: `plugin.webhook.grants.egress[5]`: "10.0.0.0/33" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:75: `plugin.webhook.grants.egress[6]`: "ftp://a" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
        2:86: `plugin.webhook.grants.egress[7]`: "a.*.b" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16
    "#]],
    );
}
