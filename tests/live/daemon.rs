//! The daemon as it is deployed, whole: live on a wire that the test makes, started as root, its privileges given up, its
//! system calls filtered. What befalls it in months befalls it here in seconds.

mod disk;
mod prometheus;
mod shown;
mod signals;
mod supervised;
