//! Strings as C may pass them: each is accepted or gives a code, and the last error is a string.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::ffi::*;
use std::ffi::{CStr, CString};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|b| *b == 0).map(|p| CString::new(p).expect("split at NUL"));
    let mut next = || parts.next().unwrap_or_default();
    let (name, network, key, address, path) = (next(), next(), next(), next(), next());
    let good = c"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    // SAFETY: all strings are NUL-terminated, and each configuration is freed once.
    unsafe {
        for key in [key.as_c_str(), good] {
            let config = peerbase_config_new(name.as_ptr(), network.as_ptr(), key.as_ptr());
            if config.is_null() {
                let text = CStr::from_ptr(peerbase_last_error());
                assert!(!text.is_empty() && text.to_str().is_ok());
                continue;
            }
            assert!(name.to_str().is_ok_and(|n| !n.is_empty() && n.len() <= 64));
            assert!(peerbase_config_set_listen(config, address.as_ptr()) <= 0);
            assert!(peerbase_config_set_advertise_address(config, address.as_ptr()) <= 0);
            assert!(peerbase_config_add_key(config, key.as_ptr()) <= 0);
            assert!(peerbase_config_register(config, path.as_ptr(), None, std::ptr::null_mut(), None) < 0);
            peerbase_config_free(config);
        }
    }
});
