//! No part of the agent is gone while the rest looks alive, and no task outlives the hard end.
//!
//! How everything ends: drained, cut, or failed. A second signal is in `cli`, since signals are the whole process's.

use std::future::{pending, ready};
use std::time::Duration;

use pharos::lifecycle::{Ending, Lifecycle};
use pharos_model::agent_part::AgentPart;
use tokio::time::timeout;

use crate::fixture::PATIENCE;

/// Asks for the end, and waits until no task is left.
async fn ending(lifecycle: Lifecycle) -> Ending {
    lifecycle.soft().cancel();
    let ending = timeout(PATIENCE, lifecycle.run()).await.expect("it ends");
    timeout(PATIENCE, lifecycle.tasks().wait()).await.expect("no supervised task outlives the hard token");
    ending
}

#[tokio::test]
async fn what_finishes_when_asked_is_drained() {
    let lifecycle = Lifecycle::default();
    lifecycle.supervise(AgentPart::Pipeline, lifecycle.soft().clone().cancelled_owned());
    lifecycle.tasks().spawn(ready(()));
    assert_eq!((ending(lifecycle.clone()).await, lifecycle.failed()), (Ending::Drained, None));
}

#[tokio::test]
async fn a_part_that_never_finishes_is_cut_when_the_drain_is_over() {
    let lifecycle = Lifecycle::draining_within(Duration::from_millis(100));
    lifecycle.supervise(AgentPart::Pipeline, lifecycle.soft().clone().cancelled_owned());
    lifecycle.supervise(AgentPart::Http, pending());
    assert_eq!((ending(lifecycle.clone()).await, lifecycle.failed()), (Ending::Cut, None));
}

#[tokio::test]
async fn a_part_that_ends_unexpectedly_ends_the_agent_as_failed() {
    let lifecycle = Lifecycle::default();
    lifecycle.supervise(AgentPart::Pipeline, lifecycle.soft().clone().cancelled_owned());
    lifecycle.supervise(AgentPart::Store, ready(()));
    // No stop was requested.
    assert_eq!(timeout(PATIENCE, lifecycle.run()).await.expect("it ends"), Ending::Failed);
    assert_eq!(lifecycle.failed(), Some(&AgentPart::Store));
}

#[tokio::test]
async fn a_part_that_panics_ends_the_agent_as_failed_also_during_the_drain() {
    let lifecycle = Lifecycle::default();
    lifecycle.supervise(AgentPart::Plugins, async { panic!("as the test wants") });
    assert_eq!(timeout(PATIENCE, lifecycle.run()).await.expect("it ends"), Ending::Failed);
    assert_eq!(lifecycle.failed(), Some(&AgentPart::Plugins));

    let lifecycle = Lifecycle::default();
    let soft = lifecycle.soft().clone();
    lifecycle.supervise(AgentPart::Agent, async move {
        soft.cancelled().await;
        panic!("as the test wants")
    });
    assert_eq!((ending(lifecycle.clone()).await, lifecycle.failed()), (Ending::Failed, Some(&AgentPart::Agent)));
}
