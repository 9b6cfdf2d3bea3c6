//! Options in the URL of a PostgreSQL server. libpq has many options. The agent refuses those that it does not read, since ignoring one
//! could make a session less safe than its user expects.

/// Options that repeat parts of the URL, and are read.
const READ: [&str; 4] = ["host", "port", "user", "dbname"];

/// Options of libpq that are not read, with advice what to do instead.
const INSTEAD: &[(&str, &str)] = &[
    ("hostaddr", "write the address in the place of the host"),
    ("passfile", "name a file that holds nothing but the password with `password_file`"),
    ("sslrootcert", "write `tls = { mode = \"verify-full\", ca = \"FILE\" }` beside `primary`"),
    ("sslcert", "client certificates are not supported; use a password"),
    ("sslkey", "client certificates are not supported; use a password"),
    ("sslpassword", "client certificates are not supported; use a password"),
    ("sslcrl", "lists of revoked certificates are not supported"),
    ("sslcrldir", "lists of revoked certificates are not supported"),
    ("application_name", "sessions are named after `agent.name`"),
    ("fallback_application_name", "sessions are named after `agent.name`"),
    ("options", "the settings of its sessions are Pharos' own; see `[collect]` for their time limits"),
    ("connect_timeout", "write `connect_timeout` in `[collect]`"),
    ("target_session_attrs", "name each server by itself, under `primary` and `replicas`; Pharos finds out which one is the primary"),
    ("load_balance_hosts", "name each server by itself, under `primary` and `replicas`"),
    ("channel_binding", "it is used wherever the session is encrypted and the server offers it"),
    ("keepalives", "they are always on"),
    ("keepalives_idle", "it is 10 seconds"),
    ("keepalives_interval", "it is 3 seconds"),
    ("keepalives_count", "it is 3"),
    ("keepalives_retries", "it is 3"),
    ("tcp_user_timeout", "it is 10 seconds"),
    ("gssencmode", "GSSAPI is not supported; use `tls`"),
    ("krbsrvname", "GSSAPI is not supported; use a password"),
    ("service", "write host, port, user and datname into the URL"),
    ("servicefile", "write host, port, user and datname into the URL"),
];

/// Refuses every option that has no effect, with what to do instead. Values are not repeated: they may be secrets.
pub(super) fn refuse(url: &str) -> Result<(), String> {
    if url.contains('#') {
        return Err("has a `#`, which has no meaning here; inside a name write it as %23".to_owned());
    }
    let Some((_, query)) = url.split_once('?') else { return Ok(()) };
    let pairs = || url::form_urlencoded::parse(query.as_bytes());
    if pairs().any(|(name, _)| name == "password") {
        return Err("holds a password; move it to a file and name that with password_file".to_owned());
    }
    let refused: Vec<String> =
        pairs().filter(|(name, _)| !READ.contains(&name.as_ref())).map(|(name, value)| instead(&name, &value)).collect();
    if refused.is_empty() { Ok(()) } else { Err(format!("has options that are not read there: {}", refused.join("; "))) }
}

fn instead(name: &str, value: &str) -> String {
    let advice = match name {
        "sslmode" => ssl_mode(value),
        _ => INSTEAD.iter().find(|(option, _)| *option == name).map_or("remove it", |(_, advice)| advice),
    };
    format!("`{}`: {advice}", name.escape_debug())
}

fn ssl_mode(value: &str) -> &'static str {
    match value {
        "disable" => "write `tls = { mode = \"disable\" }` beside `primary`",
        "verify-ca" => "write `tls = { mode = \"verify-ca\", ca = \"FILE\" }` beside `primary`",
        "verify-full" => "write `tls = { mode = \"verify-full\", ca = \"FILE\" }` beside `primary`",
        _ => "write `tls = { mode = \"require\" }` beside `primary`",
    }
}
