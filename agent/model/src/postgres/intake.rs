//! What a PostgreSQL server may send in one answer.
//!
//! The client library keeps what a server sends without a bound, and the server may be broken, taken over, or not PostgreSQL at all. So the
//! bytes are followed message by message (one byte of type, four of length) before the library sees them, and weighed as what will be kept
//! of them. A message whose announced length is too much ends the session before it arrives.

/// Everything until the session begins: parameters, notices, authentication.
const START_WEIGHT_MAX: u64 = 256 << 10;
/// One answer with all its rows. The largest that we ask for, 60,000 indexes, has three quarters of it.
const ANSWER_WEIGHT_MAX: u64 = 40 << 20;
/// One error or notice.
const WORDS_BYTES_MAX: u64 = 128 << 10;
/// Reported settings of one session, which the library collects as long as it lasts.
const PARAMETERS_BYTES_MAX: u64 = 1 << 20;
/// Rounds of hashing that a server may ask for (PostgreSQL: 4,096); each one is our CPU time, and the client library takes no more.
const ITERATIONS_MAX: u64 = 100_000;

/// Rounds of hashing that make a password hard to guess from an answer (RFC 7677, and what PostgreSQL ships).
const ITERATIONS_MIN: u64 = 4_096;

/// What is kept of a message and of a column beside its bytes.
const MESSAGE_WEIGHT: u64 = 128;
const COLUMN_WEIGHT: u64 = 24;
/// What is looked at of a message's body.
const PEEK_MAX: usize = 512;

const AUTHENTICATION: u8 = b'R';
/// What a server may send before a session begins: authentication, parameters, the key to cancel with, errors, notices, the version of the
/// protocol that it speaks, and that it is ready.
const BEFORE_BEGIN: [u8; 7] = [AUTHENTICATION, b'S', b'K', b'E', b'N', b'v', b'Z'];
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL_CONTINUE: u32 = 11;

/// Why a server is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    #[error("the server sends more than {} KiB before the session begins", START_WEIGHT_MAX >> 10)]
    Start,
    #[error("the server sends more than {} MiB in one answer", ANSWER_WEIGHT_MAX >> 20)]
    Answer,
    #[error("the server sends an error or a notice of more than {} KiB", WORDS_BYTES_MAX >> 10)]
    Words,
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

/// What may be answered to the question for the password. Anybody can listen on a port of this machine while its server is down, and guess
/// the password from an answer that was cheap to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Whatever is asked for: the server is who it says, or the connection is encrypted.
    Any,
    /// What does not give the password away at once.
    Hashed,
    /// SCRAM alone, since the server has it.
    Scram,
}

/// Follows what one server sends through one connection.
#[derive(Debug)]
pub struct Intake {
    answers: Answers,
    /// Whether the server asked for SCRAM, in which it proves that it knows the password as well.
    is_scram: bool,
    has_begun: bool,
    /// Of the answer that arrives now.
    weight: u64,
    parameters: u64,
    header: Vec<u8>,
    /// Bytes of the current message that are still to come.
    left: u64,
    peeked: Vec<u8>,
    peek: usize,
}

impl Intake {
    pub fn new(answers: Answers) -> Self {
        Self {
            answers,
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

    /// Takes what arrived.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while !bytes.is_empty() {
            if self.header.len() < 5 {
                let (part, rest) = bytes.split_at(bytes.len().min(5 - self.header.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if self.header.len() == 5 {
                    self.announced()?;
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
                self.arrived()?;
            }
        }
        Ok(())
    }

    /// A message is announced, with its length.
    fn announced(&mut self) -> Result<(), Excess> {
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
            b'E' | b'N' if self.left > WORDS_BYTES_MAX => return Err(Excess::Words),
            b'S' => {
                self.parameters += length;
                if self.parameters > PARAMETERS_BYTES_MAX {
                    return Err(Excess::Parameters);
                }
            }
            _ => {}
        }
        // Descriptions of columns become several times as large.
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

    /// The current message is complete.
    fn arrived(&mut self) -> Result<(), Excess> {
        let tag = self.header[0];
        self.header.clear();
        match tag {
            // Ready for the next question.
            b'Z' => (self.has_begun, self.weight) = (true, 0),
            b'D' => {
                let columns = self.peeked.get(..2).map_or(0, |count| u64::from(u16::from_be_bytes([count[0], count[1]])));
                self.add(columns * COLUMN_WEIGHT)?;
            }
            AUTHENTICATION => self.authenticates()?,
            _ => {}
        }
        Ok(())
    }

    /// Whether the server asked for SCRAM.
    pub fn is_scram(&self) -> bool {
        self.is_scram
    }

    fn authenticates(&mut self) -> Result<(), Excess> {
        let Some((code, body)) = self.peeked.split_first_chunk::<4>() else { return Err(Excess::Protocol) };
        match (u32::from_be_bytes(*code), self.answers) {
            (CLEARTEXT_PASSWORD, Answers::Hashed | Answers::Scram) => Err(Excess::ClearText),
            (MD5_PASSWORD, Answers::Scram) => Err(Excess::Md5),
            (SASL_CONTINUE, answers) => {
                self.is_scram = true;
                match iterations(body) {
                    ITERATIONS_MIN..=ITERATIONS_MAX => Ok(()),
                    0..ITERATIONS_MIN if answers == Answers::Any => Ok(()),
                    0..ITERATIONS_MIN => Err(Excess::FewIterations),
                    _ => Err(Excess::Iterations),
                }
            }
            _ => Ok(()),
        }
    }
}

/// `i=` of a SCRAM challenge: `r=...,s=...,i=4096`.
fn iterations(challenge: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(challenge);
    let count = text.split(',').find_map(|part| part.strip_prefix("i="));
    // What is no number, the library refuses.
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
    fn who_begins_with_other_words_does_not_speak_the_protocol() {
        for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"220 mail ESMTP\r\n", b"-ERR unknown command\r\n", &message(b'2', b"")] {
            assert_eq!(Intake::new(Answers::Hashed).take(words), Err(Excess::Protocol), "{words:?}");
        }
        assert_eq!(Intake::new(Answers::Hashed).take(&message(b'v', &[0; 8])), Ok(()));
    }

    /// Ready for questions.
    fn begun() -> Intake {
        let mut intake = Intake::new(Answers::Hashed);
        let start = [message(b'R', &[0; 4]), message(b'S', b"server_version\x0017.2\0"), message(b'K', &[0; 8]), message(b'Z', b"I")];
        intake.take(&start.concat()).unwrap();
        intake
    }

    fn row(columns: u16) -> Vec<u8> {
        message(b'D', &[&columns.to_be_bytes()[..], &(-1_i32).to_be_bytes().repeat(usize::from(columns))].concat())
    }

    /// Sends it again and again until the server is not listened to any more; how many bytes that took.
    fn flood(mut intake: Intake, bytes: &[u8]) -> (Excess, usize) {
        for times in 1.. {
            if let Err(excess) = intake.take(bytes) {
                return (excess, times * bytes.len());
            }
        }
        unreachable!()
    }

    #[test]
    fn a_message_is_refused_by_its_length_before_it_arrives() {
        assert_eq!(Intake::new(Answers::Hashed).take(&announcement(b'R', 0x7fff_ffff)), Err(Excess::Start));
        assert_eq!(begun().take(&announcement(b'D', 0x7fff_fff0)), Err(Excess::Answer));
        assert_eq!(begun().take(&announcement(b'E', 50 << 20)), Err(Excess::Words));
        assert_eq!(begun().take(&announcement(b'Z', 3)), Err(Excess::Protocol));
    }

    #[test]
    fn what_never_ends_is_refused_by_its_sum() {
        assert_eq!(flood(Intake::new(Answers::Hashed), &message(b'S', &[b'x'; 1_000])).0, Excess::Start);
        assert_eq!(flood(Intake::new(Answers::Hashed), &message(b'N', &[b'n'; 10_000])).0, Excess::Start);
        let (excess, bytes) = flood(begun(), &message(b'S', &[b'x'; 1_000]));
        assert!(excess == Excess::Parameters && bytes < 2 << 20, "{excess:?} after {bytes}");
        let (excess, bytes) = flood(begun(), &row(0));
        assert!(excess == Excess::Answer && bytes < 8 << 20, "empty rows weigh as well: {bytes}");
        let (excess, bytes) = flood(begun(), &row(60_000));
        assert!(excess == Excess::Answer && bytes < 20 << 20, "and so do columns without a value: {bytes}");
    }

    #[test]
    fn each_answer_is_weighed_alone_and_settings_for_ever() {
        let mut intake = begun();
        for _ in 0..40 {
            intake.take(&row(11).repeat(60_000)).unwrap();
            intake.take(&message(b'Z', b"I")).unwrap();
        }
        let setting = [message(b'S', &[b'x'; 100_000]), message(b'Z', b"I")].concat();
        assert_eq!(flood(intake, &setting).0, Excess::Parameters);
    }

    #[test]
    fn a_password_goes_out_in_clear_text_only_where_it_may() {
        let asks = message(b'R', &3_u32.to_be_bytes());
        assert_eq!(Intake::new(Answers::Hashed).take(&asks), Err(Excess::ClearText));
        assert_eq!(Intake::new(Answers::Any).take(&asks), Ok(()));
    }

    #[test]
    fn what_is_easy_to_guess_from_goes_to_no_stranger() {
        let md5 = message(b'R', b"\0\0\0\x05salt");
        let [known, stranger, trusted] =
            [Answers::Scram, Answers::Hashed, Answers::Any].map(Intake::new).map(|mut intake| intake.take(&md5));
        assert_eq!((known, stranger, trusted), (Err(Excess::Md5), Ok(()), Ok(())));
        let once = message(b'R', b"\0\0\0\x0br=abc,s=c2FsdA==,i=1");
        let [known, stranger, trusted] =
            [Answers::Scram, Answers::Hashed, Answers::Any].map(Intake::new).map(|mut intake| intake.take(&once));
        assert_eq!((known, stranger, trusted), (Err(Excess::FewIterations), Err(Excess::FewIterations), Ok(())));
    }

    #[test]
    fn nobody_makes_us_hash_for_ever() {
        let challenge = |iterations: &str| message(b'R', format!("\0\0\0\x0br=abc,s=c2FsdA==,i={iterations}").as_bytes());
        assert_eq!(Intake::new(Answers::Hashed).take(&challenge("4096")), Ok(()));
        assert_eq!(Intake::new(Answers::Hashed).take(&challenge("100000")), Ok(()));
        for iterations in ["100001", "4294967295", "99999999999999999999999"] {
            assert_eq!(Intake::new(Answers::Hashed).take(&challenge(iterations)), Err(Excess::Iterations), "{iterations}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_bytes_arrive(bytes in prop::collection::vec(any::<u8>(), 0..400), pieces in prop::collection::vec(1usize..20, 1..60)) {
            let answer = [message(b'R', &[0; 4]), message(b'Z', b"I"), row(3), message(b'C', b"SELECT 1\0"), message(b'Z', b"I"), bytes].concat();
            let mut whole = Intake::new(Answers::Hashed);
            let at_once = whole.take(&answer);
            let mut pieced = Intake::new(Answers::Hashed);
            let mut rest = &answer[..];
            let mut outcome = Ok(());
            for size in pieces.iter().cycle() {
                if rest.is_empty() || outcome.is_err() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                outcome = pieced.take(piece);
                rest = after;
            }
            prop_assert_eq!(at_once, outcome);
            if at_once.is_ok() {
                prop_assert_eq!((whole.weight, whole.left, whole.header), (pieced.weight, pieced.left, pieced.header));
            }
        }
    }
}
