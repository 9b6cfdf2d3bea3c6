//! The outcome of a delivery, from the answer of the receiver.

use pharos_plugin::civil_date::parse_http_date;
use pharos_plugin::egress::{EgressError, Response};
use pharos_plugin::{Failure, Outcome, Retry};

/// The longest pause before the next try, in milliseconds. A receiver may ask for a longer pause, but an alert is worth another try.
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// Characters of an error page that are shown. The beginning is enough to recognise the problem.
const BODY_SHOWN_CHARS: usize = 200;

/// The try from which on a redirect is final. Some receivers redirect for a short time while they are set up anew.
const REDIRECTED_MAX: u32 = 3;

pub(crate) fn outcome(reply: Result<Response, EgressError>, attempt: u32) -> Result<Outcome, Failure> {
    match reply {
        Ok(response) => Ok(by_status(&response, attempt)),
        Err(EgressError::Denied(why)) => Err(Failure::Denied(why)),
        Err(EgressError::NotSent(why)) => Ok(again(None, why)),
        Err(EgressError::Ambiguous(why)) => Ok(Outcome::Ambiguous(why)),
        Err(EgressError::TooLarge(max)) => {
            Ok(Outcome::Rejected(format!("the message or its answer is larger than the {max} bytes allowed; lower `max_alerts`")))
        }
    }
}

fn by_status(response: &Response, attempt: u32) -> Outcome {
    match response.status {
        200..=299 => Outcome::Accepted(None),
        300..=399 if attempt < REDIRECTED_MAX => again(None, elsewhere(response)),
        300..=399 => Outcome::Rejected(elsewhere(response)),
        429 | 503 => again(retry_after_ms(response), shown(response)),
        408 | 425 | 500..=599 => again(None, shown(response)),
        401 | 403 => Outcome::Unauthorised(shown(response)),
        410 => Outcome::Gone(shown(response)),
        _ => Outcome::Rejected(shown(response)),
    }
}

fn again(after_ms: Option<u64>, why: String) -> Outcome {
    Outcome::Retry(Retry { after_ms, why })
}

/// Describes a redirect. The target is shown but never followed: a message goes only to the address that the operator configured.
fn elsewhere(response: &Response) -> String {
    let place: String = header(response, "location").unwrap_or_default().chars().take(BODY_SHOWN_CHARS).collect();
    let place = if place.is_empty() { String::new() } else { format!(" to {}", place.escape_debug()) };
    format!("status {}: it redirects{place}, which is not followed; set `url` to the final address", response.status)
}

fn shown(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body);
    let body: String = body.trim().chars().take(BODY_SHOWN_CHARS).collect();
    if body.is_empty() { format!("status {}", response.status) } else { format!("status {}: {body}", response.status) }
}

/// The pause that `Retry-After` asks for, in milliseconds (RFC 9110). A date counts from the receiver's `Date`, since our clock may differ.
fn retry_after_ms(response: &Response) -> Option<u64> {
    let text = header(response, "retry-after")?;
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => parse_http_date(text)?.saturating_sub(parse_http_date(header(response, "date")?)?),
    };
    Some(RETRY_AFTER_MAX_MS.min(seconds.saturating_mul(1_000)))
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let found = response.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], expected: Outcome) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = Response { status, headers, body: b"see the manual\n".to_vec() };
        assert_eq!(outcome(Ok(response), 1), Ok(expected), "{status}");
    }

    fn retry(status: u16, after_ms: Option<u64>) -> Outcome {
        again(after_ms, format!("status {status}: see the manual"))
    }

    #[test]
    fn success_is_accepted() {
        check(200, &[], Outcome::Accepted(None));
        check(204, &[], Outcome::Accepted(None));
    }

    #[test]
    fn a_busy_receiver_is_retried_after_the_pause_that_it_asks_for() {
        check(429, &[("Retry-After", "30")], retry(429, Some(30_000)));
        check(503, &[("retry-after", "86400")], retry(503, Some(3_600_000)));
        check(503, &[("retry-after", "18446744073709551615")], retry(503, Some(3_600_000)));
        check(503, &[("retry-after", "soon")], retry(503, None));
        check(429, &[], retry(429, None));
    }

    #[test]
    fn a_date_to_retry_at_counts_from_the_receivers_clock() {
        let retry_after = ("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT");
        check(503, &[retry_after, ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], retry(503, Some(60_000)));
        check(503, &[retry_after, ("Date", "Sun, 06 Nov 1994 08:59:37 GMT")], retry(503, Some(0)));
        check(503, &[retry_after], retry(503, None));
    }

    #[test]
    fn errors_of_the_receiver_are_retried() {
        for status in [408, 425, 500, 502, 504, 599] {
            check(status, &[("retry-after", "30")], retry(status, None));
        }
    }

    #[test]
    fn refusals_that_a_retry_cannot_solve_are_final() {
        check(401, &[], Outcome::Unauthorised("status 401: see the manual".to_owned()));
        check(403, &[], Outcome::Unauthorised("status 403: see the manual".to_owned()));
        check(410, &[], Outcome::Gone("status 410: see the manual".to_owned()));
        for status in [400, 404, 405, 413, 422] {
            check(status, &[], Outcome::Rejected(format!("status {status}: see the manual")));
        }
    }

    #[test]
    fn a_redirect_is_final_at_the_third_try() {
        let headers = vec![("Location".to_owned(), "http://169.254.169.254/\n".to_owned())];
        let response = Response { status: 302, headers, body: Vec::new() };
        let why = "status 302: it redirects to http://169.254.169.254/, which is not followed; set `url` to the final address";
        let tries: Vec<Outcome> = (1..=3).map(|attempt| by_status(&response, attempt)).collect();
        assert_eq!(tries, [again(None, why.to_owned()), again(None, why.to_owned()), Outcome::Rejected(why.to_owned())]);
        assert!(matches!(by_status(&Response { headers: Vec::new(), ..response }, 1), Outcome::Retry(_)));
    }

    #[test]
    fn only_the_beginning_of_an_error_page_is_shown() {
        let response = Response { status: 400, headers: Vec::new(), body: "ä".repeat(1_000).into_bytes() };
        assert_eq!(by_status(&response, 1), Outcome::Rejected(format!("status 400: {}", "ä".repeat(200))));
    }

    #[test]
    fn a_message_that_never_arrived_is_retried_and_a_doubtful_one_is_ambiguous() {
        let why = || "no route to host".to_owned();
        assert_eq!(outcome(Err(EgressError::NotSent(why())), 1), Ok(again(None, why())));
        assert_eq!(outcome(Err(EgressError::Ambiguous(why())), 1), Ok(Outcome::Ambiguous(why())));
        assert_eq!(outcome(Err(EgressError::Denied(why())), 1), Err(Failure::Denied(why())));
        assert!(matches!(outcome(Err(EgressError::TooLarge(64)), 1), Ok(Outcome::Rejected(_))));
    }
}
