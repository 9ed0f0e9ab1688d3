//! The thread that answers other processes that share the store.
//!
//! **Owns** the thread. **Must not know** the requests or the answers: those belong to the engine.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::engine::Core;

/// Answers other processes as long as it lives; a store that is not shared has no thread.
#[derive(Default)]
pub(super) struct Service {
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(super) fn begin(core: &Arc<Core>) -> std::io::Result<Self> {
        let core = Arc::clone(core);
        let name = "flagstone-service".to_string();
        let thread = Builder::new().name(name).spawn(move || core.serve_others())?;
        Ok(Self { thread: Some(thread) })
    }

    pub(super) fn stop(&mut self, core: &Core) {
        core.stop_serving();
        if let Some(thread) = self.thread.take() {
            // The thread cannot have panicked; even if it had, this process must still close the
            // store.
            let _ = thread.join();
        }
    }
}
