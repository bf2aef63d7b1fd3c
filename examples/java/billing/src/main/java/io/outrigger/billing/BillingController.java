package io.outrigger.billing;

import com.fasterxml.jackson.databind.PropertyNamingStrategies.SnakeCaseStrategy;
import com.fasterxml.jackson.databind.annotation.JsonNaming;
import io.outrigger.billing.BillingApplication.Settings;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.http.HttpTimeoutException;
import org.springframework.boot.availability.ApplicationAvailability;
import org.springframework.boot.availability.ReadinessState;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.ModelAttribute;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;

/** The routes of {@code docs/contract.md}. */
@RestController
class BillingController {

  @JsonNaming(SnakeCaseStrategy.class)
  record Invoice(long id, long cents, String currency, String servedBy) {}

  @JsonNaming(SnakeCaseStrategy.class)
  record Itself(String service, String servedBy) {}

  @JsonNaming(SnakeCaseStrategy.class)
  record Asked(String service, String answeredBy, String servedBy) {}

  @JsonNaming(SnakeCaseStrategy.class)
  record Refused(String error, String servedBy) {}

  private final Settings settings;
  private final Peers peers;
  private final ApplicationAvailability availability;

  BillingController(Settings settings, Peers peers, ApplicationAvailability availability) {
    this.settings = settings;
    this.peers = peers;
    this.availability = availability;
  }

  @ModelAttribute
  void sign(HttpServletResponse response) {
    response.setHeader("x-served-by", settings.id());
  }

  @GetMapping("/invoices/{id:\\d{1,18}}")
  Invoice invoice(@PathVariable long id) {
    return new Invoice(id, 100 + id % 900, "EUR", settings.id());
  }

  @GetMapping("/ask/{service:[a-z][a-z0-9-]{0,62}}")
  ResponseEntity<?> ask(@PathVariable String service, @RequestHeader HttpHeaders received)
      throws IOException, InterruptedException {
    var below = peers.get(service, "/whoami", received);
    if (below.statusCode() != HttpStatus.OK.value()) {
      return ResponseEntity.status(below.statusCode())
          .headers(Peers.passedBack(below))
          .body(refused("a service below failed"));
    }
    var by = below.headers().firstValue("x-served-by").orElse(null);
    return ResponseEntity.ok(new Asked(service, by, settings.id()));
  }

  @GetMapping("/whoami")
  Itself whoami() {
    return new Itself("billing", settings.id());
  }

  @GetMapping("/healthz")
  ResponseEntity<String> healthz() {
    var serves = availability.getReadinessState() == ReadinessState.ACCEPTING_TRAFFIC;
    return serves ? ResponseEntity.ok("ok") : ResponseEntity.status(503).body("draining");
  }

  @ExceptionHandler(HttpTimeoutException.class)
  ResponseEntity<Refused> late() {
    return ResponseEntity.status(HttpStatus.GATEWAY_TIMEOUT).body(refused("deadline"));
  }

  @ExceptionHandler(IOException.class)
  ResponseEntity<Refused> unanswered() {
    return ResponseEntity.status(HttpStatus.BAD_GATEWAY)
        .body(refused("a service below gave no answer"));
  }

  private Refused refused(String why) {
    return new Refused(why, settings.id());
  }
}
