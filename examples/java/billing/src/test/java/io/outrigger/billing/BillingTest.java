package io.outrigger.billing;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.availability.AvailabilityChangeEvent;
import org.springframework.boot.availability.ReadinessState;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.context.SpringBootTest.WebEnvironment;
import org.springframework.boot.test.web.client.TestRestTemplate;
import org.springframework.context.ApplicationContext;
import org.springframework.http.HttpEntity;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpMethod;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.test.context.DynamicPropertyRegistry;
import org.springframework.test.context.DynamicPropertySource;

/** Billing over real sockets, without Consul, with a peer that each test plays. */
@SpringBootTest(
    webEnvironment = WebEnvironment.RANDOM_PORT,
    properties = {"spring.cloud.consul.enabled=false", "billing.id=billing-1", "billing.drain-notice=0s"})
class BillingTest {

  private static HttpServer peer;
  private static volatile HttpHandler play;

  @Autowired private TestRestTemplate billing;
  @Autowired private ApplicationContext context;

  @BeforeAll
  static void startPeer() throws IOException {
    if (peer == null) {
      peer = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
      peer.createContext("/whoami", exchange -> play.handle(exchange));
      peer.start();
    }
  }

  @AfterAll
  static void stopPeer() {
    peer.stop(0);
  }

  @DynamicPropertySource
  static void locatePeer(DynamicPropertyRegistry registry) throws IOException {
    startPeer();
    registry.add(
        "spring.cloud.discovery.client.simple.instances.inventory[0].uri",
        () -> "http://127.0.0.1:" + peer.getAddress().getPort());
  }

  private ResponseEntity<Map<String, Object>> ask(String path, Map<String, String> headers) {
    var sent = new HttpHeaders();
    headers.forEach(sent::set);
    var type = new org.springframework.core.ParameterizedTypeReference<Map<String, Object>>() {};
    return billing.exchange(path, HttpMethod.GET, new HttpEntity<>(sent), type);
  }

  @Test
  void anInvoiceIsToldWithWhoServedIt() {
    var answer = ask("/invoices/7", Map.of());
    assertThat(answer.getStatusCode()).isEqualTo(HttpStatus.OK);
    assertThat(answer.getHeaders().getFirst("x-served-by")).isEqualTo("billing-1");
    assertThat(answer.getBody())
        .containsEntry("id", 7)
        .containsEntry("cents", 107)
        .containsEntry("served_by", "billing-1");
  }

  @Test
  void itNamesItself() {
    var itself = Map.of("service", "billing", "served_by", "billing-1");
    assertThat(ask("/whoami", Map.of()).getBody()).isEqualTo(itself);
  }

  @ParameterizedTest
  @ValueSource(strings = {"/invoices/x", "/invoices/1/2", "/ask/a.b"})
  void whatIsNoRouteIsRefused(String path) {
    assertThat(ask(path, Map.of()).getStatusCode()).isEqualTo(HttpStatus.NOT_FOUND);
  }

  @Test
  void theHeadersOfTheContractArePassedOn() {
    var sent =
        Map.of(
            "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "baggage", "outrigger.attempt=1",
            "x-outrigger-attempt", "1",
            "x-outrigger-deadline-ms", "5000",
            "x-outrigger-caller", "mallory");
    var received = new Headers();
    play =
        exchange -> {
          received.putAll(exchange.getRequestHeaders());
          exchange.getResponseHeaders().set("x-served-by", "inventory-2");
          exchange.sendResponseHeaders(200, -1);
        };
    var answer = ask("/ask/inventory", sent);
    assertThat(answer.getBody())
        .isEqualTo(Map.of("service", "inventory", "answered_by", "inventory-2", "served_by", "billing-1"));
    sent.forEach(
        (name, value) -> {
          var expected = name.equals("x-outrigger-caller") ? null : value;
          assertThat(received.getFirst(name)).as(name).isEqualTo(expected);
        });
  }

  @Test
  void aRefusalBelowIsAnsweredWithItsReason() {
    var told = Map.of("x-outrigger-reason", "circuit_open", "x-outrigger-attempts", "2", "retry-after", "3");
    play =
        exchange -> {
          told.forEach(exchange.getResponseHeaders()::set);
          exchange.sendResponseHeaders(503, -1);
        };
    var answer = ask("/ask/inventory", Map.of());
    assertThat(answer.getStatusCode()).isEqualTo(HttpStatus.SERVICE_UNAVAILABLE);
    told.forEach((name, value) -> assertThat(answer.getHeaders().getFirst(name)).isEqualTo(value));
  }

  @Test
  void aDeadlineThatPassesIs504() {
    var over = new CountDownLatch(1);
    play =
        exchange -> {
          try {
            over.await(5, TimeUnit.SECONDS);
          } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
          }
          exchange.close();
        };
    var answer = ask("/ask/inventory", Map.of("x-outrigger-deadline-ms", "50"));
    over.countDown();
    assertThat(answer.getStatusCode()).isEqualTo(HttpStatus.GATEWAY_TIMEOUT);
  }

  @Test
  void aServiceWithoutInstancesIs502() {
    assertThat(ask("/ask/nobody", Map.of()).getStatusCode()).isEqualTo(HttpStatus.BAD_GATEWAY);
  }

  @Test
  void healthTellsThatItDrains() {
    assertThat(billing.getForEntity("/healthz", String.class).getBody()).isEqualTo("ok");
    AvailabilityChangeEvent.publish(context, ReadinessState.REFUSING_TRAFFIC);
    var draining = billing.getForEntity("/healthz", String.class);
    AvailabilityChangeEvent.publish(context, ReadinessState.ACCEPTING_TRAFFIC);
    assertThat(draining.getStatusCode()).isEqualTo(HttpStatus.SERVICE_UNAVAILABLE);
    assertThat(draining.getBody()).isEqualTo("draining");
  }
}
