//! `POST /api/receivers/{name}/test`: a message that says nothing but that it arrived.

use axum::extract::State;
use pharos_model::notification::{Delivery, UndeliveredReason};

use crate::api::receiver::{ReceiverTest, TestOutcome};
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Named};
use crate::http::operation::Limits;
use crate::http::route::{Area, Route};
use crate::notify::Tester;

pub fn area(tester: &Tester) -> Area {
    let test = Route::post("/api/receivers/{name}/test", "testReceiver", test)
        .says(
            "Send a test message",
            "One attempt, beside the notifications that wait. A message that the receiver does not accept is an answer of 200 with its outcome.",
        )
        .path_parameter("name", "Name of a `[[receiver]]` of the config file.", None)
        .limits(Limits::DELIVERY)
        .answers::<ReceiverTest>(200, "What came of the attempt.")
        .refuses(404, "No receiver has that name.");
    Area::new("receivers", "Where notifications are sent.", tester, [test])
}

async fn test(State(tester): State<Tester>, Named(receiver): Named) -> Result<Answer<ReceiverTest>, ApiError> {
    let delivery = tester.test(&receiver).await.map_err(|err| ApiError::not_found(err.to_string()))?;
    let (outcome, why) = outcome(delivery);
    Ok(Answer::ok(ReceiverTest { receiver, outcome, why }))
}

fn outcome(delivery: Delivery) -> (TestOutcome, Option<String>) {
    match delivery {
        Delivery::Accepted => (TestOutcome::Accepted, None),
        Delivery::Partial(refused) => {
            let refused: Vec<String> = refused.into_iter().map(|(index, why)| format!("recipient {index}: {why}")).collect();
            (TestOutcome::Partial, Some(refused.join("; ")))
        }
        Delivery::Retry { after, why } => {
            let asks = |after| format!("{why} (it asks to wait {})", humantime::format_duration(after));
            (TestOutcome::Retry, Some(after.map_or_else(|| why.clone(), asks)))
        }
        Delivery::Ambiguous(why) => (TestOutcome::Ambiguous, Some(why)),
        Delivery::Unavailable(why) => (TestOutcome::Unavailable, Some(why)),
        Delivery::Unauthorised(why) => (TestOutcome::Unauthorised, Some(why)),
        Delivery::Gone(why) => (TestOutcome::Gone, Some(why)),
        Delivery::Rejected { reason: UndeliveredReason::Denied, why } => (TestOutcome::Denied, Some(why)),
        Delivery::Rejected { why, .. } => (TestOutcome::Rejected, Some(why)),
    }
}
