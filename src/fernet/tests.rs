//! Tests of sealing and opening, with the vectors of the specification.

use super::*;
use proptest::prelude::*;

fn key(fill: u8) -> Key {
    Key::from_bytes([fill; 32])
}

fn seal(key: &Key, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Sealer::new(key).seal(plain, 1_000, &[7; 16], &mut out);
    out
}

fn open(key: &Key, token: &[u8]) -> Result<Vec<u8>, Invalid> {
    Sealer::new(key)
        .open(token, &mut Vec::new())
        .map(<[u8]>::to_vec)
}

// The three vectors of https://github.com/fernet/spec: generate.json, verify.json,
// invalid.json.
const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
const NOW: u64 = 499_162_800; // 1985-10-26T01:20:00-07:00

#[test]
fn spec_generate() {
    let mut iv = [0; 16];
    iv.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    let mut out = Vec::new();
    Sealer::new(&Key::parse(SECRET).unwrap()).seal(b"hello", NOW, &iv, &mut out);
    assert_eq!(out, TOKEN.as_bytes());
}

#[test]
fn spec_verify() {
    let sealer = Sealer::new(&Key::parse(SECRET).unwrap());
    let mut buf = Vec::new();
    assert_eq!(
        sealer.open_fresh(TOKEN.as_bytes(), &mut buf, NOW + 1, Duration::from_secs(60)),
        Ok(&b"hello"[..])
    );
    assert_eq!(sealer.open(TOKEN.as_bytes(), &mut buf), Ok(&b"hello"[..]));
}

#[test]
fn spec_invalid() {
    let sealer = Sealer::new(&Key::parse(SECRET).unwrap());
    for (what, token) in [
        (
            "incorrect mac",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
        ),
        (
            "too short",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
        ),
        (
            "invalid base64",
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        ),
        (
            "payload size not multiple of block size",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
        ),
        (
            "payload padding error",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
        ),
        (
            "far-future TS (unacceptable clock skew)",
            "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
        ),
        (
            "expired TTL",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        ),
        (
            "incorrect IV (causes padding error)",
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
        ),
    ] {
        // Each token is checked at the time that its vector names.
        let now = if what == "expired TTL" {
            NOW + 91
        } else {
            NOW + 1
        };
        let mut buf = Vec::new();
        let answer = sealer.open_fresh(token.as_bytes(), &mut buf, now, Duration::from_secs(60));
        assert_eq!(answer, Err(Invalid), "{what}");
    }
}

#[test]
fn every_size_round_trips_and_has_the_length_foretold() {
    let plain: Vec<u8> = (0..CHUNK * 2 + 70).map(|i| i as u8).collect();
    for n in (0..200)
        .chain(SHORT - 20..SHORT + 20)
        .chain(CHUNK - 20..CHUNK + 70)
        .chain([CHUNK * 2 - 1, CHUNK * 2, plain.len()])
    {
        let token = seal(&key(1), &plain[..n]);
        assert_eq!(token.len(), token_len(n));
        assert_eq!(open(&key(1), &token).unwrap(), &plain[..n], "{n}");
    }
}

#[test]
fn sealing_appends_and_keeps_what_was_there() {
    let mut out = b"n|msg|".to_vec();
    Sealer::new(&key(1)).seal(b"x", 1, &[0; 16], &mut out);
    assert!(out.starts_with(b"n|msg|gAAAA"));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let token = seal(&key(1), b"a token of two blocks, more or less");
    for i in 0..token.len() {
        assert_eq!(open(&key(1), &token[..i]), Err(Invalid));
        for bit in 0..8 {
            let mut bad = token.clone();
            bad[i] ^= 1 << bit;
            assert_eq!(open(&key(1), &bad), Err(Invalid), "byte {i} bit {bit}");
        }
    }
}

#[test]
fn another_key_version_or_padding_is_refused_alike() {
    assert_eq!(open(&key(2), &seal(&key(1), b"x")), Err(Invalid));
    // A right MAC over a wrong version, and over wrong padding, as a key holder could forge it.
    let forge = |version: u8, block: [u8; 16]| {
        let k = Sealer::new(&key(1));
        let mut raw = vec![version];
        raw.extend_from_slice(&[0; 24]);
        let mut blocks = [block];
        encrypt(
            &mut cbc::Encryptor::inner_iv_init(&k.cipher, &Array::from([0; 16])),
            &mut blocks[0],
        );
        raw.extend_from_slice(&blocks[0]);
        let mut mac = k.mac.clone();
        mac.update(&raw);
        raw.extend_from_slice(&mac.finalize().into_bytes());
        URL_SAFE.encode(raw).into_bytes()
    };
    assert_eq!(open(&key(1), &forge(0x80, [16; 16])), Ok(vec![]));
    for (version, block) in [
        (0x81, [16; 16]),
        (0x80, [0; 16]),
        (0x80, [17; 16]),
        (0x80, [255; 16]),
        (0x80, {
            let mut b = [16; 16];
            b[3] = 1;
            b
        }),
    ] {
        assert_eq!(open(&key(1), &forge(version, block)), Err(Invalid));
    }
}

#[test]
fn only_the_canonical_encoding_is_accepted() {
    let token = seal(&key(1), b"twelve bytes"); // ends in "==": four stray bits
    assert!(token.ends_with(b"=="));
    let mut stray = token.clone();
    let at = token.len() - 3;
    stray[at] = token[at] + 1;
    assert_eq!(open(&key(1), &stray), Err(Invalid), "stray bits");
    assert_eq!(
        open(&key(1), &token[..token.len() - 1]),
        Err(Invalid),
        "missing padding"
    );
    assert_eq!(
        open(&key(1), &[&token[..], b"="].concat()),
        Err(Invalid),
        "extra padding"
    );
    let standard = token
        .iter()
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            b => *b,
        })
        .collect::<Vec<_>>();
    if standard != token {
        assert_eq!(open(&key(1), &standard), Err(Invalid), "the other alphabet");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(open(&key(1), &bytes), Err(Invalid));
    }
}
