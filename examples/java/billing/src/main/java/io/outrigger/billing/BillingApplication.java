package io.outrigger.billing;

import java.time.Duration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** The billing of the demo fleet. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class BillingApplication {

  /** What {@code application.yaml} says under {@code billing}. */
  @ConfigurationProperties("billing")
  public record Settings(String id, Duration drainNotice, Duration patience) {}

  public static void main(String[] arguments) {
    SpringApplication.run(BillingApplication.class, arguments);
  }
}
