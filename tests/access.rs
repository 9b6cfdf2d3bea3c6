//! No web page, no other user of the machine and no viewer's token changes anything. No page under a foreign name that resolves to the
//! agent reads anything, and the audit log trusts no name in a request.
//!
//! Covers tokens, host names, and the names in the audit log.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::program::output;
use crate::fixture::{TestAgent, send};

/// Sends a request as a browser or a tool does, and returns status and error code.
async fn change(agent: &TestAgent, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let (status, body) = send(agent.agent.address().port(), method, path, headers, body).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const SILENCE: &str = r#"{"matchers":["rule=x"],"duration":"1h","comment":"c"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_change_something_are_guarded() {
    let agent = TestAgent::start_with("[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"pharos.example.com\"]\n", Vec::new()).await;
    let operator = agent.operator();
    let add = async |headers: &[(&str, &str)]| {
        let headers = &[&[("authorization", operator.as_str())], headers].concat();
        let (status, body) = change(&agent, "POST", "/api/silences", headers, SILENCE).await;
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(add(&[("content-type", "text/plain")]).await, refused(415, "unsupported_media_type"));
    assert_eq!(add(&[]).await, refused(415, "unsupported_media_type"));
    assert_eq!(add(&[JSON, ("host", "evil.example.com")]).await, refused(403, "forbidden"));
    assert_eq!(add(&[JSON, ("host", "evil.example.com:9465")]).await, refused(403, "forbidden"));
    for hosts in [["localhost:9465", "evil.example.com"], ["evil.example.com", "localhost:9465"]] {
        let both = hosts.map(|host| ("host", host));
        assert_eq!(add(&[&[JSON][..], &both].concat()).await, refused(400, "bad_request"), "{hosts:?}");
    }
    for host in ["localhost:9465", "pharos.example.com", "[::1]:9465", "192.168.1.7"] {
        assert_eq!(add(&[JSON, ("host", host)]).await, refused(201, ""), "{host}");
    }
    assert_eq!(agent.json("/api/silences").await["items"].as_array().map(Vec::len), Some(4));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_may_not_change_anything_and_an_operator_signs_with_its_name() {
    let token = |name: &str, role: &str| {
        let digest: String = Sha256::digest(format!("the-token-of-{name}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[access.token]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{digest}\"\n")
    };
    let tokens = token("grafana", "viewer") + &token("ann", "operator");
    let agent = TestAgent::start_with(&tokens, Vec::new()).await;
    let (viewer, operator) = (("authorization", "Bearer the-token-of-grafana"), ("authorization", "Bearer the-token-of-ann"));
    let (status, body) = change(&agent, "POST", "/api/silences", &[JSON, viewer], SILENCE).await;
    assert_eq!((status, &body["error"]["message"]), (403, &json!("the token `grafana` may read and not change anything")));
    assert_eq!(change(&agent, "GET", "/api/silences", &[viewer], "").await.0, 200);
    let (status, body) = change(&agent, "POST", "/api/silences", &[JSON, operator], SILENCE).await;
    assert_eq!((status, &body["author"]), (201, &json!("ann")));

    // Another name is a claim and shown as one. The audit log has the name of the token.
    let claims = r#"{"matchers":["rule=x"],"duration":"1h","comment":"c","author":"agent"}"#;
    let lower_case = ("authorization", "bearer the-token-of-ann");
    let (status, body) = change(&agent, "POST", "/api/silences", &[JSON, lower_case], claims).await;
    assert_eq!((status, &body["author"]), (201, &json!("agent (with the token `ann`)")));
    let (_, log) = change(&agent, "GET", "/api/audit?limit=1", &[operator], "").await;
    assert_eq!((&log["items"][0]["action"], &log["items"][0]["actor"]), (&json!("silence.add"), &json!("ann")), "{log}");
    let long = claims.replace("agent", &"x".repeat(101));
    assert_eq!(change(&agent, "POST", "/api/silences", &[JSON, operator], &long).await.0, 400);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_everybody_here_may_read_and_the_agents_own_user_change() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    assert_eq!(change(&agent, "GET", "/api/plugins", &[], "").await.0, 200);
    assert_eq!(change(&agent, "GET", "/api/plugins", &[("host", "localhost:9465")], "").await.0, 200);
    // A page under a foreign name that resolves to the agent reads nothing either.
    for path in ["/api/plugins", "/metrics", "/readyz", "/nowhere"] {
        assert_eq!(change(&agent, "GET", path, &[("host", "evil.example.com")], "").await.0, 403, "{path}");
    }
    assert_eq!(change(&agent, "GET", "/api/plugins", &[("authorization", "Bearer x")], "").await.0, 401);
    for (method, path, body) in [
        ("POST", "/api/outbox/drop", "{\"all\":true}"),
        ("POST", "/api/silences", SILENCE),
        ("PUT", "/api/alerts/0123456789abcdef/acknowledgement", "{\"comment\":\"c\"}"),
        ("POST", "/api/receivers/ops/test", "{}"),
    ] {
        let (status, answer) = change(&agent, method, path, &[JSON], body).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthorised")), "{path}: {answer}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(agent.token_file()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let operator = agent.operator();
    assert_eq!(change(&agent, "POST", "/api/silences", &[JSON, ("authorization", &operator)], SILENCE).await.0, 201);

    // A command finds the token by the config file, and is shown no other agent's.
    let config = agent.folder().join("pharos.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &agent.agent.address().to_string())).unwrap();
    let config = config.display().to_string();
    let silence = ["silence", "add", "rule=x", "--for", "1h", "--comment", "c"];
    let (code, _, err) = output(&[&silence[..], &["--config", &config]].concat()).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (code, _, err) = output(&[&silence[..], &["--url", &format!("http://{}", agent.agent.address())]].concat()).await;
    assert!(code == Some(1) && err.contains("operator.token"), "{err}");
    let answer = agent.json("/api/audit?limit=1").await;
    assert_eq!(answer["items"][0]["actor"], "local");

    // A token that may have been sent to another program while the agent was stopped is not valid any more.
    let agent = TestAgent::start_in(agent.stop().await, "", Vec::new()).await;
    assert_eq!(change(&agent, "GET", "/api/plugins", &[("authorization", &operator)], "").await.0, 401);
    agent.stop().await;
}
