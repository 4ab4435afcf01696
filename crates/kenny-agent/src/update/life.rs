//! How a process that carries out an update waits: never past its own end.

use std::time::Duration;

use kenny_core::update::{Waited, Word};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::RELEASE_CONTROL;

/// What runs the waits.
#[derive(Debug)]
enum Executor {
    /// The agent's, from a thread that may block.
    Shared(Handle),
    /// One of this process's own.
    Own(Runtime),
}

/// The life of a process: its waits end when it has to.
#[derive(Debug)]
pub struct Life {
    executor: Executor,
    stop: watch::Receiver<bool>,
    controls: Option<mpsc::UnboundedReceiver<u8>>,
}

impl Life {
    /// Of the agent, on a thread that may block.
    pub fn of_agent(handle: Handle, stop: watch::Receiver<bool>) -> Self {
        Self { executor: Executor::Shared(handle), stop, controls: None }
    }

    /// Of a process whose work this is; it hears the codes that the service manager hands on.
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "only the agent itself works elsewhere")
    )]
    pub fn of_worker(
        stop: watch::Receiver<bool>,
        controls: Option<mpsc::UnboundedReceiver<u8>>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { executor: Executor::Own(runtime), stop, controls })
    }

    /// Waits for a future.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.executor {
            Executor::Shared(handle) => handle.block_on(future),
            Executor::Own(runtime) => runtime.block_on(future),
        }
    }

    /// Starts a future, which goes on while this waits for something.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.executor {
            Executor::Shared(handle) => handle.spawn(future),
            Executor::Own(runtime) => runtime.spawn(future),
        }
    }

    /// Waits.
    pub fn pause(&self, time: Duration) -> Waited {
        let mut stop = self.stop.clone();
        self.block_on(async move {
            tokio::select! {
                biased;
                () = ending(&mut stop) => Waited::Ending,
                () = sleep(time) => Waited::Through,
            }
        })
    }

    /// Waits for the agent's word.
    pub fn wait_for_word(&mut self, limit: Duration) -> Word {
        let Some(mut controls) = self.controls.take() else { return Word::Silence };
        let mut stop = self.stop.clone();
        let word = self.block_on(async {
            let given = async {
                loop {
                    match controls.recv().await {
                        Some(RELEASE_CONTROL) => return,
                        Some(_) => {}
                        None => std::future::pending().await,
                    }
                }
            };
            tokio::select! {
                biased;
                () = ending(&mut stop) => Word::Ending,
                () = given => Word::Given,
                () = sleep(limit) => Word::Silence,
            }
        });
        self.controls = Some(controls);
        word
    }
}

/// Until the process has to end. One that nobody can ask to end never has to.
async fn ending(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit that no test waits for.
    const LONG: Duration = Duration::from_mins(10);

    #[test]
    fn a_wait_ends_with_the_process() {
        let (sender, stop) = watch::channel(false);
        let (word, controls) = mpsc::unbounded_channel();
        let mut life = Life::of_worker(stop, Some(controls)).unwrap();
        assert_eq!(life.pause(Duration::ZERO), Waited::Through);
        // Another code is no word.
        word.send(200).unwrap();
        assert_eq!(life.wait_for_word(Duration::ZERO), Word::Silence);
        word.send(RELEASE_CONTROL).unwrap();
        assert_eq!(life.wait_for_word(LONG), Word::Given);
        sender.send_replace(true);
        assert_eq!(life.pause(LONG), Waited::Ending);
        assert_eq!(life.wait_for_word(LONG), Word::Ending);
    }

    #[test]
    fn a_process_that_nobody_can_stop_waits_through() {
        let (_, stop) = watch::channel(false);
        let life = Life::of_worker(stop, None).unwrap();
        assert_eq!(life.pause(Duration::from_millis(1)), Waited::Through);
    }
}
