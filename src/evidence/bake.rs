//! Bake.
