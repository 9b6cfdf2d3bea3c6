//! Answers to the requests of people that come through the desk.

use pharos_model::alert::{Alert, Fingerprint};
use pharos_model::audit::AuditEntry;
use pharos_model::dispatch::{Dispatcher, Silence, Trace};

use super::desk::{DeskError, Order, SignedComment};
use super::flow::Pipeline;
use super::records::Act;
use crate::store::{AlertChanges, RowFilter};

impl Pipeline {
    /// Handles one request, even if the sender does not wait for the answer any more.
    pub(super) async fn on_order(&mut self, order: Order) {
        match order {
            Order::Silences(answer) => drop(answer.send(self.dispatcher.silences().cloned().collect())),
            Order::Silence(silence, who, answer) => drop(answer.send(self.silence(*silence, &who).await)),
            Order::ExpireSilence(id, who, answer) => drop(answer.send(self.expire_silence(&id, &who).await)),
            Order::Acknowledge(fingerprint, comment, answer) => drop(answer.send(self.acknowledge(fingerprint, comment).await)),
            Order::Unacknowledge(fingerprint, who, answer) => drop(answer.send(self.unacknowledge(fingerprint, &who).await)),
            Order::Explain(fingerprint, last, answer) => drop(answer.send(self.explain(fingerprint, last))),
            Order::Retry(wanted, who, answer) => drop(answer.send(self.retry(wanted, &who).await)),
            Order::Drop(wanted, who, answer) => drop(answer.send(self.drop_rows(wanted, &who).await)),
        }
    }

    async fn silence(&mut self, silence: Silence, who: &str) -> Result<Silence, DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.silence(silence.clone(), self.clock.now())?;
        self.commit(before, self.act(who).silence_added(&silence)).await?;
        Ok(silence)
    }

    async fn expire_silence(&mut self, id: &str, who: &str) -> Result<Silence, DeskError> {
        let before = self.dispatcher.clone();
        let silence = self.dispatcher.expire_silence(id, self.clock.now())?;
        self.commit(before, self.act(who).silence_expired(&silence)).await?;
        Ok(silence)
    }

    async fn acknowledge(&mut self, fingerprint: Fingerprint, signed: SignedComment) -> Result<(), DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.acknowledge(fingerprint, &signed.author, &signed.comment, self.clock.now())?;
        let entry = self.act(&signed.actor).acknowledged(fingerprint, &signed);
        self.commit(before, entry).await
    }

    async fn unacknowledge(&mut self, fingerprint: Fingerprint, who: &str) -> Result<(), DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.unacknowledge(fingerprint)?;
        self.commit(before, self.act(who).unacknowledged(fingerprint)).await
    }

    /// Stores a request. If that fails, the dispatcher returns to its state before. Then sends the resulting notifications.
    async fn commit(&mut self, before: Dispatcher, entry: AuditEntry) -> Result<(), DeskError> {
        let changes = self.dispatcher.take_changes();
        let next_incident = self.alerts.next_incident();
        let now_ms = self.clock.wall_ms();
        let rows = AlertChanges { dispatch: changes, audit: vec![entry], now_ms, next_incident, ..AlertChanges::default() };
        if let Err(err) = self.store.save_request(rows).await {
            self.dispatcher = before;
            return Err(err.into());
        }
        self.settle(Vec::new()).await;
        Ok(())
    }

    fn act<'a>(&self, actor: &'a str) -> Act<'a> {
        Act { actor, at_ms: self.clock.wall_ms() }
    }

    fn explain(&self, fingerprint: Fingerprint, last: Option<Box<Alert>>) -> Option<(Alert, Trace)> {
        let open = self.alerts.alerts().find(|alert| alert.fingerprint == fingerprint).cloned();
        let alert = open.or(last.map(|last| *last))?;
        let trace = self.dispatcher.explain(&alert, self.clock.now());
        Some((alert, trace))
    }

    async fn retry(&mut self, wanted: RowFilter, who: &str) -> Result<Vec<u64>, DeskError> {
        let seqs = self.receivers.retry(wanted).await?;
        self.store.record_audit(self.act(who).retried(&seqs)).await?;
        Ok(seqs)
    }

    async fn drop_rows(&mut self, wanted: RowFilter, who: &str) -> Result<usize, DeskError> {
        let dropped = self.receivers.drop_rows(wanted.clone()).await?;
        self.store.record_audit(self.act(who).dropped(wanted, dropped)).await?;
        Ok(dropped)
    }
}
