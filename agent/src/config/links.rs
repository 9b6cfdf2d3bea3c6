//! Links between sections: names that must exist, differ, or lead somewhere.

use std::collections::BTreeSet;

use super::root::Config;
use super::shape::did_you_mean;

/// The longest name, in bytes. Names become labels of metrics and words in messages.
const NAME_CHARS_MAX: usize = 100;

/// Checks the whole file; `report(path, message)` takes each problem.
pub(super) fn validate(config: &Config, report: &mut impl FnMut(String, String)) {
    let names = |section: &str, names: Vec<&String>| -> Vec<(String, String)> {
        names.iter().enumerate().map(|(index, name)| (format!("{section}[{index}].name"), (*name).clone())).collect()
    };
    let lists = [
        ("database", names("database", config.database.iter().map(|database| &database.name).collect())),
        ("redis", names("redis", config.redis.iter().map(|redis| &redis.name).collect())),
        ("receiver", names("receiver", config.receiver.iter().map(|receiver| &receiver.name).collect())),
        ("inhibit", names("inhibit", config.inhibit.iter().map(|inhibition| &inhibition.name).collect())),
        ("silence", names("silence", config.silence.iter().map(|silence| &silence.name).collect())),
        ("access.token", names("access.token", config.access.token.iter().map(|token| &token.name).collect())),
    ];
    for (section, names) in &lists {
        unique(section, names, report);
    }
    let keys = |section: &str, keys: Vec<&String>| -> Vec<(String, String)> {
        keys.iter().map(|key| (format!("{section}.{key}"), (*key).clone())).collect()
    };
    let tables = [keys("relay", config.relay.keys().collect()), keys("secret", config.secret.keys().collect())];
    for (path, name) in lists.iter().flat_map(|(_, names)| names).chain(tables.iter().flatten()) {
        if let Some(why) = unfit(name) {
            report(path.clone(), why);
        }
    }
    addresses(config, report);
    unique_servers(config, report);
    granted(config, report);
    routed(config, report);
}

fn unique(section: &str, names: &[(String, String)], report: &mut impl FnMut(String, String)) {
    let mut seen = BTreeSet::new();
    for (path, name) in names {
        if !seen.insert(name) {
            report(path.clone(), format!("another [[{section}]] is named \"{name}\" already"));
        }
    }
}

/// Reports why a text is no name.
fn unfit(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty; give it a name".to_owned());
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Some("has control characters, or blanks at its ends".to_owned());
    }
    (name.chars().count() > NAME_CHARS_MAX).then(|| format!("is longer than {NAME_CHARS_MAX} characters"))
}

/// Reports URLs that do not mean what they seem to mean.
fn addresses(config: &Config, report: &mut impl FnMut(String, String)) {
    for (index, database) in config.database.iter().enumerate() {
        let replicas = database.replicas.iter().enumerate().map(|(replica, url)| (format!("database[{index}].replicas[{replica}]"), url));
        for (path, url) in replicas.chain([(format!("database[{index}].primary"), &database.primary)]) {
            if let Some(why) = misread(url) {
                report(path, why.to_owned());
            }
        }
    }
    for (index, redis) in config.redis.iter().enumerate() {
        for (node, url) in redis.nodes.iter().enumerate() {
            if let Some(why) = misread(url) {
                report(format!("redis[{index}].nodes[{node}]"), why.to_owned());
            }
        }
    }
}

fn misread(url: &str) -> Option<&'static str> {
    let codes = url.split('%').skip(1);
    if codes.clone().any(|code| !code.get(..2).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))) {
        return Some("has a `%` that begins no code of two hex digits; write the character itself as %25");
    }
    let is_control =
        |code: &str| code.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()).is_some_and(|byte| byte.is_ascii_control());
    if url.chars().any(char::is_control) || codes.clone().any(is_control) {
        return Some("has a control character, which no name has");
    }
    let folders = |value: &str| value.starts_with('/') && value.contains(',');
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "host" && folders(&value))
        .then_some("names several folders of sockets as one; list further servers under replicas")
}

/// Reports servers that are configured twice, since every series and alert would exist twice. Upper and lower case do not matter in host
/// names.
fn unique_servers(config: &Config, report: &mut impl FnMut(String, String)) {
    let mut seen = BTreeSet::new();
    let postgres = config.database.iter().enumerate().flat_map(|(index, database)| database.servers(&format!("database[{index}]")));
    let redis = config.redis.iter().enumerate().flat_map(|(index, redis)| redis.servers(&format!("redis[{index}]")));
    for (path, id) in postgres.chain(redis) {
        // The folder of a socket is not a host name, so upper and lower case matter there.
        let same = if id.starts_with('/') { id.clone() } else { id.to_lowercase() };
        if !seen.insert(same) {
            report(path, format!("the server {id} is listed twice"));
        }
    }
}

/// Reports grants of secrets and relays that do not exist.
fn granted(config: &Config, report: &mut impl FnMut(String, String)) {
    for (id, plugin) in &config.plugin {
        let mails = plugin.grants.mail.iter().enumerate().filter(|(_, name)| !config.relay.contains_key(*name));
        for (index, name) in mails {
            let hint = did_you_mean(name, config.relay.keys().map(String::as_str));
            report(format!("plugin.{id}.grants.mail[{index}]"), format!("there is no [relay.{name}]{hint}"));
        }
        let secrets = plugin.grants.secrets.iter().enumerate().filter(|(_, name)| !config.secret.contains_key(*name));
        for (index, name) in secrets {
            let hint = did_you_mean(name, config.secret.keys().map(String::as_str));
            report(format!("plugin.{id}.grants.secrets[{index}]"), format!("there is no secret \"{name}\" under [secret]{hint}"));
        }
    }
}

/// Reports receivers without a route, since they would never be notified.
fn routed(config: &Config, report: &mut impl FnMut(String, String)) {
    let is_misspelt = |name: &String| !config.receiver.iter().any(|receiver| receiver.name == *name);
    // A misspelt receiver of a route is reported already, and the route may be for this receiver.
    if config.route.iter().any(|route| is_misspelt(&route.receiver)) {
        return;
    }
    for (index, receiver) in config.receiver.iter().enumerate() {
        if !config.route.iter().any(|route| route.receiver == receiver.name) {
            let name = &receiver.name;
            report(
                format!("receiver[{index}].name"),
                format!(
                    "no [[route]] leads to \"{name}\", so it never gets an alert; add [[route]] receiver = \"{name}\", or remove the receiver"
                ),
            );
        }
    }
}
