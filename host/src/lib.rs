//! Soloist
