//! Everything that a guest should not do.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pharos_plugin::{log, state, telemetry};
use wasip2::clocks::monotonic_clock;

use crate::orders::counted;

/// Does what is ordered at this point; most of it never returns.
pub fn act(order: &str) {
    let (deed, number) = counted(order);
    match deed {
        "trap" => panic!("ordered to trap"),
        // Every so many calls of an instance.
        "sometimes" => {
            static CALLS: AtomicU64 = AtomicU64::new(0);
            assert!((CALLS.fetch_add(1, Ordering::Relaxed) + 1) % number != 0, "ordered to trap in every call of {number}");
        }
        "babble" => {
            eprintln!("first words\u{1b}[31m\n{}\nlast words", "x".repeat(number as usize));
            panic!("ordered to babble");
        }
        "loop" => spin(),
        "burn" => (0..number * 1_000_000).for_each(|round| {
            black_box(round);
        }),
        "calls" => loop {
            black_box(pharos_plugin::bindings::plugin::pharos::plugin::config::settings());
        },
        "sleep" => std::thread::sleep(Duration::from_millis(number)),
        "grow" => grow(),
        "recurse" => drop(black_box(recurse(1))),
        "exit" => std::process::exit(3),
        "handles" => loop {
            std::mem::forget(monotonic_clock::subscribe_duration(1));
        },
        "random" => drop(wasip2::random::random::get_random_bytes(number << 20)),
        "shout" => log::error(&"x".repeat((number << 20) as usize), &[]),
        "chatter" => (0..number).for_each(|line| log::warn("chatter\u{1b}[31m\nforged line", &[("line", &line)])),
        "print" => println!("printed"),
        "complain" => eprintln!("complained"),
        "name" => (0..number).for_each(|name| telemetry::counter_add(&format!("name_{name}"), 1)),
        "hoard" => hoard(number),
        _ => {}
    }
}

fn spin() {
    let mut round = 0_u64;
    while black_box(true) {
        round = black_box(round.wrapping_add(1));
    }
}

fn grow() {
    while black_box(true) {
        std::mem::forget(black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "that is the deed")]
fn recurse(depth: u64) -> u64 {
    black_box(depth) + recurse(black_box(depth) + 1)
}

/// Stores values of this many KiB until one is refused, and returns how many were stored.
fn hoard(kib: u64) {
    let value = vec![7_u8; (kib << 10) as usize];
    let kept = (0..100).take_while(|key| state::put(&format!("hoard-{key}"), &value, None).is_ok()).count();
    telemetry::gauge_set("hoarded", kept as f64);
}
