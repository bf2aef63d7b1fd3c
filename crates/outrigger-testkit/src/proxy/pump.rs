//! One connection of the fault proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Counts, Faults, Orders};

/// Passes bytes both ways until both directions have ended, or all are told to reset.
pub(super) async fn run(
    caller: TcpStream,
    endpoint: TcpStream,
    faults: watch::Receiver<Faults>,
    orders: watch::Receiver<Orders>,
    counts: &Counts,
) {
    for tcp in [&caller, &endpoint] {
        // The proxy adds no delay of its own.
        let _ = tcp.set_nodelay(true);
    }
    let began = *orders.borrow();
    let mut resets = orders.clone();
    let mut half_closes = orders;
    let (from_caller, mut to_caller) = caller.into_split();
    let (from_endpoint, mut to_endpoint) = endpoint.into_split();
    let is_reset = {
        let up = pass(from_caller, &mut to_endpoint, faults.clone(), &counts.up);
        let down = async {
            let told = async {
                half_closes.wait_for(|now| now.half_closes > began.half_closes).await.is_ok()
            };
            let is_half_closed = tokio::select! {
                () = pass(from_endpoint, &mut to_caller, faults, &counts.down) => false,
                told = told => told,
            };
            if is_half_closed {
                let _ = to_caller.shutdown().await;
            }
        };
        tokio::select! {
            _ = async { tokio::join!(up, down) } => false,
            Ok(_) = resets.wait_for(|now| now.resets > began.resets) => true,
        }
    };
    if is_reset {
        for half in [&to_caller, &to_endpoint] {
            // Closing with a zero linger sends RST.
            let _ = half.as_ref().set_zero_linger();
        }
        to_caller.forget();
        to_endpoint.forget();
    }
}

/// Passes one direction to its end, and ends the other side's reading with it.
async fn pass(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
    counted: &AtomicU64,
) {
    let mut bytes = vec![0; PIECE];
    let mut until_flip: u64 = 0;
    loop {
        let most = faults.borrow().rate.map_or(PIECE, |rate| {
            // Ten pieces a second, so that a low rate is a trickle and no burst.
            (rate.get() as usize / 10).clamp(1, PIECE)
        });
        let Ok(read @ 1..) = from.read(&mut bytes[..most]).await else { break };
        if faults.wait_for(|faults| !faults.is_stalled).await.is_err() {
            break;
        }
        let now = faults.borrow_and_update().clone();
        if !now.latency.is_zero() {
            sleep(now.latency).await;
        }
        if let Some(rate) = now.rate {
            sleep(Duration::from_secs(1) * u32::try_from(read).unwrap_or(u32::MAX) / rate.get())
                .await;
        }
        if let Some(every) = now.corrupt_every {
            for byte in &mut bytes[..read] {
                until_flip += 1;
                if until_flip >= u64::from(every.get()) {
                    until_flip = 0;
                    *byte ^= 1;
                }
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
        counted.fetch_add(read as u64, Ordering::SeqCst);
    }
    let _ = to.shutdown().await;
}

const PIECE: usize = 16 * 1024;
