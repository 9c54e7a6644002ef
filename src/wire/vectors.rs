//! The structures of `tests/vectors/structures.json`, which another implementation has encoded.

use super::advert::Advert;
use super::peers;
use super::record::{self, Record};
use super::relay::{FromRelay, ToRelay};
use crate::frame::{self, Parsed};
use crate::limits::FRAME_MAX;
use crate::unhex::unhex;
use serde_json::Value;

/// What the bytes of a structure encode back to; none if they are refused.
fn again(structure: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match structure {
        "frame" => match frame::parse(bytes, FRAME_MAX).ok()? {
            Parsed::Complete(one, used) if used == bytes.len() => frame::encode(&one, &mut out),
            _ => return None,
        },
        "advert" => Advert::decode(bytes).ok()?.encode(&mut out),
        "record" => record::encode(&Record::decode(bytes).ok()?, &mut out),
        "peers" => peers::encode(&peers::decode(bytes).ok()?, &mut out),
        "word of a node" => ToRelay::decode(bytes).ok()?.encode(&mut out),
        "word of a relay" => FromRelay::decode(bytes).ok()?.encode(&mut out),
        other => panic!("{other} is not known"),
    }
    Some(out)
}

/// What a vector is about, and its bytes.
fn each(some: &Value) -> Vec<(String, Vec<u8>)> {
    match some {
        Value::Array(texts) => {
            let texts = texts.iter().map(|text| text.as_str().unwrap());
            texts.map(|t| (t.to_owned(), t.into())).collect()
        }
        Value::Object(bytes) => {
            let bytes = bytes
                .iter()
                .map(|(about, hex)| (about, hex.as_str().unwrap()));
            bytes.map(|(about, h)| (about.clone(), unhex(h))).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn structures_are_those_that_another_implementation_has_encoded() {
    let file = include_str!("../../tests/vectors/structures.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let structures = file["structures"].as_array().unwrap();
    assert_eq!(structures.len(), 6);
    for one in structures {
        let structure = one["structure"].as_str().unwrap();
        let (good, bad) = (each(&one["good"]), each(&one["bad"]));
        assert!(!good.is_empty() && !bad.is_empty(), "{structure}");
        for (about, bytes) in good {
            let same = again(structure, &bytes) == Some(bytes);
            assert!(same, "{structure}: {about}");
        }
        for (about, bytes) in bad {
            let refused = again(structure, &bytes).is_none();
            assert!(refused, "{structure}: {about}");
        }
    }
}
