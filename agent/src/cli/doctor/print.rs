//! Formats a report for a terminal of 80 columns.

use std::fmt::Write as _;

use super::report::{PartReport, Report, ServerReport};
use pharos_model::subject::SubjectKind;

const COLUMNS: usize = 80;
/// Columns for the state: the longest state and a gap.
const STATE: usize = 13;

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    for server in &report.servers {
        server_text(&mut out, server);
    }
    let scripts: Vec<&ServerReport> =
        report.servers.iter().filter(|server| server.script.is_some() && !gets_script_from_primary(server, report)).collect();
    for server in &scripts {
        let rule = format!("-- {} {} ", server.kind, server.id);
        let _ = writeln!(out, "{rule}{}", "-".repeat(COLUMNS.saturating_sub(rule.chars().count())));
        let _ = writeln!(out, "{}", server.script.as_deref().unwrap_or_default());
    }
    let _ = match (report.ok, scripts.is_empty()) {
        (true, _) if report.servers.is_empty() => writeln!(out, "no servers are configured"),
        (true, _) => writeln!(out, "nothing is missing"),
        (false, true) => writeln!(out, "-- something is missing, see above"),
        (false, false) => writeln!(out, "-- something is missing: run the script above, then this command again"),
    };
    out
}

/// Whether the server is a standby whose primary has a script too: grants on the primary are replicated to it.
fn gets_script_from_primary(server: &ServerReport, report: &Report) -> bool {
    let is_primary = |other: &ServerReport| other.standby == Some(false) && other.database == server.database && other.role == server.role;
    server.standby == Some(true) && report.servers.iter().any(|other| is_primary(other) && other.script.is_some())
}

fn server_text(out: &mut String, server: &ServerReport) {
    let _ = writeln!(out, "{} {} ({})", server.kind, server.id, server.database);
    if let Some(refused) = &server.refused {
        hanging(out, "  cannot connect: ", &format!("{} ({})", refused.why, refused.reason));
        out.push('\n');
        return;
    }
    hanging(out, "  ", &identity(server));
    if let Some(caveat) = &server.caveat {
        hanging(out, "  ", caveat);
    }
    let (of_server, in_datnames): (Vec<&PartReport>, Vec<&PartReport>) = server.parts.iter().partition(|part| part.datname.is_none());
    parts_text(out, &of_server);
    // Datnames with equal reports are printed together.
    let mut groups: Vec<(Vec<&str>, Vec<&PartReport>)> = Vec::new();
    for parts in in_datnames.chunk_by(|one, other| one.datname == other.datname) {
        let datname = parts[0].datname.as_deref().unwrap_or_default();
        let is_equal = |known: &[&PartReport]| known.iter().map(printed).eq(parts.iter().map(printed));
        match groups.iter_mut().find(|(_, known)| is_equal(known)) {
            Some((datnames, _)) => datnames.push(datname),
            None => groups.push((vec![datname], parts.to_vec())),
        }
    }
    for (datnames, parts) in groups {
        hanging(out, "  in datname ", &datnames.join(", "));
        parts_text(out, &parts);
    }
    out.push('\n');
}

/// Everything that is printed of a part.
fn printed<'a>(part: &&'a PartReport) -> (&'a str, &'static str, &'a [String]) {
    (part.part.as_str(), part.word(), &part.why)
}

/// Writes a line for each state and reason, with the parts to which they apply.
fn parts_text(out: &mut String, parts: &[&PartReport]) {
    let mut lines: Vec<(&str, &[String], Vec<&str>)> = Vec::new();
    for part in parts {
        match lines.iter_mut().find(|(word, why, _)| (*word, *why) == (part.word(), part.why.as_slice())) {
            Some((_, _, names)) => names.push(part.part.as_str()),
            None => lines.push((part.word(), &part.why, vec![part.part.as_str()])),
        }
    }
    for (word, why, names) in lines {
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        hanging(out, &format!("  {word:STATE$}"), &format!("{}{why}", names.join(", ")));
    }
}

/// `PostgreSQL 17.2, primary, as pharos in datname app`
fn identity(server: &ServerReport) -> String {
    let mut text = format!("{} {}", server.kind.product(), server.version.as_deref().unwrap_or("of unknown version"));
    if let Some(standby) = server.standby {
        text.push_str(match (&server.kind, standby) {
            (_, false) => ", primary",
            (SubjectKind::Redis, true) => ", replica",
            (_, true) => ", standby",
        });
    }
    if let (Some(role), Some(datname)) = (&server.role, &server.datname) {
        let login = server.login.as_ref().map(|login| format!(" (logged in as {}, which has `role` preset)", shown(login)));
        let _ = write!(text, ", as {}{} in datname {}", shown(role), login.unwrap_or_default(), shown(datname));
    }
    text
}

/// Writes `text` after `head`. Further lines are indented to the column where the text begins.
fn hanging(out: &mut String, head: &str, text: &str) {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut used = indent;
    for word in text.split_whitespace() {
        let (word, length) = (shown(word), word.chars().count());
        if used > indent && used + 1 + length > COLUMNS {
            let _ = writeln!(out, "{}", line.trim_end());
            (line, used) = (" ".repeat(indent), indent);
        }
        if used > indent {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word);
        used += length;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// A name from the server, without control characters that would steer the terminal.
fn shown(name: &str) -> String {
    name.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}
