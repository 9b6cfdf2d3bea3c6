//! Tests of subjects, bodies, threads, and of the results of recipients.

use expect_test::{Expect, expect};
use pharos_plugin::mail::RecipientResult;
use pharos_plugin::{Alert, Label, Reason, Severity, Subject, settings};

use super::*;

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn alert(title: &str) -> Alert {
    Alert {
        fingerprint: "00c0ffee00c0ffee".to_owned(),
        incident: 7,
        reason: Reason::Firing,
        severity: Severity::Warning,
        subject: Subject {
            kind: "postgres".to_owned(),
            id: "db1:5432".to_owned(),
            version: "17.2".to_owned(),
            labels: vec![label("database", "app"), label("server", "db1:5432")],
        },
        labels: vec![label("rule", "too-many-connections"), label("datname", "app")],
        title: title.to_owned(),
        detail: "92 of 100 connections are taken; 61 of them are idle.\n\nEvidence:\n- idle: 61 sessions\n- user `<b>`: 60 sessions"
            .to_owned(),
        cause: Some("The pool of `billing` keeps 60 sessions open that do nothing.".to_owned()),
        fix: Some(
            "ALTER ROLE billing CONNECTION LIMIT 40;\nSELECT pg_terminate_backend(pid)\n  FROM pg_stat_activity WHERE usename = 'billing';"
                .to_owned(),
        ),
        runbook: Some("https://runbooks.example.com/connections".to_owned()),
        value: Some(0.92),
        raise_at: Some(0.8),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: None,
        ended_because: None,
    }
}

fn resolved(title: &str) -> Alert {
    Alert { reason: Reason::Resolved, ended_at_ms: Some(1_700_000_720_000), ..alert(title) }
}

fn message(alerts: Vec<Alert>) -> Message {
    Message {
        id: "msg-1".to_owned(),
        receiver: "on-call".to_owned(),
        group_key: "on-call/connections".to_owned(),
        group_labels: Vec::new(),
        common_labels: Vec::new(),
        alerts,
        truncated: 0,
        others_firing: 0,
        attempt: 1,
        agent: "db-watch-1".to_owned(),
        external_url: Some("https://pharos.example.com".to_owned()),
    }
}

fn settings_of(json: &str) -> Result<Settings, Failure> {
    let settings: Settings = settings::parse(json)?;
    settings.check().map(|()| settings)
}

#[track_caller]
fn check_refused(json: &str, expected: Expect) {
    match settings_of(json) {
        Err(Failure::InvalidConfig(why)) => expected.assert_eq(&why),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn mistakes_name_their_correction() {
    check_refused("{}", expect!["settings: missing field `relay`"]);
    check_refused(r#"{"relay":"office","to":[]}"#, expect![[r#"settings.to: a mail needs a recipient, as in to = ["dba@example.com"]"#]]);
    check_refused(
        r#"{"relay":"office","to":["dba@example.com","dba"]}"#,
        expect![[r#"settings.to[1]: `dba` is no address like "dba@example.com" or "Night Shift <night@example.com>""#]],
    );
    check_refused(r#"{"relay":"office","to":["a@b.c","A <A@b.c>"]}"#, expect!["settings.to[1]: `A@b.c` is listed already"]);
    check_refused(
        r#"{"relay":"office","to":["a@b.c>\r\nBcc: <x@y.z"]}"#,
        expect![[r#"settings.to[0]: `a@b.c>\r\nBcc: <x@y.z` is no address like "dba@example.com" or "Night Shift <night@example.com>""#]],
    );
    check_refused(
        r#"{"relay":"office","too":["a@b.c"]}"#,
        expect!["settings: unknown field `too`, expected `relay` or `to`; did you mean `to`?"],
    );
}

#[test]
fn subjects_begin_with_the_most_important_part() {
    let subject = |alerts: Vec<Alert>| subject::line(&message(alerts));
    let critical = || Alert {
        severity: Severity::Critical,
        subject: Subject { id: "db2:5432".to_owned(), ..alert("").subject },
        ..alert("disk full in 3 h")
    };
    let subjects = [
        subject(vec![alert("92 % of the connections are taken")]),
        subject(vec![resolved("92 % of the connections are taken")]),
        subject(vec![alert("connections"), critical()]),
        subject(vec![resolved("connections"), critical()]),
        subject(vec![Alert { reason: Reason::SeverityChanged, ..critical() }]),
        subject(vec![Alert { reason: Reason::Repeated, ..critical() }]),
        subject(vec![Alert { reason: Reason::Flapping, ..alert("replication comes and goes") }]),
        subject(vec![Alert { reason: Reason::Summary, ..resolved("replication was 40 s behind") }]),
        subject(vec![Alert { ended_because: Some("gone".to_owned()), ..resolved("table `x` bloats") }]),
        subject(vec![Alert { reason: Reason::Test, ..alert("This is a test") }]),
        subject(vec![alert("a\r\nBcc: all@example.com\ttab")]),
    ];
    expect![[r#"
        [FIRING] warning: 92 % of the connections are taken (db1:5432)
        [RESOLVED] warning: 92 % of the connections are taken (db1:5432)
        [FIRING 2] critical: disk full in 3 h (db2:5432) and 1 more
        [RESOLVED 1, FIRING 1] critical: disk full in 3 h (db2:5432) and 1 more
        [NOW CRITICAL] disk full in 3 h (db2:5432)
        [STILL FIRING] critical: disk full in 3 h (db2:5432)
        [FLAPPING] warning: replication comes and goes (db1:5432)
        [WAS FIRING] warning: replication was 40 s behind (db1:5432)
        [ENDED] warning: table `x` bloats (db1:5432)
        [TEST] This is a test (db1:5432)
        [FIRING] warning: a Bcc: all@example.com tab (db1:5432)
    "#]]
    .assert_eq(&(subjects.join("\n") + "\n"));
}

#[test]
fn the_text_has_all_facts() {
    let (text, _) = Letters::new().write(&message(vec![alert("92 % of the connections are taken")])).expect("it renders");
    expect![[r#"
        1 alert needs attention

        ------------------------------------------------------------------------
        [FIRING] 92 % of the connections are taken

        Severity  warning
        Where     postgres db1:5432
        Since     2023-11-14 22:13:20 UTC
        Value     0.92 (limit 0.8)
        More      pharos alerts show 00c0ffee00c0ffee

        92 of 100 connections are taken; 61 of them are idle.

        Cause
          The pool of `billing` keeps 60 sessions open that do nothing.

        Fix
          ALTER ROLE billing CONNECTION LIMIT 40;
          SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity WHERE usename = 'billing';

        Evidence
          idle: 61 sessions
          user `<b>`: 60 sessions

        Runbook   https://runbooks.example.com/connections

        Labels    database=app  server=db1:5432  rule=too-many-connections  datname=app

        ------------------------------------------------------------------------
        Sent by the Pharos agent db-watch-1 to on-call
        Open: https://pharos.example.com"#]]
    .assert_eq(&text);
}

#[test]
fn an_end_without_a_fine_check_is_marked() {
    let over = message(vec![Alert { fix: None, ..resolved("slow") }]);
    let (text, html) = Letters::new().write(&over).expect("it renders");
    assert!(
        text.contains("The text below describes the time before it ended.")
            && html.contains("The text below describes the time before it ended."),
        "{text}"
    );
    let gone = Alert { ended_because: Some("subject-removed".to_owned()), cause: None, fix: None, runbook: None, ..resolved("slow") };
    let (text, html) = Letters::new().write(&message(vec![gone])).expect("it renders");
    for said in [&text, &html] {
        assert!(said.contains("The server is no longer monitored. No check found that the problem is over."), "{said}");
        assert!(said.contains("2023-11-14 22:25:20 UTC (12 min)"), "{said}");
    }
}

#[test]
fn markup_in_an_alert_stays_text() {
    let nasty = "<script>alert(1)</script>\"'&{{ 7 * 7 }}";
    let nasty = Alert {
        labels: vec![label("q", nasty)],
        detail: nasty.to_owned(),
        cause: Some(nasty.to_owned()),
        fix: Some(nasty.to_owned()),
        runbook: Some("javascript:alert(1)".to_owned()),
        ..alert(nasty)
    };
    let mut message = message(vec![nasty]);
    message.external_url = Some("javascript:alert(2)".to_owned());
    let (text, html) = Letters::new().write(&message).expect("it renders");
    assert!(!html.contains("<script") && !html.contains("href=\"javascript") && !html.contains("49"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"), "{html}");
    assert!(text.contains("<script>alert(1)</script>") && !text.contains("alert(2)"), "{text}");
}

#[test]
fn a_long_message_is_cut_and_counted() {
    let mut message = message((0..200).map(|number| alert(&format!("number {number}"))).collect());
    message.truncated = 3;
    message.alerts[150].severity = Severity::Critical;
    message.alerts[0].detail = "x".repeat(100_000);
    let (text, html) = Letters::new().write(&message).expect("it renders");
    assert!(text.contains("... and 178 more") && html.contains("… and 178 more"));
    assert!(text.find("number 150") < text.find("number 0"), "the worst comes first");
    assert!(html.len() < 200_000, "{}", html.len());
}

#[test]
fn a_thread_is_an_incident() {
    let mut other = alert("other");
    other.incident = 8;
    let both = thread::from_message(&message(vec![alert("a"), other, resolved("a")]));
    assert_eq!(both.message_id, "<msg-1@db-watch-1>");
    assert_eq!(both.references, "<00c0ffee00c0ffee.7@db-watch-1> <00c0ffee00c0ffee.8@db-watch-1>");
    assert_eq!(both.in_reply_to, "<00c0ffee00c0ffee.7@db-watch-1>");
    let mut end = message(vec![resolved("a")]);
    end.id = "group-1234".to_owned();
    end.agent = "db watch\r\n<1>@..".to_owned();
    let end = thread::from_message(&end);
    assert_eq!((end.message_id.as_str(), end.references.as_str()), ("<group-1234@db-watch---1-->", "<00c0ffee00c0ffee.7@db-watch---1-->"));
}

fn three() -> Vec<Recipient> {
    settings_of(r#"{"relay":"office","to":["a@x.org","b@x.org","c@x.org"]}"#).expect("right").to
}

fn busy() -> RecipientResult {
    RecipientResult::Transient("450 busy".to_owned())
}

fn no() -> RecipientResult {
    RecipientResult::Rejected("550 nobody".to_owned())
}

/// Runs tries with these results and compares the outcomes. Each try has a result for each recipient that is still open.
#[track_caller]
fn check(tries: Vec<Vec<RecipientResult>>, patience: u32, expected: Expect) {
    let to = three();
    let mut progress = Progress::default();
    let mut outcomes = String::new();
    for (attempt, results) in (1..).zip(tries) {
        let open: Vec<&Recipient> = to.iter().filter(|recipient| progress.is_open(&recipient.email)).collect();
        assert_eq!(open.len(), results.len(), "who is asked at try {attempt}");
        progress.add_results(&open, results, attempt, |_| patience);
        outcomes += &format!("{:?}\n", progress.outcome(&to));
        // The next try reads the stored progress.
        progress = serde_json::from_slice(&serde_json::to_vec(&progress).expect("it is JSON")).expect("it reads back");
    }
    expected.assert_eq(&outcomes);
}

#[test]
fn a_recipient_gets_a_mail_once_and_a_refusing_recipient_is_named() {
    use RecipientResult::Accepted;
    check(
        vec![vec![Accepted, Accepted, Accepted]],
        5,
        expect![[r#"
        Outcome::Accepted(None)
    "#]],
    );
    check(
        vec![vec![Accepted, no(), Accepted]],
        5,
        expect![[r#"
        Outcome::Partial([(1, "b@x.org: 550 nobody")])
    "#]],
    );
    check(
        vec![vec![no(), no(), no()]],
        5,
        expect![[r#"
        Outcome::Rejected("a@x.org: 550 nobody; b@x.org: 550 nobody; c@x.org: 550 nobody")
    "#]],
    );
    check(
        vec![vec![busy(), busy(), no()]],
        5,
        expect![[r#"
        Outcome::Retry(Retry { after-ms: None, why: "a@x.org: 450 busy; b@x.org: 450 busy" })
    "#]],
    );
    check(
        vec![vec![Accepted, busy(), no()], vec![Accepted]],
        5,
        expect![[r#"
        Outcome::Ambiguous("1 of 3 have it; not yet b@x.org: 450 busy")
        Outcome::Partial([(2, "c@x.org: 550 nobody")])
    "#]],
    );
}

#[test]
fn a_recipient_that_defers_too_often_does_not_delay_the_others() {
    use RecipientResult::Accepted;
    check(
        vec![vec![Accepted, busy(), Accepted], vec![busy()], vec![busy()]],
        3,
        expect![[r#"
        Outcome::Ambiguous("2 of 3 have it; not yet b@x.org: 450 busy")
        Outcome::Ambiguous("2 of 3 have it; not yet b@x.org: 450 busy")
        Outcome::Partial([(1, "b@x.org: deferred 3 times, last answer: 450 busy")])
    "#]],
    );
    check(
        vec![vec![busy(), busy(), busy()]; 4],
        3,
        expect![[r#"
        Outcome::Retry(Retry { after-ms: None, why: "a@x.org: 450 busy; b@x.org: 450 busy; c@x.org: 450 busy" })
        Outcome::Retry(Retry { after-ms: None, why: "a@x.org: 450 busy; b@x.org: 450 busy; c@x.org: 450 busy" })
        Outcome::Retry(Retry { after-ms: None, why: "a@x.org: 450 busy; b@x.org: 450 busy; c@x.org: 450 busy" })
        Outcome::Retry(Retry { after-ms: None, why: "a@x.org: 450 busy; b@x.org: 450 busy; c@x.org: 450 busy" })
    "#]],
    );
}

#[test]
fn a_partly_accepted_mail_is_repeated_under_the_same_id() {
    let to = three();
    let taken = || {
        let mut progress = Progress::default();
        progress.add_results(&[&to[0]], vec![RecipientResult::Accepted], 1, |_| 5);
        progress
    };
    let why = || "gone fishing".to_owned();
    let none = Progress::default;
    assert_eq!(failed(MailError::Transient(why()), &mut taken(), &to), Ok(Outcome::Ambiguous(why())));
    assert_eq!(failed(MailError::Unauthorised(why()), &mut taken(), &to), Ok(Outcome::Ambiguous(why())));
    assert_eq!(failed(MailError::Transient(why()), &mut none(), &to), Ok(Outcome::Retry(Retry { after_ms: None, why: why() })));
    assert_eq!(failed(MailError::Unauthorised(why()), &mut none(), &to), Ok(Outcome::Unauthorised(why())));
    assert_eq!(failed(MailError::Ambiguous(why()), &mut none(), &to), Ok(Outcome::Ambiguous(why())));
    assert_eq!(failed(MailError::Denied(why()), &mut none(), &to), Err(Failure::Denied(why())));
    assert!(matches!(failed(MailError::Rejected(why()), &mut none(), &to), Ok(Outcome::Rejected(_))));
    let Ok(Outcome::Partial(refused)) = failed(MailError::Rejected(why()), &mut taken(), &to) else { panic!("one has it") };
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
}
