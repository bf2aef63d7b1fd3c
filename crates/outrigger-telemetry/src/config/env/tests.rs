use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<TelemetryConfig> {
    let env: std::collections::HashMap<String, String> =
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TelemetryConfig::from_lookup(|key| env.get(key).cloned())
}

#[test]
fn an_empty_environment_exports_nothing_and_keeps_one_in_a_hundred() {
    let config =
        read(&[("OTEL_SERVICE_NAME", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).expect("valid");
    assert!(config.service.is_none() && config.sampler.is_none() && !config.disabled);
    assert!(config.otlp.address(crate::metrics::Signal::Traces).is_none());
    assert_eq!(config.spans, super::super::BatchConfig::default());
}

#[test]
fn a_base_address_gets_the_signals_path_and_a_whole_one_does_not() {
    use crate::metrics::Signal;
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/otel/"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://other/m"),
    ])
    .expect("valid");
    let address = |signal| config.otlp.address(signal).map(|uri| uri.to_string());
    assert_eq!(address(Signal::Traces).as_deref(), Some("http://collector:4318/otel/v1/traces"));
    assert_eq!(address(Signal::Metrics).as_deref(), Some("https://other/m"));
}

#[test]
fn every_sampler_of_the_specification_is_known() {
    for (name, arg, wanted) in [
        ("always_on", "", (1.0, false)),
        ("always_off", "", (0.0, false)),
        ("traceidratio", "0.25", (0.25, false)),
        ("traceidratio", "", (1.0, false)),
        ("parentbased_always_on", "0.1", (1.0, true)),
        ("parentbased_always_off", "", (0.0, true)),
        ("parentbased_traceidratio", "0.5", (0.5, true)),
        ("", "0.5", (0.5, true)),
    ] {
        let config = read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        let sampler = config.expect(name).sampler.expect(name);
        assert_eq!((sampler.ratio.get(), sampler.parent_based), wanted, "{name} {arg}");
    }
}

#[test]
fn propagators_are_read_and_written_alike() {
    let config = read(&[("OTEL_PROPAGATORS", "tracecontext, b3multi")]).expect("valid");
    let wanted = Formats { w3c: true, b3_multi: true, ..Formats::default() };
    assert_eq!(config.propagators, Some(Propagators::both(wanted)));
    let none = read(&[("OTEL_PROPAGATORS", "none")]).expect("valid");
    assert_eq!(none.propagators, Some(Propagators::both(Formats::default())));
}

#[test]
fn attributes_and_headers_are_percent_decoded() {
    let config = read(&[
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod, team=a%2Cb"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0, x-tenant=7"),
    ])
    .expect("valid");
    assert_eq!(config.resource[1], ("team".to_owned(), "a,b".to_owned()));
    let headers = &config.otlp.headers.traces;
    assert_eq!(headers[0].1.to_str().expect("ASCII"), "Basic c2VjcmV0");
    let shown = format!("{config:?}");
    assert!(!shown.contains("c2VjcmV0") && shown.contains("authorization"), "{shown}");
}

#[test]
fn an_error_names_the_variable_its_value_and_what_is_allowed() {
    for (key, value) in [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
        ("OTEL_PROPAGATORS", "tracecontext,jaeger"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1e3"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no equals sign"),
    ] {
        let error = read(&[(key, value)]).expect_err(key);
        assert_eq!((error.key.as_str(), error.value.as_str()), (key, value));
        assert!(!error.allowed.is_empty());
    }
}

#[test]
fn what_may_be_secret_is_not_repeated_in_the_error() {
    let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector")]);
    let error = error.expect_err("a password belongs in a header");
    assert!(!error.to_string().contains("secret"), "{error}");
    let error = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sec%00ret")]).expect_err("NUL");
    assert!(!error.to_string().contains("ret"), "{error}");
}

#[test]
fn a_batch_is_not_larger_than_the_queue() {
    let config = read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]).expect("valid");
    assert_eq!(config.spans.max_batch, 100);
}
