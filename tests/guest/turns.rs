//! What version 2 of the contract lets a module ask for: extra state, another module for its connection, and streams inside
//! tunnels; by modules made for this, and by the parser.

mod feed;
mod hand_over;
mod inner;
mod resp;
mod state;
