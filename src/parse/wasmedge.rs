//! Runs the program of the argv way under WasmEdge, through its C API. The library is loaded at run time: nothing is linked,
//! and where it is not installed only this way is missing.
//!
//! The API is C, so all of it is unsafe. [`WasmEdge`] and [`Run`] own what they pass to WasmEdge, and free it in the order that
//! the API requires.
#![allow(unsafe_code, reason = "WasmEdge is reached through its C API, which is loaded at run time")]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use super::argv::{self, PROGRAM, Program, WASI};
use super::reply::Replies;
use super::wasi::Wasi;
use super::{Error, Field, Way};

/// Names of the library: that with the number of its ABI first.
const LIBRARIES: [&str; 2] = ["libwasmedge.so.0", "libwasmedge.so"];
/// The version whose structures are declared here. 0.13 has others under the same library name.
const VERSION: (u32, u32) = (0, 14);
/// Memory limit in pages of 64 KiB.
const MEMORY_PAGES: u32 = 1024;
/// Time limit of a run in milliseconds. WasmEdge interprets, so it is long.
const DEADLINE_MS: u64 = 30_000;

/// Codes of `WasmEdge_Result`: success; ended by `proc_exit`; failure.
const RESULT_SUCCESS: u32 = 0;
const RESULT_TERMINATED: u32 = 1;
const RESULT_FAILED: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    length: u32,
    bytes: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Outcome {
    code: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Type {
    data: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Value {
    value: u128,
    kind: Type,
}

/// The opaque contexts of the API.
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}
type Handle = *mut Opaque;

type HostFunction = extern "C" fn(*mut c_void, Handle, *const Value, *mut Value) -> Outcome;

/// The functions of the library, by name and type. The library is never unloaded: when the program's result is available,
/// the thread that ran it is still exiting in the library's code, and nothing reports when it is gone.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
            _library: ManuallyDrop<Library>,
        }

        impl Functions {
            fn find(library: Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of wasmedge.h 0.14; `version` is checked before any other function is called
                // than those that return the version, which return plain numbers in every version. The pointers do not
                // outlive the library, which is kept beside them.
                unsafe {
                    $(let $field = *library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>($name)?;)+
                    Ok(Self { $($field,)+ _library: ManuallyDrop::new(library) })
                }
            }
        }
    };
}

functions! {
    version_major = b"WasmEdge_VersionGetMajor\0": fn() -> u32;
    version_minor = b"WasmEdge_VersionGetMinor\0": fn() -> u32;
    log_off = b"WasmEdge_LogOff\0": fn();
    i32_type = b"WasmEdge_ValTypeGenI32\0": fn() -> Type;
    result_message = b"WasmEdge_ResultGetMessage\0": fn(Outcome) -> *const c_char;
    configure_create = b"WasmEdge_ConfigureCreate\0": fn() -> Handle;
    configure_delete = b"WasmEdge_ConfigureDelete\0": fn(Handle);
    configure_max_pages = b"WasmEdge_ConfigureSetMaxMemoryPage\0": fn(Handle, u32);
    function_type_create = b"WasmEdge_FunctionTypeCreate\0": fn(*const Type, u32, *const Type, u32) -> Handle;
    function_type_delete = b"WasmEdge_FunctionTypeDelete\0": fn(Handle);
    function_create = b"WasmEdge_FunctionInstanceCreate\0": fn(Handle, HostFunction, *mut c_void, u64) -> Handle;
    module_create = b"WasmEdge_ModuleInstanceCreate\0": fn(Text) -> Handle;
    module_delete = b"WasmEdge_ModuleInstanceDelete\0": fn(Handle);
    module_add_function = b"WasmEdge_ModuleInstanceAddFunction\0": fn(Handle, Text, Handle);
    module_find_memory = b"WasmEdge_ModuleInstanceFindMemory\0": fn(Handle, Text) -> Handle;
    frame_memory = b"WasmEdge_CallingFrameGetMemoryInstance\0": fn(Handle, u32) -> Handle;
    memory_pages = b"WasmEdge_MemoryInstanceGetPageSize\0": fn(Handle) -> u32;
    memory_pointer = b"WasmEdge_MemoryInstanceGetPointer\0": fn(Handle, u32, u32) -> *mut u8;
    memory_get = b"WasmEdge_MemoryInstanceGetData\0": fn(Handle, *mut u8, u32, u32) -> Outcome;
    vm_create = b"WasmEdge_VMCreate\0": fn(Handle, Handle) -> Handle;
    vm_delete = b"WasmEdge_VMDelete\0": fn(Handle);
    vm_register = b"WasmEdge_VMRegisterModuleFromImport\0": fn(Handle, Handle) -> Outcome;
    vm_load = b"WasmEdge_VMLoadWasmFromBuffer\0": fn(Handle, *const u8, u32) -> Outcome;
    vm_validate = b"WasmEdge_VMValidate\0": fn(Handle) -> Outcome;
    vm_instantiate = b"WasmEdge_VMInstantiate\0": fn(Handle) -> Outcome;
    vm_execute = b"WasmEdge_VMExecute\0": fn(Handle, Text, *const Value, u32, *mut Value, u32) -> Outcome;
    vm_start = b"WasmEdge_VMAsyncExecute\0": fn(Handle, Text, *const Value, u32) -> Handle;
    vm_module = b"WasmEdge_VMGetActiveModule\0": fn(Handle) -> Handle;
    async_wait_for = b"WasmEdge_AsyncWaitFor\0": fn(Handle, u64) -> bool;
    async_cancel = b"WasmEdge_AsyncCancel\0": fn(Handle);
    async_get = b"WasmEdge_AsyncGet\0": fn(Handle, *mut Value, u32) -> Outcome;
    async_delete = b"WasmEdge_AsyncDelete\0": fn(Handle);
}

/// The library, loaded.
pub(super) struct WasmEdge {
    functions: Functions,
    printed: Vec<u8>,
}

impl WasmEdge {
    /// Loads the library.
    ///
    /// # Errors
    /// It is not installed, or has another version.
    pub(super) fn new() -> Result<Self, Error> {
        let mut why = None;
        for name in LIBRARIES {
            // SAFETY: loading runs the library's initialisers; it is WasmEdge's, from the system's library path.
            match unsafe { Library::new(name) } {
                Ok(library) => return Self::of(Functions::find(library).map_err(|error| missing(&error))?),
                Err(error) => why = why.or(Some(missing(&error))),
            }
        }
        Err(why.unwrap_or_else(|| Error::NoWasmEdge("no library name is known".into())))
    }

    fn of(functions: Functions) -> Result<Self, Error> {
        // SAFETY: both take no arguments and return a number, in every version.
        let version = unsafe { ((functions.version_major)(), (functions.version_minor)()) };
        if version != VERSION {
            return Err(Error::NoWasmEdge(format!("its version is {}.{}, and 0.14 is needed", version.0, version.1)));
        }
        // SAFETY: takes no arguments. Without this call the library writes to standard output.
        unsafe { (functions.log_off)() };
        Ok(Self { functions, printed: Vec::new() })
    }
}

/// The loader's error: its source names the file and the reason, the error itself only the function that failed.
fn missing(error: &libloading::Error) -> Error {
    Error::NoWasmEdge(error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

impl Way for WasmEdge {
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error> {
        argv::check(requests)?;
        let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let _kept = Signals::keep();
        let mut run = Run::new(&self.functions, requests)?;
        run.main()?;
        self.printed = argv::finish(run.take())?;
        argv::results(&mut run, requests, replies)?;
        Ok(requests.len())
    }

    fn printed(&self) -> Option<&[u8]> {
        Some(&self.printed)
    }
}

/// One run at a time: signals belong to the whole process.
static RUNNING: Mutex<()> = Mutex::new(());

/// The signal handlers that WasmEdge replaces during a call and then resets to the default. wasmtime needs some of them to
/// catch traps: without them the next trap there would kill the process. (While a program runs here, nothing may trap there.)
struct Signals {
    kept: [(c_int, libc::sigaction); 3],
}

impl Signals {
    fn keep() -> Self {
        let kept = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE].map(|signal| {
            // SAFETY: an all-zero action is valid (the default), and reading the present one changes nothing.
            unsafe {
                let mut action = mem::zeroed();
                libc::sigaction(signal, ptr::null(), &raw mut action);
                (signal, action)
            }
        });
        Self { kept }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, action) in &self.kept {
            // SAFETY: the action was in force before, and its handler is never unloaded.
            unsafe { libc::sigaction(*signal, action, ptr::null_mut()) };
        }
    }
}

/// The data of the host functions.
struct Context {
    functions: *const Functions,
    wasi: Wasi,
}

/// One run of the program. The virtual machine is deleted before the host module, and that before the context.
struct Run<'a> {
    functions: &'a Functions,
    /// Made by `Box::leak`; the host functions of `wasi` point to it.
    context: NonNull<Context>,
    wasi: Handle,
    vm: Handle,
}

impl<'a> Run<'a> {
    fn new(functions: &'a Functions, requests: &[&[u8]]) -> Result<Self, Error> {
        let context = Box::new(Context { functions, wasi: Wasi::new(requests) });
        let context = NonNull::from(Box::leak(context));
        // SAFETY: the callee copies texts; the configuration may be deleted once the machine exists; null handles are
        // checked below, and every delete accepts null. `run` frees all of it, after an error too.
        let run = unsafe {
            let wasi = (functions.module_create)(text(WASI));
            let configuration = (functions.configure_create)();
            (functions.configure_max_pages)(configuration, MEMORY_PAGES);
            let vm = (functions.vm_create)(configuration, ptr::null_mut());
            (functions.configure_delete)(configuration);
            Self { functions, context, wasi, vm }
        };
        if run.wasi.is_null() || run.vm.is_null() {
            return Err(Error::WasmEdge("out of memory".into()));
        }
        run.define("args_sizes_get", 2, 1, args_sizes_get);
        run.define("args_get", 2, 1, args_get);
        run.define("fd_write", 4, 1, fd_write);
        run.define("proc_exit", 1, 0, proc_exit);
        let size = u32::try_from(PROGRAM.len()).map_err(|_| Error::WasmEdge("the program is too large".into()))?;
        // SAFETY: both handles are valid, and the program's bytes are static.
        let steps = unsafe {
            [
                (functions.vm_register)(run.vm, run.wasi),
                (functions.vm_load)(run.vm, PROGRAM.as_ptr(), size),
                (functions.vm_validate)(run.vm),
                (functions.vm_instantiate)(run.vm),
            ]
        };
        for outcome in steps {
            run.check(outcome)?;
        }
        Ok(run)
    }

    /// Adds a host function that takes `arguments` and returns `results` 32-bit numbers.
    fn define(&self, name: &str, arguments: u32, results: u32, function: HostFunction) {
        // SAFETY: the function copies its type, and the module owns the function. `context` lives until the module is
        // deleted.
        unsafe {
            let types = [(self.functions.i32_type)(); 4];
            let kind = (self.functions.function_type_create)(types.as_ptr(), arguments, types.as_ptr(), results);
            let made = (self.functions.function_create)(kind, function, self.context.as_ptr().cast(), 0);
            (self.functions.function_type_delete)(kind);
            (self.functions.module_add_function)(self.wasi, text(name), made);
        }
    }

    /// Runs `_start` on a thread of WasmEdge's: only there can it be cancelled.
    fn main(&mut self) -> Result<(), Error> {
        // SAFETY: the machine is valid; the handle is waited for and deleted here. While the program runs, only its host
        // functions touch the context.
        let outcome = unsafe {
            let run = (self.functions.vm_start)(self.vm, text("_start"), ptr::null(), 0);
            if run.is_null() {
                return Err(Error::WasmEdge("cannot start a thread for the program".into()));
            }
            if !(self.functions.async_wait_for)(run, DEADLINE_MS) {
                (self.functions.async_cancel)(run);
            }
            let outcome = (self.functions.async_get)(run, ptr::null_mut(), 0);
            (self.functions.async_delete)(run);
            outcome
        };
        self.check(outcome)
    }

    fn check(&self, outcome: Outcome) -> Result<(), Error> {
        // The upper byte is a category, 0 for WasmEdge's own codes.
        match outcome.code {
            RESULT_SUCCESS | RESULT_TERMINATED => Ok(()),
            _ => {
                // SAFETY: returns a static text.
                let message = unsafe { (self.functions.result_message)(outcome) };
                if message.is_null() {
                    return Err(Error::WasmEdge(format!("error {}", outcome.code)));
                }
                // SAFETY: not null, static, terminated by NUL.
                let message = unsafe { CStr::from_ptr(message) };
                Err(Error::WasmEdge(message.to_string_lossy().into_owned()))
            }
        }
    }

    /// Takes the output of the run.
    fn take(&mut self) -> Wasi {
        // SAFETY: made by `Box::leak`, and no host function runs outside of a call.
        mem::take(unsafe { &mut self.context.as_mut().wasi })
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // SAFETY: each was made by `new` and is deleted once; null is allowed.
        unsafe {
            (self.functions.vm_delete)(self.vm);
            (self.functions.module_delete)(self.wasi);
            drop(Box::from_raw(self.context.as_ptr()));
        }
    }
}

impl Program for Run<'_> {
    fn number(&mut self, name: &'static str) -> Result<u32, Error> {
        // SAFETY: returns a type by value.
        let mut value = Value { value: 0, kind: unsafe { (self.functions.i32_type)() } };
        // SAFETY: there is space for one result; the functions called by name take nothing and return one i32.
        let outcome = unsafe { (self.functions.vm_execute)(self.vm, text(name), ptr::null(), 0, &raw mut value, 1) };
        self.check(outcome)?;
        Ok(low32(&value))
    }

    fn copy(&mut self, address: u32, into: &mut [u8]) -> Result<(), Error> {
        let len = u32::try_from(into.len()).map_err(|_| Error::invalid(Field::Address, address))?;
        // SAFETY: the machine is valid and owns the module and its memory.
        let memory =
            unsafe { (self.functions.module_find_memory)((self.functions.vm_module)(self.vm), text("memory")) };
        if memory.is_null() {
            return Err(Error::Export("memory"));
        }
        // SAFETY: `into` has `len` bytes; the callee checks the bounds of the memory.
        let outcome = unsafe { (self.functions.memory_get)(memory, into.as_mut_ptr(), address, len) };
        if outcome.code == RESULT_SUCCESS { Ok(()) } else { Err(Error::invalid(Field::Address, address)) }
    }
}

/// A text that the callee copies before it returns.
fn text(text: &str) -> Text {
    debug_assert!(u32::try_from(text.len()).is_ok(), "names are short");
    Text { length: u32::try_from(text.len()).unwrap_or(0), bytes: text.as_ptr().cast() }
}

/// The low 32 bits, which hold an i32.
fn low32(value: &Value) -> u32 {
    u32::try_from(value.value & u128::from(u32::MAX)).unwrap_or(0)
}

/// Runs one WASI function with the guest's arguments, and writes its error number to `result`.
fn serve<const N: usize>(
    data: *mut c_void,
    frame: Handle,
    arguments: *const Value,
    result: *mut Value,
    run: fn(&mut Wasi, &mut [u8], [u32; N]) -> u32,
) -> Outcome {
    // SAFETY: `data` is the context given to `define`, which lives until the module is deleted; no other host function
    // runs at the same time, as the program has one thread.
    let context = unsafe { &mut *data.cast::<Context>() };
    // SAFETY: the functions outlive the run.
    let functions = unsafe { &*context.functions };
    // SAFETY: the frame is that of this call; a null memory is checked for.
    let memory = unsafe { (functions.frame_memory)(frame, 0) };
    if memory.is_null() {
        return Outcome { code: RESULT_FAILED };
    }
    // SAFETY: the memory is valid. 65,536 pages would overflow; the machine is limited to fewer.
    let len = unsafe { (functions.memory_pages)(memory) }.min(MEMORY_PAGES) * 65536;
    // SAFETY: as above; the result is null if the memory has fewer than `len` bytes.
    let start = unsafe { (functions.memory_pointer)(memory, 0, len) };
    if start.is_null() {
        return Outcome { code: RESULT_FAILED };
    }
    // SAFETY: `start` points to `len` bytes, which nothing else accesses during this call: the program waits for it.
    let memory = unsafe { slice::from_raw_parts_mut(start, len as usize) };
    // SAFETY: WasmEdge passes as many arguments as the function's type has; `define` is called with the same N.
    let arguments = unsafe { slice::from_raw_parts(arguments, N) };
    let numbers = std::array::from_fn(|index| arguments.get(index).map_or(0, low32));
    let errno = run(&mut context.wasi, memory, numbers);
    if !result.is_null() {
        // SAFETY: not null: the type has a result, and WasmEdge has space for it.
        unsafe { result.write(Value { value: u128::from(errno), kind: (functions.i32_type)() }) };
    }
    Outcome { code: RESULT_SUCCESS }
}

extern "C" fn args_sizes_get(data: *mut c_void, frame: Handle, arguments: *const Value, result: *mut Value) -> Outcome {
    serve(data, frame, arguments, result, |wasi, memory, [count, bytes]| wasi.args_sizes_get(memory, count, bytes))
}

extern "C" fn args_get(data: *mut c_void, frame: Handle, arguments: *const Value, result: *mut Value) -> Outcome {
    serve(data, frame, arguments, result, |wasi, memory, [table, buffer]| wasi.args_get(memory, table, buffer))
}

extern "C" fn fd_write(data: *mut c_void, frame: Handle, arguments: *const Value, result: *mut Value) -> Outcome {
    serve(data, frame, arguments, result, |wasi, memory, [descriptor, pieces, count, written]| {
        wasi.fd_write(memory, descriptor, pieces, count, written)
    })
}

extern "C" fn proc_exit(data: *mut c_void, frame: Handle, arguments: *const Value, _: *mut Value) -> Outcome {
    serve(data, frame, arguments, ptr::null_mut(), |wasi, _, [code]| {
        wasi.exit = Some(code);
        0
    });
    Outcome { code: RESULT_TERMINATED }
}
