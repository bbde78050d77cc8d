//! Native picohttpparser, as the package has it.
#![allow(unsafe_code, reason = "picohttpparser is C")]

use std::{ptr, slice};

use picohttpparser_sys::{phr_header, phr_parse_request};

/// Its result for a request, as a line.
pub(crate) fn native(request: &[u8]) -> String {
    let mut headers = [phr_header::default(); 128];
    let mut num_headers = headers.len();
    let (mut method, mut method_len, mut path, mut path_len) = (ptr::null(), 0, ptr::null(), 0);
    let mut minor = 0;
    // SAFETY: every pointer is to something that outlives the call, of the length given.
    let bytes = unsafe {
        phr_parse_request(
            request.as_ptr().cast(),
            request.len(),
            &raw mut method,
            &raw mut method_len,
            &raw mut path,
            &raw mut path_len,
            &raw mut minor,
            headers.as_mut_ptr(),
            &raw mut num_headers,
            0,
        )
    };
    let text = |start: *const std::ffi::c_char, len: usize| {
        if start.is_null() {
            return String::new();
        }
        // SAFETY: the parser returns a range of `request`.
        unsafe { slice::from_raw_parts(start.cast::<u8>(), len) }.escape_ascii().to_string()
    };
    match bytes {
        -2 => "partial".into(),
        -1 => "malformed".into(),
        _ => {
            let headers: Vec<String> = headers[..num_headers]
                .iter()
                .map(|h| format!("{}={}", text(h.name, h.name_len), text(h.value, h.value_len)))
                .collect();
            format!(
                "parsed {bytes}: {} {} 1.{minor} [{}]",
                text(method, method_len),
                text(path, path_len),
                headers.join(", ")
            )
        }
    }
}
