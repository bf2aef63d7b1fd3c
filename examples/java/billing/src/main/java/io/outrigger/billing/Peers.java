package io.outrigger.billing;

import io.outrigger.billing.BillingApplication.Settings;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.time.Duration;
import java.util.List;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.LoadBalancerClient;
import org.springframework.http.HttpHeaders;
import org.springframework.stereotype.Component;

/**
 * Calls to other services by name. Beside a sidecar the JVM's proxy ({@code -Dhttp.proxyHost}, which {@code outrigger
 * run} sets) finds and balances; alone, Spring Cloud LoadBalancer does.
 */
@Component
class Peers {

  private static final String DEADLINE = "x-outrigger-deadline-ms";
  private static final List<String> PASSED_ON =
      List.of(
          "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled",
          "baggage", "x-request-id", "x-outrigger-attempt");
  private static final List<String> PASSED_BACK =
      List.of("retry-after", "x-outrigger-reason", "x-outrigger-attempts");

  // HTTP/2 by upgrade is nothing a proxy on the way forwards.
  private final HttpClient client =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private final LoadBalancerClient balancer;
  private final Duration patience;

  Peers(LoadBalancerClient balancer, Settings settings) {
    this.balancer = balancer;
    this.patience = settings.patience();
  }

  /**
   * Asks a service on behalf of the request with these headers.
   *
   * @throws HttpTimeoutException when the caller's time is over first
   */
  HttpResponse<String> get(String service, String path, HttpHeaders received)
      throws IOException, InterruptedException {
    var left = patience;
    var told = received.getFirst(DEADLINE);
    var bounded = told != null && told.matches("\\d{1,9}");
    if (bounded && Long.parseLong(told) < patience.toMillis()) {
      left = Duration.ofMillis(Long.parseLong(told));
    }
    if (left.isZero()) {
      throw new HttpTimeoutException("no time is left");
    }
    var request = HttpRequest.newBuilder(locate(service).resolve(path)).timeout(left);
    for (var name : PASSED_ON) {
      received.getOrEmpty(name).forEach(value -> request.header(name, value));
    }
    if (bounded) {
      request.header(DEADLINE, Long.toString(left.toMillis()));
    }
    return client.send(request.build(), BodyHandlers.ofString());
  }

  /** What tells the caller about a failure below. */
  static HttpHeaders passedBack(HttpResponse<?> below) {
    var headers = new HttpHeaders();
    for (var name : PASSED_BACK) {
      below.headers().firstValue(name).ifPresent(value -> headers.set(name, value));
    }
    return headers;
  }

  private URI locate(String service) throws IOException {
    if (System.getProperty("http.proxyHost") != null) {
      return URI.create("http://" + service);
    }
    ServiceInstance instance = balancer.choose(service);
    if (instance == null) {
      throw new IOException("no instance of " + service);
    }
    return instance.getUri();
  }
}
