//! Parsers without a sandbox, for comparison: picohttpparser compiled natively, and the httparse crate. Only `--bench` runs
//! them, on the requests that its user gave.
#![allow(unsafe_code, reason = "picohttpparser is C")]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::{hint, ptr};

use picohttpparser_sys::{phr_header, phr_parse_request};

use crate::abi::MAX_HEADERS;

/// Length of the head that picohttpparser finds in `request`; -1 if it is malformed, -2 if partial.
pub(super) fn picohttpparser(request: &[u8]) -> c_int {
    let mut headers = [const { MaybeUninit::<phr_header>::uninit() }; MAX_HEADERS as usize];
    let mut num_headers = headers.len();
    let (mut method, mut method_len) = (ptr::null(), 0);
    let (mut path, mut path_len) = (ptr::null(), 0);
    let mut minor = 0;
    // SAFETY: the function reads `request.len()` bytes from its start, writes at most `num_headers` headers, and one value
    // through each of the other pointers. The pointers that it returns point into `request`, which outlives this call.
    let bytes = unsafe {
        phr_parse_request(
            request.as_ptr().cast(),
            request.len(),
            &raw mut method,
            &raw mut method_len,
            &raw mut path,
            &raw mut path_len,
            &raw mut minor,
            headers.as_mut_ptr().cast(),
            &raw mut num_headers,
            0,
        )
    };
    hint::black_box((&headers, method, path, minor));
    bytes
}

/// Whether httparse finds a complete head in `request`.
pub(super) fn httparse(request: &[u8]) -> bool {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS as usize];
    let mut parsed = httparse::Request::new(&mut []);
    let done = parsed.parse_with_uninit_headers(request, &mut headers);
    hint::black_box(&parsed);
    done.is_ok_and(|status| status.is_complete())
}
