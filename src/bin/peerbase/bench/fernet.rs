//! Tokens, against the stages they are made of: with each stage measured alone, the series of them
//! allows `1 / (1/cbc + 1/hmac + 1/base64)`.

use super::{Report, throughput};
use aes::Aes128;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use peerbase::Key;
use peerbase::fernet::Sealer;
use sha2::Sha256;
use std::hint::black_box;

pub(super) fn run(report: &mut Report) {
    let key = Key::from_bytes([7; 32]);
    let sealer = Sealer::new(&key);
    let cipher = Aes128::new(&[7; 16].into());
    let mac: Hmac<Sha256> = KeyInit::new(&[7; 64].into());
    for size in [64, 1_024, 16 * 1_024, 1 << 20] {
        let plain = vec![b'x'; size];
        let mut blocks = vec![Array::from([b'x'; 16]); size / 16];
        let mut text = vec![0u8; size * 2];
        let mut bytes = vec![0u8; size + 3];
        let iv = Array::from([9; 16]);

        let encrypt = throughput(size, || {
            cbc::Encryptor::inner_iv_init(&cipher, &iv).encrypt_blocks(black_box(&mut blocks));
        });
        let decrypt = throughput(size, || {
            cbc::Decryptor::inner_iv_init(&cipher, &iv).decrypt_blocks(black_box(&mut blocks));
        });
        let hmac = throughput(size, || {
            let mut mac = mac.clone();
            mac.update(black_box(&plain));
            black_box(mac.finalize());
        });
        let encode = throughput(size, || {
            let _ = black_box(URL_SAFE.encode_slice(black_box(&plain), &mut text));
        });
        let n = URL_SAFE.encode_slice(&plain, &mut text).unwrap_or(0);
        let decode = throughput(size, || {
            let _ = black_box(URL_SAFE.decode_slice(black_box(&text[..n]), &mut bytes));
        });

        let mut token = Vec::new();
        let seal = throughput(size, || {
            token.clear();
            sealer.seal(black_box(&plain), 1, &[9; 16], &mut token);
        });
        let mut buf = Vec::new();
        let open = throughput(size, || {
            let _ = black_box(sealer.open(black_box(&token), &mut buf));
        });

        let series = |stages: [f64; 3]| 1.0 / stages.iter().map(|s| 1.0 / s).sum::<f64>();
        let line = |what: &str| format!("fernet {size} B {what}");
        for (what, rate) in [
            ("cbc encrypt", encrypt),
            ("cbc decrypt", decrypt),
            ("hmac", hmac),
            ("base64 encode", encode),
            ("base64 decode", decode),
            ("seal", seal),
            ("open", open),
        ] {
            report.add(&line(what), rate, "MB/s");
        }
        report.add(
            &line("seal / its stages in series"),
            seal / series([encrypt, hmac, encode]),
            "ratio",
        );
        report.add(
            &line("open / its stages in series"),
            open / series([decrypt, hmac, decode]),
            "ratio",
        );
    }
}
