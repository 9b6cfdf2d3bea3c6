//! Conversion between Unix time and dates as text: RFC 3339, HTTP, and a form for people.
//!
//! The calendar counts days from 0000-03-01, so that the leap day is the last day of a year
//! (<https://howardhinnant.github.io/date_algorithms.html>).

const DAY_SECONDS: u64 = 86_400;
const ERA_DAYS: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const UNIX_EPOCH_DAYS: u64 = 719_468;

/// Formats milliseconds since 1970 as RFC 3339 in UTC: `2023-11-14T22:13:20.123Z`.
pub fn rfc3339(epoch_ms: u64) -> String {
    let seconds = epoch_ms / 1_000;
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let second = seconds % DAY_SECONDS;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", second / 3_600, second / 60 % 60, second % 60, epoch_ms % 1_000)
}

/// Formats milliseconds since 1970 for people: `2023-11-14 22:13:20 UTC`.
pub fn readable(epoch_ms: u64) -> String {
    let text = rfc3339(epoch_ms);
    format!("{} {} UTC", &text[..10], &text[11..19])
}

/// Parses an HTTP date such as `Sun, 06 Nov 1994 08:49:37 GMT` into seconds since 1970. RFC 9110 allows senders only this form. None for
/// any other form, and for a year before 1970.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u64;
    let day = number(day, 31).filter(|day| *day >= 1)?;
    let year = number(year, 9_999).filter(|year| *year >= 1970)?;
    let clock: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = clock[..] else { return None };
    let second = number(hour, 23)? * 3_600 + number(minute, 59)? * 60 + number(second, 60)?;
    Some(days(year, month, day) * DAY_SECONDS + second)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn number(text: &str, max: u64) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= max)
}

/// Converts days since 1970-01-01 into year, month and day.
fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + UNIX_EPOCH_DAYS;
    let era = days / ERA_DAYS;
    let day_of_era = days % ERA_DAYS;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Converts year, month and day into days since 1970-01-01: the inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let year_of_era = year % 400;
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year / 400 * ERA_DAYS + day_of_era - UNIX_EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_time_for_people_has_no_fraction() {
        assert_eq!(readable(1_700_000_000_123), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn an_invalid_http_date_is_none() {
        for text in [
            "",
            "120",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Tue, 00 Mar 1994 08:49:37 GMT",
            "Sun, 06 Smarch 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..150_000 {
            let (year, month, day_of_month) = civil(day);
            assert_eq!(days(year, month, day_of_month), day);
        }
    }
}
