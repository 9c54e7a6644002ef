//! Calls of several nodes at once.

use crate::common::{Lan, join, next, until};
use peerbase::{Error, Node};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

fn joined(node: &Node, name: &str) {
    until(name, || {
        node.peers()
            .iter()
            .any(|p| p.name.as_str() == name && p.reachable)
    });
}

#[test]
fn a_fan_out_has_a_result_for_each_or_the_first_failure_for_all() {
    let lan = Lan::new();
    let nodes: Vec<Node> = (0..5)
        .map(|i| {
            lan.builder(&format!("n{i}"))
                .command("square", move |call| {
                    if i == 3 {
                        call.fail("three")
                    } else {
                        call.reply(i * i)
                    }
                })
                .start()
                .unwrap()
        })
        .collect();
    let asker = lan.builder("asker").start().unwrap();
    (0..5).for_each(|i| joined(&asker, &format!("n{i}")));
    let mut all = asker
        .call("square")
        .to_all()
        .max_in_flight(2)
        .send_all()
        .unwrap();
    all.sort_by(|a, b| a.node.cmp(&b.node));
    let got: Vec<_> = all
        .iter()
        .map(|r| (r.node.as_str(), r.result.clone()))
        .collect();
    let three = Err(Error::CommandFailed("three".into()));
    assert_eq!(
        got,
        [
            ("n0", Ok(json!(0))),
            ("n1", Ok(json!(1))),
            ("n2", Ok(json!(4))),
            ("n3", three),
            ("n4", Ok(json!(16)))
        ]
    );
    let raised = asker
        .call("square")
        .to_each(["n1", "n3", "n4"])
        .raise_errors(true)
        .send_all();
    assert_eq!(raised, Err(Error::CommandFailed("three".into())));
    let some = asker
        .call("square")
        .to_each(["n4", "n2"])
        .raise_errors(true)
        .send_all()
        .unwrap();
    assert_eq!(some.len(), 2);
    assert!(matches!(
        asker.call("square").to_all().max_in_flight(0).send_all(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        asker.call("square").to_all().send(),
        Err(Error::Argument(_))
    ));
    drop(nodes);
}

#[test]
fn max_in_flight_is_never_passed() {
    let lan = Lan::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (keep, kept) = mpsc::channel();
    let (n, m) = (now.clone(), most.clone());
    let handler = move |call| {
        m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        keep.send(call).unwrap();
    };
    let _a = lan.builder("a").command("slow", handler).start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..20 {
            let call: peerbase::Call = next(&kept, "a call");
            now.fetch_sub(1, Ordering::SeqCst);
            call.reply(1).unwrap();
        }
    });
    let results = b
        .call("slow")
        .to_each(vec!["a"; 20])
        .max_in_flight(3)
        .send_all()
        .unwrap();
    assert!(results.len() == 20 && results.iter().all(|r| r.result.is_ok()));
    join(answering, "all to be answered");
    assert!(most.load(Ordering::SeqCst) <= 3);
}
