//! The other process of this benchmark: what is streamed to it is read and counted.

use crate::Outcome;
use crate::bench::process::{Network, resident_kib};
use peerbase::{Call, StreamReader};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Takes whatever is streamed to it, on a thread for each stream or in its loop.
pub(in crate::bench) fn peer() -> Outcome {
    Network::of_parent()?
        .builder("sink")
        .command("take", |call: Call| {
            std::thread::spawn(move || take(call));
        })
        .command("take-in-loop", take_in_loop)
        .command("memory", |call: Call| call.reply(resident_kib(None)))
        .run(|_| println!("ready"))?;
    Ok(())
}

fn take(call: Call) {
    let Ok((mut reader, writer)) = call.streams() else {
        return;
    };
    writer.finish();
    let (mut buf, mut sum) = (vec![0; 64 * 1024], 0u64);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => sum += n as u64,
            Err(e) => return drop(call.fail(&e.to_string())),
        }
    }
    let _ = call.reply(sum);
}

/// What is left to do for a stream that is taken in the loop.
struct Taking {
    call: Option<Call>,
    /// Gone once all was read: it keeps what is told, which keeps this.
    reader: Option<StreamReader>,
    buf: Vec<u8>,
    sum: u64,
}

impl Taking {
    fn go_on(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let outcome = loop {
            match reader.read_timeout(&mut self.buf, Duration::ZERO) {
                Ok(0) => break Ok(()),
                Ok(n) => self.sum += n as u64,
                Err(peerbase::Error::WouldBlock) => return,
                Err(e) => break Err(e),
            }
        };
        self.reader = None;
        if let Some(call) = self.call.take() {
            let _ = match outcome {
                Ok(()) => call.reply(self.sum),
                Err(e) => call.fail(&e.to_string()),
            };
        }
    }
}

fn take_in_loop(call: Call) {
    let Ok((reader, writer)) = call.streams() else {
        return;
    };
    writer.finish();
    let taking = Arc::new(Mutex::new(Taking {
        call: Some(call),
        reader: Some(reader),
        buf: vec![0; 64 * 1024],
        sum: 0,
    }));
    let go_on = {
        let taking = taking.clone();
        move || {
            if let Ok(mut taking) = taking.lock() {
                taking.go_on();
            }
        }
    };
    if let Ok(taking) = taking.lock()
        && let Some(reader) = &taking.reader
    {
        reader.on_ready(go_on.clone());
    }
    go_on();
}
