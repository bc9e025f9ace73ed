//! Protocol bytes to model and back, no socket.
