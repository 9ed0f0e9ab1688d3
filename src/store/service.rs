//! The thread that answers other processes which share the store.
//!
//! **Owns** the thread. **Must not know** what is asked, or how it is answered: the engine
//! does.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::engine::Core;

/// Answers others as long as it lives; a store of this process alone has none.
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
            // It cannot have panicked; and if it had, this process is to close all the same.
            let _ = thread.join();
        }
    }
}
