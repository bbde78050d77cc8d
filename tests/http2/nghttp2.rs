//! The header compression of nghttp2, the library with which curl speaks HTTP/2: its encoder and its decoder.
#![expect(unsafe_code, reason = "a library in C")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use libloading::{Library, Symbol};

use crate::support::tool;
use crate::wire::Field;

/// `nghttp2_nv`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pair {
    name: *const u8,
    value: *const u8,
    name_length: usize,
    value_length: usize,
    flags: u8,
}

/// `NGHTTP2_NV_FLAG_NO_INDEX`.
const NO_INDEX: u8 = 1;
/// `NGHTTP2_HD_INFLATE_FINAL` and `NGHTTP2_HD_INFLATE_EMIT`.
const FINAL: i32 = 1;
const EMIT: i32 = 2;

pub(crate) struct Nghttp2(Library);

impl Nghttp2 {
    /// The library that is installed. Nothing after the skip of the test has been noted.
    pub(crate) fn load() -> Option<Self> {
        // SAFETY: the library's initialisation does nothing.
        let library = unsafe { Library::new("libnghttp2.so.14") };
        if library.is_err() {
            tool::skip(std::thread::current().name().unwrap_or("a test"), "needs libnghttp2.so.14, which curl has");
        }
        library.ok().map(Self)
    }

    /// A function of the library.
    ///
    /// # Safety
    /// It has this type.
    unsafe fn get<F>(&self, name: &str) -> Symbol<'_, F> {
        // SAFETY: as the caller promises.
        unsafe { self.0.get(name) }.unwrap()
    }

    pub(crate) fn deflater(&self) -> Deflater<'_> {
        let mut state = null_mut();
        // SAFETY: the type is that of nghttp2.h; the state is freed when the deflater is dropped.
        let result = unsafe {
            let new: Symbol<'_, unsafe extern "C" fn(*mut *mut c_void, usize) -> i32> =
                self.get("nghttp2_hd_deflate_new");
            new(&raw mut state, 4096)
        };
        assert_eq!(result, 0);
        Deflater { library: self, state }
    }

    pub(crate) fn inflater(&self) -> Inflater<'_> {
        let mut state = null_mut();
        // SAFETY: as for the deflater.
        let result = unsafe {
            let new: Symbol<'_, unsafe extern "C" fn(*mut *mut c_void) -> i32> = self.get("nghttp2_hd_inflate_new");
            new(&raw mut state)
        };
        assert_eq!(result, 0);
        Inflater { library: self, state }
    }
}

/// Encodes the blocks of one direction.
pub(crate) struct Deflater<'a> {
    library: &'a Nghttp2,
    state: *mut c_void,
}

impl Deflater<'_> {
    /// Changes the size of the table, which the next block tells.
    pub(crate) fn resize(&mut self, size: usize) {
        // SAFETY: the type is that of nghttp2.h, and the state is ours.
        let result = unsafe {
            let change: Symbol<'_, unsafe extern "C" fn(*mut c_void, usize) -> i32> =
                self.library.get("nghttp2_hd_deflate_change_table_size");
            change(self.state, size)
        };
        assert_eq!(result, 0);
    }

    /// A block with these fields, of which this one is not to be indexed.
    pub(crate) fn block(&mut self, fields: &[Field], secret: usize) -> Vec<u8> {
        let pair = |(at, (name, value)): (usize, &Field)| Pair {
            name: name.as_ptr(),
            value: value.as_ptr(),
            name_length: name.len(),
            value_length: value.len(),
            flags: if at == secret { NO_INDEX } else { 0 },
        };
        let pairs: Vec<Pair> = fields.iter().enumerate().map(pair).collect();
        let room = fields.iter().map(|(name, value)| name.len() + value.len() + 24).sum::<usize>() + 24;
        let mut block = vec![0; room];
        // SAFETY: the type is that of nghttp2.h; names, values and the block live as long as the call.
        let length = unsafe {
            let deflate: Symbol<'_, unsafe extern "C" fn(*mut c_void, *mut u8, usize, *const Pair, usize) -> isize> =
                self.library.get("nghttp2_hd_deflate_hd");
            deflate(self.state, block.as_mut_ptr(), room, pairs.as_ptr(), pairs.len())
        };
        block.truncate(usize::try_from(length).unwrap());
        block
    }
}

impl Drop for Deflater<'_> {
    fn drop(&mut self) {
        // SAFETY: the type is that of nghttp2.h, and the state is not used any more.
        unsafe {
            let delete: Symbol<'_, unsafe extern "C" fn(*mut c_void)> = self.library.get("nghttp2_hd_deflate_del");
            delete(self.state);
        }
    }
}

/// Decodes the blocks of one direction.
pub(crate) struct Inflater<'a> {
    library: &'a Nghttp2,
    state: *mut c_void,
}

impl Inflater<'_> {
    /// The fields of a block.
    pub(crate) fn fields(&mut self, block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut rest = block;
        loop {
            let mut pair = Pair { name: null(), value: null(), name_length: 0, value_length: 0, flags: 0 };
            let mut flags = 0;
            // SAFETY: the type is that of nghttp2.h; the block lives as long as the call.
            let used = unsafe {
                let inflate: Symbol<
                    '_,
                    unsafe extern "C" fn(*mut c_void, *mut Pair, *mut i32, *const u8, usize, i32) -> isize,
                > = self.library.get("nghttp2_hd_inflate_hd2");
                inflate(self.state, &raw mut pair, &raw mut flags, rest.as_ptr(), rest.len(), 1)
            };
            rest = &rest[usize::try_from(used).unwrap()..];
            if flags & EMIT != 0 {
                // SAFETY: name and value live until the next call.
                let text = |start, length| unsafe { std::slice::from_raw_parts(start, length) }.to_vec();
                fields.push((text(pair.name, pair.name_length), text(pair.value, pair.value_length)));
            }
            if flags & FINAL != 0 {
                break;
            }
        }
        // SAFETY: the type is that of nghttp2.h, and the state is ours.
        let result = unsafe {
            let end: Symbol<'_, unsafe extern "C" fn(*mut c_void) -> i32> =
                self.library.get("nghttp2_hd_inflate_end_headers");
            end(self.state)
        };
        assert_eq!(result, 0);
        fields
    }
}

impl Drop for Inflater<'_> {
    fn drop(&mut self) {
        // SAFETY: the type is that of nghttp2.h, and the state is not used any more.
        unsafe {
            let delete: Symbol<'_, unsafe extern "C" fn(*mut c_void)> = self.library.get("nghttp2_hd_inflate_del");
            delete(self.state);
        }
    }
}
