//! The classes of waits that have series in every reading.

/// Classes that client sessions of every version may wait for (`wait_event_type`).
pub(super) const WAITS: [&str; 8] = ["BufferPin", "Client", "Extension", "IO", "IPC", "Lock", "LWLock", "Timeout"];
