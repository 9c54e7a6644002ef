//! The other processes of the demo: sensors, each a node that serves.

use crate::Outcome;
use crate::options::Options;
use crate::signals::Ending;
use peerbase::Call;
use serde_json::json;
use std::io::{Read, Write};

/// One of the other processes: serves until it is asked to end.
pub(super) fn run(name: &str, options: Options) -> Outcome {
    let builder = options
        .builder(name)?
        .command("sensor.read", |call| {
            call.reply(json!({"celsius": 21.5, "pid": std::process::id()}))
        })
        .command("sensor.calibrate", |call| {
            call.fail("no reference attached")
        })
        .command("sensor.shout", |call: Call| {
            std::thread::spawn(move || shout(call));
        })
        .on_message(|message| {
            let mut data = message.data().to_vec();
            data.reverse();
            message.reply(&data)
        });
    let ending = Ending::watch()?;
    let mut registered = Ok(());
    builder.run(|node| {
        let (ends, tells) = (node.clone(), node.clone());
        let relays = move |call: Call| call.reply(tells.stats().relays_up);
        let offers = node.clone();
        let offer = move |call: Call| {
            let path = call.args()[0].as_str().unwrap_or_default();
            match offers.add_file(path) {
                Ok(hash) => call.reply(hash),
                Err(e) => call.fail(&e.to_string()),
            }
        };
        registered = node
            .register("demo.relays", relays)
            .and_then(|()| node.register("demo.offer", offer));
        ending.with(0, move || ends.stop());
        println!("ready");
    })?;
    Ok(registered?)
}

/// Streams back what is streamed to it, in capitals.
fn shout(call: Call) {
    let Ok((mut reader, mut writer)) = call.streams() else {
        return;
    };
    let (mut buf, mut sum) = ([0; 16 * 1024], 0);
    let outcome = loop {
        match reader.read(&mut buf) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                sum += n;
                if let Err(e) = writer.write_all(&buf[..n].to_ascii_uppercase()) {
                    break Err(e);
                }
            }
            Err(e) => break Err(e),
        }
    };
    let _ = match outcome {
        Ok(()) => {
            writer.finish();
            call.reply(sum)
        }
        Err(e) => call.fail(&e.to_string()),
    };
}
