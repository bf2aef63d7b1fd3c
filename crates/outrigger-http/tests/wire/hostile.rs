//! Endpoints that mean harm: each harms the one request, and the next one is answered.

use http_body_util::BodyExt;
use outrigger_core::FailureKind;

use crate::raw::*;

/// Sends `answer` to the first request, and honest answers from then on. Gives back what the first
/// request came to; proves that 20 later ones are answered rightly.
async fn first_answered_with(
    answer: impl Into<Vec<u8>>,
    stays_open: bool,
) -> Result<(http::StatusCode, String), outrigger_core::Failed> {
    let answer = answer.into();
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let mut answer = Some(answer);
        while let Ok((mut tcp, _)) = listener.accept().await {
            let hostile = answer.take();
            tokio::spawn(async move {
                let mut hostile = hostile;
                while let Some(head) = read_head(&mut tcp).await {
                    match hostile.take() {
                        Some(answer) => {
                            write(&mut tcp, answer).await;
                            if !stays_open {
                                break;
                            }
                        }
                        None => {
                            let path = head.split(' ').nth(1).unwrap_or_default();
                            let length = path.len();
                            write(
                                &mut tcp,
                                format!(
                                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{path}"
                                ),
                            )
                            .await;
                        }
                    }
                }
            });
        }
    });
    let pool = pool(|_| {});
    let first = async {
        let response = send(&pool, &endpoint, request("/first")).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
    .await;
    for n in 0..20 {
        let path = format!("/{n}");
        let answer = get(&pool, &endpoint, &path).await.expect("others are not harmed");
        assert_eq!(answer, path, "each gets its own answer");
    }
    let stats = pool.stats();
    assert_eq!((stats.in_flight, stats.pending, stats.connecting), (0, 0, 0), "nothing leaks");
    first
}

async fn is_reset(answer: impl Into<Vec<u8>>, stays_open: bool) {
    let failed = first_answered_with(answer, stays_open).await.expect_err("no honest answer");
    assert_eq!(failed.kind, FailureKind::Reset);
    assert!(failed.cause.is_some(), "it says why");
}

#[tokio::test]
async fn bytes_after_the_answer_do_not_become_the_next_answer() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let (_, body) = first_answered_with(both, true).await.expect("the first answer is honest");
    assert_eq!(body, "ok");
    let (_, body) = first_answered_with(format!("{OK}\r\n\r\ngarbage"), true)
        .await
        .expect("the first answer is honest");
    assert_eq!(body, "ok");
}

#[tokio::test]
async fn a_body_where_none_may_be_does_not_become_the_next_answer() {
    let answer =
        "HTTP/1.1 204 No Content\r\ncontent-length: 30\r\n\r\nHTTP/1.1 200 OK\r\n\r\npoison";
    let (status, body) = first_answered_with(answer, true).await.expect("an empty answer");
    assert_eq!((status.as_u16(), &*body), (204, ""));
}

#[tokio::test]
async fn a_flood_of_interim_answers_ends() {
    let mut flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(100_000);
    flood.extend_from_slice(OK.as_bytes());
    assert!(flood.len() > 2_500_000);
    is_reset(flood, true).await;
}

#[tokio::test]
async fn a_few_interim_answers_are_skipped() {
    let answer =
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}");
    let (_, body) = first_answered_with(answer, true).await.expect("answered");
    assert_eq!(body, "ok");
}

#[tokio::test]
async fn a_head_without_end_ends() {
    is_reset(format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(300_000)), true).await;
    let many: String = (0..5_000).map(|n| format!("x{n}: 1\r\n")).collect();
    is_reset(format!("HTTP/1.1 200 OK\r\n{many}\r\n"), true).await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_reset() {
    for answer in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/3.7 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx\u{0}: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nbody",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nbody",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        is_reset(answer, false).await;
    }
}

#[tokio::test]
async fn an_answer_up_to_the_end_of_the_connection_is_whole_only_with_http_1_0_framing() {
    let (_, body) = first_answered_with("HTTP/1.0 200 OK\r\n\r\nup to the end", false)
        .await
        .expect("old, and honest");
    assert_eq!(body, "up to the end");
}

#[tokio::test]
async fn an_answer_whose_end_can_be_seen_in_two_places_is_none() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for head in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 2\r\ncontent-length: 2",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
    ] {
        is_reset(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"), true)
            .await;
    }
}

#[tokio::test]
async fn whatever_an_endpoint_answers_the_next_request_gets_its_own_answer() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let answers = [
        format!("HTTP/1.1 200 OK\ncontent-length: 2\n\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\nz: a\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\nx: y\r\n folded\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\nx: y\rcontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n{poison}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{poison}{poison}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n{poison}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n{poison}"),
        format!(
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"
        ),
        format!("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n{poison}"),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n{poison}"),
        format!("HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n{poison}"),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n{poison}"
        ),
        format!("HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nabcde{poison}"),
        format!("{chunked}2;x\nok\r\n0\r\n\r\n{poison}"),
        format!("{chunked}0x2\r\nok\r\n0\r\n\r\n{poison}"),
        format!("{chunked}2\r\nokXX0\r\n\r\n{poison}"),
        format!("{chunked}-2\r\nok\r\n0\r\n\r\n{poison}"),
        format!("{chunked}10000000000000002\r\nok\r\n0\r\n\r\n{poison}"),
        format!(
            "{chunked}2\r\nok\r\n0\r\ncontent-length: 50\r\ntransfer-encoding: x\r\n\r\n{poison}"
        ),
        format!("{chunked}2\r\nok\r\n0\r\n\r\n\r\n\r\n{poison}"),
        format!("{chunked}2;{}\r\nok\r\n0\r\n\r\n{poison}", "a".repeat(100_000)),
        format!("{chunked}2\r\nok\r\n0\r\n{}\r\n{poison}", "x: y\r\n".repeat(100_000)),
        format!("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 O\u{0}K\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 099 Low\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 199 Odd\r\n\r\n{poison}{poison}"),
        format!("HTTP/2 200\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("<html>no head at all</html>{poison}"),
        format!("\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}{poison}"),
    ];
    let count = answers.len();
    for answer in answers {
        for stays_open in [true, false] {
            // Either verdict on the first is right; the later ones must get their own answers.
            if let Ok((_, body)) = tokio::time::timeout(
                std::time::Duration::from_secs(5),
                first_answered_with(answer.clone(), stays_open),
            )
            .await
            .unwrap_or_else(|_| panic!("it ends: {answer:?}"))
            {
                assert!(!body.contains("smuggled"), "{answer:?}");
            }
        }
    }
    println!("promise 48: {} hostile answers, 20 requests behind each: 0 harmed", 2 * count);
}
