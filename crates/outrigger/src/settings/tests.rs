use super::*;

fn of(text: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let variables: Vec<_> =
        variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Settings::of(Some((Path::new("outrigger.toml"), text)), &variables)
}

#[test]
fn without_anything_the_documented_defaults_hold() {
    let settings = Settings::of(None, &[]).expect("the defaults are valid");
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.rules.timeout, Some(Duration::from_secs(15)));
    assert_eq!(settings.rules.connect_timeout, Duration::from_secs(1));
    assert_eq!(settings.rules.retry.attempts, 1);
    assert!(settings.rules.breaker.is_none() && settings.rules.hedge.is_none());
    assert!(settings.rules.eject.is_some());
}

#[test]
fn a_service_s_own_table_lies_upon_the_general_one() {
    let text = "
        timeout = '5s'
        [retry]
        attempts = 2
        [services.Pricing]
        timeout = 'none'
        [services.Pricing.retry]
        when = ['connect_failure', '5xx']
        [services.Pricing.breaker]
    ";
    let settings = of(text, &[]).expect("valid");
    let pricing = &settings.services["pricing"];
    assert_eq!(settings.rules.timeout, Some(Duration::from_secs(5)));
    assert_eq!(pricing.timeout, None);
    assert_eq!(pricing.retry.attempts, 2, "what it leaves out comes from above");
    assert!(pricing.breaker.is_some() && settings.rules.breaker.is_none());
}

#[test]
fn the_environment_wins_over_the_file() {
    let settings = of(
        "zone = 'a'\n[breaker]\nopen_for = '5s'",
        &[
            ("OUTRIGGER_ZONE", "b"),
            ("OUTRIGGER_BREAKER__OPEN_FOR", "2s"),
            ("OUTRIGGER_BREAKER__MIN_CALLS", "7"),
            ("OUTRIGGER_ENDPOINTS", "stock=127.0.0.1:1,127.0.0.1:2; price=127.0.0.1:3"),
            ("OUTRIGGER_ADVERTISE_LOOPBACK", "true"),
            ("OUTRIGGER_FOR", "20s"),
        ],
    )
    .expect("a flag's variable is none of ours");
    let breaker = settings.rules.breaker.expect("a table switches it on");
    assert_eq!(settings.process.zone.as_deref(), Some("b"));
    assert_eq!((breaker.open_for, breaker.min_calls.get()), (Duration::from_secs(2), 7));
    assert_eq!(settings.process.endpoints["stock"].len(), 2);
    assert_eq!(settings.process.advertise_loopback, Some(true));
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_is_allowed() {
    for (text, variables, wanted) in [
        ("timeuot = '1s'", &[][..], &["outrigger.toml", "timeuot", "timeout"][..]),
        ("[services.a]\n[services.A]", &[], &["services.", "twice"]),
        ("timeout = '-1s'", &[], &["outrigger.toml"]),
        ("[retry]\nattempts = 99", &[], &["retry.attempts", "99", "0 to 10"]),
        ("[balance]\nalgorithm = 'maglev'", &[], &["balance.algorithm", "maglev", "need a key"]),
        ("a = ", &[], &["outrigger.toml", "line 1"]),
        (
            "timeout = '1s'\n[retry]\nper_try_timeout = '2s'",
            &[],
            &["retry.per_try_timeout", "2s", "at most `timeout`"],
        ),
        (
            "",
            &[("OUTRIGGER_BREAKER__FAILURE_RATIO", "1.5")],
            &["OUTRIGGER_BREAKER__FAILURE_RATIO=1.5", "0..=1"],
        ),
        ("", &[("OUTRIGGER_BRAKER__OPEN_FOR", "1s")], &["OUTRIGGER_BRAKER__OPEN_FOR", "braker"]),
        ("", &[("OUTRIGGER_ENDPOINTS", "stock")], &["OUTRIGGER_ENDPOINTS", "NAME=HOST:PORT"]),
        ("[services.'a/b']\n", &[], &["services.a/b", "may not contain"]),
    ] {
        let error = of(text, variables).expect_err(text).to_string();
        for part in wanted {
            assert!(error.contains(part), "{text} {variables:?}: {part:?} is missing in: {error}");
        }
    }
}

#[test]
fn every_rule_at_the_top_level_has_a_variable() {
    let settings = of("", &[("OUTRIGGER_IDLE_TIMEOUT", "7s")]).expect("valid");
    assert_eq!(settings.rules.idle_timeout, Some(Duration::from_secs(7)));
}

#[test]
fn an_inbound_value_out_of_range_is_refused_with_what_is_allowed() {
    let error = of("[inbound.concurrency]\nmax_in_flight = 0", &[]).expect_err("refuses all");
    assert!(error.to_string().contains("1 to 1048576"), "{error}");
}

#[test]
fn the_admin_surface_is_off_or_on_loopback() {
    let admin = |value| of("", &[("OUTRIGGER_ADMIN", value)]).map(|it| it.process.admin);
    let here = "127.0.0.1:15990".parse().expect("an address");
    assert_eq!(admin("off").expect("valid"), Some(AdminAddress::Off));
    assert_eq!(admin("127.0.0.1:15990").expect("valid"), Some(AdminAddress::At(here)));
    assert_eq!(admin("").expect("valid"), None);
    for wrong in ["0.0.0.0:15990", "10.0.0.1:1", "localhost:15990", "15990", "on"] {
        let error = admin(wrong).expect_err("refused").to_string();
        assert!(error.contains(wrong) && error.contains("allowed is a loopback"), "{error}");
    }
}
