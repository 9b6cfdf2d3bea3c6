//! Limits on the answers of a PostgreSQL server.
//!
//! The client library stores everything that a server sends, without a limit. The server may be broken, compromised, or not PostgreSQL at
//! all. So the bytes are parsed message by message (one byte of type, four of length) before the library gets them. They are weighed by
//! the memory that the library will use. A message whose announced length is too much ends the session before it arrives.

/// Largest weight, in bytes, of everything before the session begins: parameters, notices, authentication.
const START_WEIGHT_MAX: u64 = 256 << 10;
/// Largest weight, in bytes, of one answer with all its rows. The agent's largest answer, 60,000 indexes, uses three quarters of it.
const ANSWER_WEIGHT_MAX: u64 = 40 << 20;
/// Most bytes of one error or notice.
const ERROR_BYTES_MAX: u64 = 128 << 10;
/// Most bytes of reported settings in one session. The library stores them until the session ends.
const PARAMETERS_BYTES_MAX: u64 = 1 << 20;
/// Most rounds of hashing that a server may request (PostgreSQL: 4,096). Each round is CPU time of the agent, and the client library
/// accepts no more.
const ITERATIONS_MAX: u64 = 100_000;

/// Fewest rounds of hashing that make a password hard to guess from an answer (RFC 7677, and PostgreSQL's default).
const ITERATIONS_MIN: u64 = 4_096;

/// Memory of a message and of a column besides its bytes.
const MESSAGE_WEIGHT: u64 = 128;
const COLUMN_WEIGHT: u64 = 24;
/// Bytes of a message's body that are inspected.
const PEEK_MAX: usize = 512;

const AUTHENTICATION: u8 = b'R';
/// Types of messages before a session begins: authentication, parameters, cancel key, errors, notices, protocol version, ready for query.
const BEFORE_BEGIN: [u8; 7] = [AUTHENTICATION, b'S', b'K', b'E', b'N', b'v', b'Z'];
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL_CONTINUE: u32 = 11;

/// Why the agent ends a session with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    #[error("the server sends more than {} KiB before the session begins", START_WEIGHT_MAX >> 10)]
    Start,
    #[error("the server sends more than {} MiB in one answer", ANSWER_WEIGHT_MAX >> 20)]
    Answer,
    #[error("the server sends an error or a notice of more than {} KiB", ERROR_BYTES_MAX >> 10)]
    ErrorText,
    #[error("the server reports more than {} MiB of settings", PARAMETERS_BYTES_MAX >> 20)]
    Parameters,
    #[error("what the server sends is not PostgreSQL's protocol")]
    Protocol,
    #[error("the server asks for more than {ITERATIONS_MAX} rounds of hashing the password")]
    Iterations,
    #[error("the server asks for fewer than {ITERATIONS_MIN} rounds of hashing the password, over a connection that is not encrypted")]
    FewIterations,
    #[error("the server asks for the password in clear text, over a connection that is not encrypted")]
    ClearText,
    #[error("the server asks for the password's MD5 hash, over a connection that is not encrypted, and asked for SCRAM before")]
    Md5,
}

/// Ways of authentication that are permitted. While a server is down, any local process can listen on its port. It could guess the
/// password from an answer that was cheap to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationPolicy {
    /// Every way: the server's identity is proven, or the connection is encrypted.
    Any,
    /// Every way but the password in clear text.
    Hashed,
    /// Only SCRAM, which the server is known to support.
    Scram,
}

/// Parser of everything that one server sends on one connection.
#[derive(Debug)]
pub struct Intake {
    policy: AuthenticationPolicy,
    /// True if the server requested SCRAM, in which it also proves that it has the password.
    is_scram: bool,
    has_begun: bool,
    /// Weight of the answer that is arriving, in bytes.
    weight: u64,
    parameters: u64,
    header: Vec<u8>,
    /// Bytes of the current message that are still to arrive.
    left: u64,
    peeked: Vec<u8>,
    peek: usize,
}

impl Intake {
    /// Creates a parser for a new connection.
    pub fn new(policy: AuthenticationPolicy) -> Self {
        Self {
            policy,
            is_scram: false,
            has_begun: false,
            weight: 0,
            parameters: 0,
            header: Vec::with_capacity(5),
            left: 0,
            peeked: Vec::with_capacity(PEEK_MAX),
            peek: 0,
        }
    }

    /// Checks bytes that arrived. After an error the session must be ended.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while !bytes.is_empty() {
            if self.header.len() < 5 {
                let (part, rest) = bytes.split_at(bytes.len().min(5 - self.header.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if self.header.len() == 5 {
                    self.check_header()?;
                }
            } else {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (part, rest) = bytes.split_at(count);
                let wanted = self.peek.saturating_sub(self.peeked.len()).min(part.len());
                self.peeked.extend_from_slice(&part[..wanted]);
                self.left -= count as u64;
                bytes = rest;
            }
            if self.header.len() == 5 && self.left == 0 {
                self.check_message()?;
            }
        }
        Ok(())
    }

    /// Checks the header of a message: its type and length.
    fn check_header(&mut self) -> Result<(), Excess> {
        let tag = self.header[0];
        if !self.has_begun && !BEFORE_BEGIN.contains(&tag) {
            return Err(Excess::Protocol);
        }
        let length = u64::from(u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]));
        self.left = length.checked_sub(4).ok_or(Excess::Protocol)?;
        self.peeked.clear();
        self.peek = match tag {
            AUTHENTICATION => PEEK_MAX,
            b'D' => 2,
            _ => 0,
        };
        match tag {
            b'E' | b'N' if self.left > ERROR_BYTES_MAX => return Err(Excess::ErrorText),
            b'S' => {
                self.parameters += length;
                if self.parameters > PARAMETERS_BYTES_MAX {
                    return Err(Excess::Parameters);
                }
            }
            _ => {}
        }
        // Column descriptions take several times their bytes in memory.
        self.add(MESSAGE_WEIGHT + if tag == b'T' { length * 4 } else { length })
    }

    fn add(&mut self, weight: u64) -> Result<(), Excess> {
        self.weight += weight;
        match self.has_begun {
            false if self.weight > START_WEIGHT_MAX => Err(Excess::Start),
            true if self.weight > ANSWER_WEIGHT_MAX => Err(Excess::Answer),
            _ => Ok(()),
        }
    }

    /// Checks a message that arrived completely.
    fn check_message(&mut self) -> Result<(), Excess> {
        let tag = self.header[0];
        self.header.clear();
        match tag {
            // The server is ready for the next query.
            b'Z' => (self.has_begun, self.weight) = (true, 0),
            b'D' => {
                let columns = self.peeked.get(..2).map_or(0, |count| u64::from(u16::from_be_bytes([count[0], count[1]])));
                self.add(columns * COLUMN_WEIGHT)?;
            }
            AUTHENTICATION => self.check_authentication()?,
            _ => {}
        }
        Ok(())
    }

    /// Returns true if the server requested SCRAM.
    pub fn is_scram(&self) -> bool {
        self.is_scram
    }

    fn check_authentication(&mut self) -> Result<(), Excess> {
        let Some((code, body)) = self.peeked.split_first_chunk::<4>() else { return Err(Excess::Protocol) };
        match (u32::from_be_bytes(*code), self.policy) {
            (CLEARTEXT_PASSWORD, AuthenticationPolicy::Hashed | AuthenticationPolicy::Scram) => Err(Excess::ClearText),
            (MD5_PASSWORD, AuthenticationPolicy::Scram) => Err(Excess::Md5),
            (SASL_CONTINUE, policy) => {
                self.is_scram = true;
                match iterations(body) {
                    ITERATIONS_MIN..=ITERATIONS_MAX => Ok(()),
                    0..ITERATIONS_MIN if policy == AuthenticationPolicy::Any => Ok(()),
                    0..ITERATIONS_MIN => Err(Excess::FewIterations),
                    _ => Err(Excess::Iterations),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Number of rounds, `i=` in a SCRAM challenge: `r=...,s=...,i=4096`.
fn iterations(challenge: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(challenge);
    let count = text.split(',').find_map(|part| part.strip_prefix("i="));
    // The library refuses a count that is no number.
    count.map_or(0, |count| count.trim().parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    fn announcement(tag: u8, length: u32) -> Vec<u8> {
        [&[tag][..], &length.to_be_bytes()].concat()
    }

    #[test]
    fn a_server_that_begins_with_other_bytes_is_refused() {
        for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"220 mail ESMTP\r\n", b"-ERR unknown command\r\n", &message(b'2', b"")] {
            assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(words), Err(Excess::Protocol), "{words:?}");
        }
        assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&message(b'v', &[0; 8])), Ok(()));
    }

    /// A session that is ready for queries.
    fn begun() -> Intake {
        let mut intake = Intake::new(AuthenticationPolicy::Hashed);
        let start = [message(b'R', &[0; 4]), message(b'S', b"server_version\x0017.2\0"), message(b'K', &[0; 8]), message(b'Z', b"I")];
        intake.check(&start.concat()).unwrap();
        intake
    }

    fn row(columns: u16) -> Vec<u8> {
        message(b'D', &[&columns.to_be_bytes()[..], &(-1_i32).to_be_bytes().repeat(usize::from(columns))].concat())
    }

    /// Sends the same bytes until the session is ended; returns the reason and the number of bytes.
    fn flood(mut intake: Intake, bytes: &[u8]) -> (Excess, usize) {
        for times in 1.. {
            if let Err(excess) = intake.check(bytes) {
                return (excess, times * bytes.len());
            }
        }
        unreachable!()
    }

    #[test]
    fn a_message_is_refused_by_its_length_before_it_arrives() {
        assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&announcement(b'R', 0x7fff_ffff)), Err(Excess::Start));
        assert_eq!(begun().check(&announcement(b'D', 0x7fff_fff0)), Err(Excess::Answer));
        assert_eq!(begun().check(&announcement(b'E', 50 << 20)), Err(Excess::ErrorText));
        assert_eq!(begun().check(&announcement(b'Z', 3)), Err(Excess::Protocol));
    }

    #[test]
    fn endless_answers_are_refused_by_their_sum() {
        assert_eq!(flood(Intake::new(AuthenticationPolicy::Hashed), &message(b'S', &[b'x'; 1_000])).0, Excess::Start);
        assert_eq!(flood(Intake::new(AuthenticationPolicy::Hashed), &message(b'N', &[b'n'; 10_000])).0, Excess::Start);
        let (excess, bytes) = flood(begun(), &message(b'S', &[b'x'; 1_000]));
        assert!(excess == Excess::Parameters && bytes < 2 << 20, "{excess:?} after {bytes}");
        let (excess, bytes) = flood(begun(), &row(0));
        assert!(excess == Excess::Answer && bytes < 8 << 20, "empty rows weigh as well: {bytes}");
        let (excess, bytes) = flood(begun(), &row(60_000));
        assert!(excess == Excess::Answer && bytes < 20 << 20, "and so do columns without a value: {bytes}");
    }

    #[test]
    fn each_answer_is_weighed_alone_and_settings_are_summed_up() {
        let mut intake = begun();
        for _ in 0..40 {
            intake.check(&row(11).repeat(60_000)).unwrap();
            intake.check(&message(b'Z', b"I")).unwrap();
        }
        let setting = [message(b'S', &[b'x'; 100_000]), message(b'Z', b"I")].concat();
        assert_eq!(flood(intake, &setting).0, Excess::Parameters);
    }

    #[test]
    fn a_password_is_sent_in_clear_text_only_if_the_policy_permits_it() {
        let asks = message(b'R', &3_u32.to_be_bytes());
        assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&asks), Err(Excess::ClearText));
        assert_eq!(Intake::new(AuthenticationPolicy::Any).check(&asks), Ok(()));
    }

    #[test]
    fn weak_hashing_is_refused_without_encryption() {
        let md5 = message(b'R', b"\0\0\0\x05salt");
        let [known, stranger, trusted] = [AuthenticationPolicy::Scram, AuthenticationPolicy::Hashed, AuthenticationPolicy::Any]
            .map(Intake::new)
            .map(|mut intake| intake.check(&md5));
        assert_eq!((known, stranger, trusted), (Err(Excess::Md5), Ok(()), Ok(())));
        let once = message(b'R', b"\0\0\0\x0br=abc,s=c2FsdA==,i=1");
        let [known, stranger, trusted] = [AuthenticationPolicy::Scram, AuthenticationPolicy::Hashed, AuthenticationPolicy::Any]
            .map(Intake::new)
            .map(|mut intake| intake.check(&once));
        assert_eq!((known, stranger, trusted), (Err(Excess::FewIterations), Err(Excess::FewIterations), Ok(())));
    }

    #[test]
    fn too_many_rounds_of_hashing_are_refused() {
        let challenge = |iterations: &str| message(b'R', format!("\0\0\0\x0br=abc,s=c2FsdA==,i={iterations}").as_bytes());
        assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&challenge("4096")), Ok(()));
        assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&challenge("100000")), Ok(()));
        for iterations in ["100001", "4294967295", "99999999999999999999999"] {
            assert_eq!(Intake::new(AuthenticationPolicy::Hashed).check(&challenge(iterations)), Err(Excess::Iterations), "{iterations}");
        }
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_pieces_in_which_bytes_arrive(bytes in prop::collection::vec(any::<u8>(), 0..400), pieces in prop::collection::vec(1usize..20, 1..60)) {
            let answer = [message(b'R', &[0; 4]), message(b'Z', b"I"), row(3), message(b'C', b"SELECT 1\0"), message(b'Z', b"I"), bytes].concat();
            let mut whole = Intake::new(AuthenticationPolicy::Hashed);
            let at_once = whole.check(&answer);
            let mut pieced = Intake::new(AuthenticationPolicy::Hashed);
            let mut rest = &answer[..];
            let mut outcome = Ok(());
            for size in pieces.iter().cycle() {
                if rest.is_empty() || outcome.is_err() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                outcome = pieced.check(piece);
                rest = after;
            }
            prop_assert_eq!(at_once, outcome);
            if at_once.is_ok() {
                prop_assert_eq!((whole.weight, whole.left, whole.header), (pieced.weight, pieced.left, pieced.header));
            }
        }
    }
}
