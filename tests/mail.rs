//! No text of a server or a plugin becomes a header, a recipient or markup. No mail goes out in clear text because its encryption was
//! removed, and no recipient prevents others from getting it.
//!
//! Mail: what a real server gets to read, who gets it, and what the troubles of a relay mean.

use expect_test::{Expect, expect};
use pharos_model::notification::{Delivery, Message, MessageReason, UndeliveredReason};
use pharos_model::subject::Label;
use serde_json::{Value, json};

use crate::fixture::delivery::{Notifier, again, message};
use crate::fixture::guests::{Build, guest_of};
use crate::fixture::smtp::{Action, Mode, ScriptedSmtp, SmtpServer};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, redis, redis_config, runtime_tasks, set_keys};

/// A relay on loopback, granted to the plugin `email`.
fn relay_config(port: u16, more: &str) -> String {
    format!("[plugin.email]\ngrants = {{ mail = [\"office\"] }}\n{}", relay_section(port, more))
}

fn relay_section(port: u16, more: &str) -> String {
    format!("[relay.office]\nhost = \"127.0.0.1\"\nport = {port}\nfrom = \"Pharos Überwachung <pharos@example.com>\"\n{more}\n")
}

fn trusting(server: &SmtpServer) -> String {
    format!("ca = {:?}", server.ca())
}

fn to(recipients: &[&str]) -> Value {
    json!({ "relay": "office", "to": recipients })
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().unwrap();
    let found: Vec<&Value> = headers.iter().filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name)).collect();
    assert_eq!(found.len(), 1, "{name}: {headers:?}");
    found[0][1].as_str().unwrap()
}

/// Delivers once through a relay with this script, in clear text and with short patience.
async fn deliver_scripted(script: impl Fn(usize, &str) -> Option<Action> + Send + Sync + 'static) -> (Delivery, ScriptedSmtp) {
    let server = ScriptedSmtp::start(script).await;
    let patience = "encryption = \"none\"\nconnect_timeout = \"1s\"\ntimeout = \"3s\"";
    let email = Notifier::load("email", &relay_config(server.port(), patience)).await.unwrap();
    let delivery = email.deliver(&to(&["dba@example.com"]), &message("scripted")).await;
    (delivery, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_reads_a_mail_as_it_was_meant() {
    let server = SmtpServer::start(Mode::StartTls, Some(("pharos", "s3cret wörd"))).await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "s3cret wörd\n").unwrap();
    let login = format!("{}\nusername = \"pharos\"\npassword_file = {password:?}\nhello = \"monitor.example.com\"", trusting(&server));
    let email = Notifier::load("email", &relay_config(server.port(), &login)).await.unwrap();
    let mut firing = message("ops/1");
    firing.alerts[0].title = "Tabelle „Aufträge“ wächst\r\nBcc: everybody@example.com".to_owned();
    firing.alerts[0].labels.push(Label::new("quote", "\r\n.\r\nQUIT\r\n<b>"));
    firing.alerts[0].detail = "x".repeat(3_000);
    let mut resolved = message("ops/2");
    resolved.alerts[0].reason = MessageReason::Resolved;
    resolved.alerts[0].ended_at_ms = Some(1_700_000_060_000);
    let settings = to(&["Näme, with \"comma\" <dba@example.com>", "night@example.com"]);
    assert_eq!(email.deliver(&settings, &firing).await, Delivery::Accepted);
    assert_eq!(email.deliver(&settings, &resolved).await, Delivery::Accepted);
    let mails = server.mails();
    let [first, second] = &mails[..] else { panic!("{mails:#?}") };
    assert_eq!((&first["from"], &first["to"]), (&"pharos@example.com".into(), &json!(["dba@example.com", "night@example.com"])));
    assert_eq!(
        (&first["encrypted"], &first["authenticated"], &first["hello"]),
        (&true.into(), &true.into(), &"monitor.example.com".into())
    );
    assert_eq!(header(first, "From"), "Pharos Überwachung <pharos@example.com>");
    assert_eq!(first["addresses"], json!([["Näme, with \"comma", "dba@example.com"], ["", "night@example.com"]]));
    assert_eq!(header(first, "Subject"), "[FIRING] warning: Tabelle „Aufträge“ wächst Bcc: everybody@example.com (db1:5432)");
    assert_eq!(header(second, "Subject"), "[RESOLVED] warning: 92 % of the connections are taken (db1:5432)");
    assert_eq!((header(first, "Message-ID"), header(second, "Message-ID")), ("<ops-1@db-watch-1>", "<ops-2@db-watch-1>"));
    for mail in [first, second] {
        for name in ["References", "In-Reply-To"] {
            assert_eq!(header(mail, name), "<00c0ffee00c0ffee.7@db-watch-1>", "one thread");
        }
        assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
        assert!(header(mail, "Date").contains("+0000"), "{}", header(mail, "Date"));
        assert!(mail["longest_line"].as_u64() <= Some(998) && mail["is_ascii"] == true && mail["defects"] == json!([]), "{mail:#}");
        let parts: Vec<(&Value, &Value)> = mail["parts"].as_array().unwrap().iter().map(|part| (&part["type"], &part["charset"])).collect();
        let utf8 = Value::from("utf-8");
        assert_eq!(parts, [(&"multipart/alternative".into(), &Value::Null), (&"text/plain".into(), &utf8), (&"text/html".into(), &utf8)]);
    }
    let text = first["parts"][1]["text"].as_str().unwrap();
    assert!(text.contains("Tabelle „Aufträge“ wächst") && text.contains(&"x".repeat(3_000)) && text.contains("QUIT"), "{text}");
    assert!(first["parts"][2]["text"].as_str().unwrap().contains("&lt;b&gt;"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialogue_with_a_relay_follows_its_config() {
    let account = Some(("pharos", "word"));
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "word").unwrap();
    let login = format!("username = \"pharos\"\npassword_file = {password:?}");
    let implicit = SmtpServer::start(Mode::Tls, account).await;
    let config = relay_config(implicit.port(), &format!("encryption = \"tls\"\n{}\n{login}", trusting(&implicit)));
    let email = Notifier::load("email", &config).await.unwrap();
    assert_eq!(email.deliver(&to(&["dba@example.com"]), &message("1")).await, Delivery::Accepted);
    assert_eq!((&implicit.mails()[0]["encrypted"], &implicit.mails()[0]["authenticated"]), (&true.into(), &true.into()));
    std::fs::write(&password, "another").unwrap();
    let refused = email.deliver(&to(&["dba@example.com"]), &message("2")).await;
    let Delivery::Unauthorised(why) = refused else { panic!("{refused:?}") };
    assert!(why.contains("relay \"office\": logging in") && why.contains("535") && why.contains("*** is not the password"), "{why}");
    let clear = SmtpServer::start(Mode::None, None).await;
    let email = Notifier::load("email", &relay_config(clear.port(), "encryption = \"none\"")).await.unwrap();
    assert_eq!(email.deliver(&to(&["dba@example.com"]), &message("3")).await, Delivery::Accepted);
    assert_eq!((&clear.mails()[0]["encrypted"], &clear.mails()[0]["hello"]), (&false.into(), &"[127.0.0.1]".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_right_gets_no_mail() {
    for mode in [Mode::StartTls, Mode::Tls] {
        let server = SmtpServer::start(mode, None).await;
        let other = SmtpServer::start(mode, None).await;
        let encryption = if matches!(mode, Mode::Tls) { "tls" } else { "starttls" };
        let relay = |host: &str, ca: String| {
            let config = relay_config(server.port(), &format!("encryption = \"{encryption}\"\n{ca}"));
            config.replace("host = \"127.0.0.1\"", &format!("host = \"{host}\""))
        };
        let cases = [
            (relay("127.0.0.1", String::new()), "UnknownIssuer"),
            (relay("127.0.0.1", trusting(&other)), "invalid peer certificate"),
            (relay("localhost", trusting(&server)), "not valid for"),
            (relay("127.0.0.1", "ca = \"/no/such/file\"".to_owned()), "reading the certificates in /no/such/file"),
        ];
        for (config, expected) in cases {
            let email = Notifier::load("email", &config).await.unwrap();
            let delivery = email.deliver(&to(&["dba@example.com"]), &message("1")).await;
            let Delivery::Retry { after: None, why } = &delivery else { panic!("{delivery:?}") };
            assert!(why.contains(expected), "{config}: expected `{expected}`, got `{why}`");
        }
        assert_eq!(server.mails(), Vec::<Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_that_refuses_a_mail_does_not_prevent_the_others_from_getting_it() {
    let server = SmtpServer::start(Mode::None, None).await;
    let email = Notifier::load("email", &relay_config(server.port(), "encryption = \"none\"")).await.unwrap();
    let settings = to(&["dba@example.com", "nobody@example.com", "busy@example.com"]);
    let mut told = message("ops/1");
    for _ in 1..5 {
        let delivery = email.deliver(&settings, &told).await;
        let Delivery::Ambiguous(why) = &delivery else { panic!("{delivery:?}") };
        assert!(why.contains("1 of 3 have it; not yet busy@example.com") && why.contains("450"), "{why}");
        told = again(&told);
    }
    let last = email.deliver(&settings, &told).await;
    let Delivery::Partial(refused) = &last else { panic!("{last:?}") };
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    assert!(refused[0].1.contains("nobody@example.com") && refused[0].1.contains("550"), "{refused:?}");
    assert!(refused[1].1.contains("busy@example.com: deferred 5 times"), "{refused:?}");
    assert_eq!(server.mails().iter().map(|mail| &mail["to"]).collect::<Vec<_>>(), [&json!(["dba@example.com"])], "once");
    // For a while, other mails do not wait for the recipient that was put off.
    let delivery = email.deliver(&settings, &message("ops/2")).await;
    assert!(matches!(&delivery, Delivery::Partial(refused) if refused.len() == 2), "{delivery:?}");
    let delivery = email.deliver(&to(&["nobody@example.com"]), &message("ops/3")).await;
    assert!(matches!(&delivery, Delivery::Rejected { why, .. } if why.contains("550")), "{delivery:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_that_accepts_later_gets_the_same_mail_and_the_others_are_not_tried_again() {
    let script = |connection: usize, command: &str| {
        (connection == 0 && command.starts_with("RCPT TO:<slow")).then_some(Action::Reply("451 greylisted"))
    };
    let server = ScriptedSmtp::start(script).await;
    let email = Notifier::load("email", &relay_config(server.port(), "encryption = \"none\"")).await.unwrap();
    let settings = to(&["dba@example.com", "slow@example.com"]);
    let told = message("ops/1");
    let first = email.deliver(&settings, &told).await;
    assert!(matches!(first, Delivery::Ambiguous(_)), "{first:?}");
    assert_eq!(email.deliver(&settings, &again(&told)).await, Delivery::Accepted);
    let received = server.received();
    let asked =
        |connection| received.commands.iter().filter(move |(number, command)| *number == connection && command.starts_with("RCPT")).count();
    assert_eq!((asked(0), asked(1), received.contents.len()), (2, 1, 2), "{received:?}");
    assert!(received.contents.iter().all(|content| content.contains("Message-ID: <ops-1@db-watch-1>")), "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_of_a_relay_has_its_meaning() {
    let mut told = String::new();
    let cases: &[(&str, &str, Action)] = &[
        ("greeting", "greeting", Action::Reply("421 too busy")),
        ("greeting", "greeting", Action::Reply("554 no service for you")),
        ("greeting", "greeting", Action::Reply("HTTP/1.1 400 Bad Request")),
        ("greeting", "greeting", Action::Close),
        ("greeting", "greeting", Action::Flood),
        ("greeting", "greeting", Action::FloodLines),
        ("sender", "MAIL", Action::Reply("421 shutting down")),
        ("sender", "MAIL", Action::Reply("451 not now")),
        ("sender", "MAIL", Action::Reply("530 log in first")),
        ("sender", "MAIL", Action::Reply("550 not from you")),
        ("sender", "MAIL", Action::Close),
        ("recipient", "RCPT", Action::Reply("421 shutting down")),
        ("recipient", "RCPT", Action::Reply("450 later")),
        ("recipient", "RCPT", Action::Reply("550 unknown")),
        ("recipient", "RCPT", Action::Close),
        ("announcing", "DATA", Action::Reply("451 not now")),
        ("announcing", "DATA", Action::Reply("554 never")),
        ("announcing", "DATA", Action::Close),
        ("content", "content", Action::Reply("451 disk full")),
        ("content", "content", Action::Reply("552 too long")),
        ("content", "content", Action::Close),
        ("good-bye", "QUIT", Action::Close),
        ("good-bye", "QUIT", Action::Reply("500 what?")),
    ];
    for (stage, wanted, act) in cases {
        let (wanted, act) = ((*wanted).to_owned(), *act);
        let (delivery, _) = deliver_scripted(move |_, command| command.starts_with(&wanted).then_some(act)).await;
        told += &format!("{stage} {act:?}: {delivery:?}\n");
    }
    expect![[r#"
        greeting Reply("421 too busy"): Retry { after: None, why: "relay \"office\": connecting: saying hello: transient error (421): too busy" }
        greeting Reply("554 no service for you"): Retry { after: None, why: "relay \"office\": connecting: saying hello: permanent error (554): no service for you" }
        greeting Reply("HTTP/1.1 400 Bad Request"): Retry { after: None, why: "relay \"office\": connecting: saying hello: response error: error Tag at: HTTP/1.1 400 Bad Request  " }
        greeting Close: Retry { after: None, why: "relay \"office\": connecting: saying hello: response error: incomplete response" }
        greeting Flood: Retry { after: None, why: "relay \"office\": connecting: saying hello: network error: the relay sends more than 100 lines or 16384 bytes in one reply" }
        greeting FloodLines: Retry { after: None, why: "relay \"office\": connecting: saying hello: network error: the relay sends more than 100 lines or 16384 bytes in one reply" }
        sender Reply("421 shutting down"): Retry { after: None, why: "relay \"office\": naming the sender: transient error (421): shutting down" }
        sender Reply("451 not now"): Retry { after: None, why: "relay \"office\": naming the sender: transient error (451): not now" }
        sender Reply("530 log in first"): Unauthorised("relay \"office\": naming the sender: permanent error (530): log in first")
        sender Reply("550 not from you"): Rejected { reason: Rejected, why: "dba@example.com: relay \"office\": naming the sender: permanent error (550): not from you" }
        sender Close: Retry { after: None, why: "relay \"office\": naming the sender: response error: incomplete response" }
        recipient Reply("421 shutting down"): Retry { after: None, why: "relay \"office\": naming recipients: transient error (421): shutting down" }
        recipient Reply("450 later"): Retry { after: None, why: "dba@example.com: transient error (450): later" }
        recipient Reply("550 unknown"): Rejected { reason: Rejected, why: "dba@example.com: permanent error (550): unknown" }
        recipient Close: Retry { after: None, why: "relay \"office\": naming recipients: response error: incomplete response" }
        announcing Reply("451 not now"): Retry { after: None, why: "dba@example.com: transient error (451): not now" }
        announcing Reply("554 never"): Rejected { reason: Rejected, why: "dba@example.com: permanent error (554): never" }
        announcing Close: Retry { after: None, why: "relay \"office\": announcing the mail: response error: incomplete response" }
        content Reply("451 disk full"): Retry { after: None, why: "dba@example.com: handing the mail over: transient error (451): disk full" }
        content Reply("552 too long"): Rejected { reason: Rejected, why: "dba@example.com: permanent error (552): too long" }
        content Close: Ambiguous("relay \"office\": handing the mail over: response error: incomplete response")
        good-bye Close: Accepted
        good-bye Reply("500 what?"): Accepted
    "#]].assert_eq(&told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_falls_silent_is_left_and_only_what_it_may_have_is_ambiguous() {
    for silent in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"] {
        let (delivery, server) = deliver_scripted(move |_, command| command.starts_with(silent).then_some(Action::Hang)).await;
        match &delivery {
            Delivery::Ambiguous(why) if silent == "content" => assert!(why.contains("no answer within"), "{why}"),
            Delivery::Retry { why, .. } if silent != "content" => assert!(why.contains("within"), "{why}"),
            other => panic!("{silent}: {other:?}"),
        }
        assert_eq!(server.received().contents.len(), usize::from(silent == "content"));
    }
    let (delivery, _) = deliver_scripted(|_, command| (command == "QUIT").then_some(Action::Hang)).await;
    assert_eq!(delivery, Delivery::Accepted, "good-byes are not waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_was_lost_after_its_last_dot_is_sent_again_under_its_id() {
    let script = |connection: usize, command: &str| (connection == 0 && command == "content").then_some(Action::Close);
    let server = ScriptedSmtp::start(script).await;
    let email = Notifier::load("email", &relay_config(server.port(), "encryption = \"none\"")).await.unwrap();
    let told = message("ops/1");
    let lost = email.deliver(&to(&["dba@example.com"]), &told).await;
    assert!(matches!(lost, Delivery::Ambiguous(_)), "{lost:?}");
    assert_eq!(email.deliver(&to(&["dba@example.com"]), &again(&told)).await, Delivery::Accepted);
    let ids: Vec<String> = server
        .received()
        .contents
        .iter()
        .map(|content| content.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["Message-ID: <ops-1@db-watch-1>", "Message-ID: <ops-1@db-watch-1>"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_relay_whose_encryption_was_removed_on_the_way() {
    type Script = fn(usize, &str) -> Option<Action>;
    let cases: [(Script, &str); 4] = [
        (|_, _| None, "it offers no STARTTLS, so nothing was sent"),
        (|_, command| command.starts_with("EHLO").then_some(Action::Reply("250-x\r\n250 STARTTLS-NOT")), "it offers no STARTTLS"),
        (
            |_, command| match command {
                "STARTTLS" => Some(Action::Reply("454 not available")),
                command => command.starts_with("EHLO").then_some(Action::Reply("250-x\r\n250 STARTTLS")),
            },
            "STARTTLS: 454 not available",
        ),
        (
            |_, command| match command {
                "STARTTLS" => Some(Action::Reply("220 go on\r\n250 slipped in")),
                command => command.starts_with("EHLO").then_some(Action::Reply("250-x\r\n250 STARTTLS")),
            },
            "the relay sent a second reply to one command, before encryption",
        ),
    ];
    for (script, expected) in cases {
        let server = ScriptedSmtp::start(script).await;
        let email = Notifier::load("email", &relay_config(server.port(), "")).await.unwrap();
        let delivery = email.deliver(&to(&["dba@example.com"]), &message("1")).await;
        let Delivery::Retry { why, .. } = &delivery else { panic!("{delivery:?}") };
        assert!(why.contains(expected), "expected `{expected}`, got `{why}`");
        let received = server.received();
        assert!(received.commands.iter().all(|(_, command)| command.starts_with("EHLO") || command == "STARTTLS"), "{received:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_needs_a_grant_and_the_error_has_the_line() {
    let server = SmtpServer::start(Mode::None, None).await;
    let check = async |config: &str, relay: &str, expected: Expect| {
        let email = Notifier::load("email", config).await.unwrap();
        let delivery = email.deliver(&json!({ "relay": relay, "to": ["dba@example.com"] }), &message("1")).await;
        let Delivery::Rejected { reason: UndeliveredReason::Denied, why } = delivery else { panic!("{delivery:?}") };
        expected.assert_eq(&why);
    };
    let section = relay_section(server.port(), "encryption = \"none\"");
    check(
        &section,
        "office",
        expect![[r#"denied: the relay "office" is not granted; to allow it, add to [plugin.email]: grants = { mail = ["office"] }"#]],
    )
    .await;
    check(&section, "ofice", expect![[r#"denied: no relay "ofice" is configured, there is office; define it with host and from under [relay.ofice], and add to [plugin.email]: grants = { mail = ["ofice"] }"#]]).await;
    check("", "office", expect![[r#"denied: no relay "office" is configured, none is; define it with host and from under [relay.office], and add to [plugin.email]: grants = { mail = ["office"] }"#]]).await;
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_cannot_write_what_is_the_hosts_to_write() {
    let server = SmtpServer::start(Mode::None, None).await;
    let config = format!(
        "[plugin.probe]\ngrants = {{ mail = [\"office\"] }}\n[plugin.probe.limits]\ncpu = \"5s\"\n{}",
        relay_section(server.port(), "encryption = \"none\"")
    );
    let probe = Notifier::load_bytes("probe", &guest_of(Build::Notifier, "id=probe"), &config).await.unwrap();
    let refusal = async |settings: Value| match probe.deliver(&settings, &message("1")).await {
        Delivery::Rejected { why, .. } => why,
        other => panic!("{other:?}"),
    };
    for header in ["Bcc: x@example.com", "From: x@example.com", "Subject: x", "X-A\r\nBcc: y: z", "Auto-Submitted: no", "Content-Type: x"] {
        let why = refusal(json!({ "relay": "office", "to": ["dba@example.com"], "headers": [header] })).await;
        assert!(why.contains("Denied") && why.contains("is not a plugin's to set"), "{header:?}: {why}");
    }
    assert_eq!(server.mails(), Vec::<Value>::new());
    let recipients = ["dba@example.com", "x", "a@b\r\nRCPT TO:<c@example.com>", "jürgen@example.com", "\"a b\"@example.com"];
    let why = refusal(json!({ "relay": "office", "to": recipients, "headers": ["X-Label: a\r\nBcc: b@example.com"] })).await;
    let results: Vec<&str> = why.split("RecipientResult::").skip(1).map(|result| &result[..8]).collect();
    assert_eq!(results, ["Accepted", "Rejected", "Rejected", "Rejected", "Accepted"], "{why}");
    let mails = server.mails();
    assert_eq!((mails.len(), &mails[0]["to"]), (1, &json!(["dba@example.com", "\"a b\"@example.com"])));
    assert_eq!(header(&mails[0], "Subject"), "two  Bcc: everybody@example.com");
    assert_eq!(header(&mails[0], "X-Label"), "a  Bcc: b@example.com");
    assert_eq!(mails[0]["addresses"][0], json!(["The Zoo", "dba@example.com"]));
    assert!(mails[0]["headers"].as_array().unwrap().iter().all(|header| header[0] != "Bcc"), "{:#}", mails[0]);
    assert_eq!(mails[0]["parts"][0]["text"].as_str().unwrap().trim_end().replace("\r\n", "\n"), "text\n.\nQUIT", "dots are stuffed");
    let without = refusal(json!({ "relay": "office", "to": [] })).await;
    assert!(without.contains("a mail has 1 to 100 recipients, this one has 0"), "{without}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_and_its_end_are_one_thread_in_the_mailbox() {
    let server = SmtpServer::start(Mode::StartTls, None).await;
    let config = format!(
        "{}\n[[receiver]]\nname = \"on-call\"\nplugin = \"email\"\nsettings = {{ relay = \"office\", to = [\"dba@example.com\"] }}\n[[route]]\nreceiver = \"on-call\"\n",
        relay_config(server.port(), &trusting(&server))
    );
    let (tasks, _) = runtime_tasks();
    let redis = redis(&tasks).await;
    let mut keys = redis.connect().await.unwrap();
    let rule = "[[plugin.threshold.settings.rules]]\nid = \"many\"\nmetric = \"pharos_redis_keys\"\nabove = 5\nseverity = \"warning\"\nfor = \"0s\"\n";
    let agent = TestAgent::start(&format!("{}{rule}{config}", redis_config("cache", &[&redis]))).await;
    set_keys(&mut keys, 9).await;
    wait_for(&server, 1).await;
    set_keys(&mut keys, 0).await;
    let mails = wait_for(&server, 2).await;
    assert!(header(&mails[0], "Subject").starts_with("[FIRING] warning: "), "{:#}", mails[0]);
    assert!(header(&mails[1], "Subject").starts_with("[RESOLVED] warning: "), "{:#}", mails[1]);
    assert_eq!(header(&mails[0], "References"), header(&mails[1], "References"));
    assert_ne!(header(&mails[0], "Message-ID"), header(&mails[1], "Message-ID"));
    assert_eq!(agent.plugin("email").await["granted"], json!(["mail office"]));
    agent.stop().await;
}

async fn wait_for(server: &SmtpServer, count: usize) -> Vec<Value> {
    until(format_args!("{count} mails"), async || {
        fitting(server.mails(), |mails| mails.len() >= count).map_err(|mails| format!("{} mails", mails.len()))
    })
    .await
}

/// A message is data: however strange, one mail comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_as_large_as_can_be_is_one_mail() {
    let server = SmtpServer::start(Mode::None, None).await;
    let email = Notifier::load("email", &relay_config(server.port(), "encryption = \"none\"")).await.unwrap();
    let one = message("ops/1");
    let alerts = (0..200).map(|number| {
        let mut alert = one.alerts[0].clone();
        alert.incident = number;
        alert.title = format!("number {number} {}", "\u{202e}\0\u{7f}ä".repeat(100));
        alert.fix = Some("SELECT 1;\n".repeat(400));
        alert
    });
    let many = Message { alerts: alerts.collect(), ..one.clone() };
    assert_eq!(email.deliver(&to(&["dba@example.com"]), &many).await, Delivery::Accepted);
    let mails = server.mails();
    assert_eq!((mails.len(), &mails[0]["defects"]), (1, &json!([])));
    assert!(header(&mails[0], "Subject").starts_with("[FIRING 200] warning: number 0"), "{}", header(&mails[0], "Subject"));
    assert_eq!(header(&mails[0], "References").split_whitespace().count(), 20);
}
