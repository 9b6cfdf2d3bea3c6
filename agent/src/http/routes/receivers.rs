//! `POST /api/receivers/{name}/test`: sends a test message.

use axum::extract::State;
use pharos_model::notification::{Delivery, UndeliveredReason};

use crate::api::receiver::{ReceiverTest, TestOutcome};
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, PathName};
use crate::http::operation::Limits;
use crate::http::route::{Area, Route};
use crate::notify::Tester;

pub(crate) fn area(tester: &Tester) -> Area {
    let test = Route::post("/api/receivers/{name}/test", "testReceiver", test)
        .describes(
            "Send a test message",
            "One attempt, which waits for no other notification. If the receiver does not accept the message, the answer is still 200, with the \
             outcome.",
        )
        .path_parameter("name", "Name of a `[[receiver]]` of the config file.", None)
        .limits(Limits::DELIVERY)
        .answers::<ReceiverTest>(200, "The outcome of the attempt.")
        .refuses(404, "No receiver has that name.");
    Area::new("receivers", "Where notifications are sent.", tester, [test])
}

async fn test(State(tester): State<Tester>, PathName(receiver): PathName) -> Result<Answer<ReceiverTest>, ApiError> {
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
