//! A machine that runs the memory manager.
#![no_std]
#![no_main]
